"""How fresh a live feed is delivered, for real: the emulator with new records, and the bridge as a process.

With default settings, half of a quota of 2,000 requests a minute, and answers that take 0.1 s. Noted are when
the emulator first shows a record and when the destination has it in all signals. A child is counted from when
its parent is visible too, because until then it waits for it.

    python tests/bench/freshness_real.py --rates 10 --seconds 60     one cell, 2 minutes
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from processes import at_most, environment, must_run, start_bridge, stop
from recording_sink import HttpAnswer, logs_in, read_request, reply, spans_in
from results import note

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore
from otel_bridge.emulator.records import TOOL_EXECUTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from recording_sink import Received

    from otel_bridge.emulator.records import Record

QUOTA = 2_000
SHARE = 0.5
LATENCY_MS = 100
RATES = (1.0, 3.0, 10.0)
SECONDS = 120.0
WARM_UP_S = 20.0
SIGNALS = ("traces", "logs")
LOG_ID = "composio.log.id"
_MOST_WAIT_S = 60.0


class NotingStore(LogStore):
    """Notes when each entry becomes visible, and its parent; which are no tool calls, so have no span."""

    def __init__(self) -> None:
        super().__init__()
        self.visible_s: dict[str, float] = {}
        self.parents: dict[str, str] = {}
        self.events: set[str] = set()

    def add(self, record: Record) -> None:
        super().add(record)
        if record.type != TOOL_EXECUTION:
            self.events.add(record.log_id)
        self.visible_s[record.log_id] = time.monotonic()
        parent = json.loads(record.entry)["parent"]
        if parent is not None:
            self.parents[record.log_id] = parent["log_id"]

    def ready_s(self, log_id: str) -> float:
        """Since when a record can be delivered."""
        seen_s = self.visible_s[log_id]
        return max(seen_s, self.visible_s.get(self.parents.get(log_id, log_id), seen_s))


def log_ids(received: Received) -> Iterator[str]:
    """Of the spans or log records that were received."""
    held: Iterable[Any] = {"traces": spans_in, "logs": logs_in}.get(received.signal, lambda _: ())(
        received.body
    )
    for _, _, each in held:
        yield from (one.value.string_value for one in each.attributes if one.key == LOG_ID)


class NotingSink:
    """A destination over HTTP that notes when it has each record in each signal."""

    def __init__(self) -> None:
        self._at_s: dict[tuple[str, str], float] = {}
        self._busy: set[asyncio.StreamWriter] = set()

    def delivered_s(self, log_id: str) -> float | None:
        """When a record was there in all signals; None where it is not."""
        times = [self._at_s.get((signal, log_id)) for signal in SIGNALS]
        return None if None in times else max(each for each in times if each is not None)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address, for as long as the block runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        for each in tuple(self._busy):
            each.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._busy.add(writer)
        try:
            while True:
                received = await read_request(reader)
                now_s = time.monotonic()
                for log_id in log_ids(received):
                    self._at_s.setdefault((received.signal, log_id), now_s)
                await reply(writer, HttpAnswer())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the bridge has gone
        finally:
            self._busy.discard(writer)
            writer.close()


@asynccontextmanager
async def running(environ: dict[str, str], folder: str) -> AsyncIterator[Callable[[], None]]:
    """A running bridge, stopped at the end; what it yields exits with a line where the bridge has ended."""
    process = start_bridge(environ, folder)
    try:
        yield lambda: must_run(process, folder)
    finally:
        # Not in this thread: to come to its end the bridge needs the source and the destination.
        await asyncio.to_thread(stop, process)


async def measure(rate: float, seconds: float, warm_up_s: float) -> dict[str, Any]:
    """Run a feed beside a bridge; how fresh it was, and what that cost."""
    store, sink = NotingStore(), NotingSink()
    options = EmulatorOptions(logs=0, rate=rate, rate_limit=QUOTA, latency_ms=LATENCY_MS, late_share=0)
    with tempfile.TemporaryDirectory() as folder:
        async with EmulatorServer(options, store) as source, sink.listening() as address:
            environ = environment(source.base_url, address, folder, OTEL_BRIDGE_LISTEN="")
            async with running(environ, folder) as must_go_on:

                async def wait(some_s: float) -> None:
                    end_s = time.monotonic() + some_s
                    while time.monotonic() < end_s:
                        await asyncio.sleep(0.2)
                        must_go_on()

                def asked() -> dict[str, int]:
                    return dict(source.api.stats()["requests"])

                await wait(warm_up_s)
                before, began_s = asked(), time.monotonic()
                await wait(seconds)
                after, ended_s = asked(), time.monotonic()
                entries = [each for each in store.visible_s if began_s <= store.ready_s(each) < ended_s]
                mine = [each for each in entries if each not in store.events]
                deadline_s = time.monotonic() + _MOST_WAIT_S
                while time.monotonic() < deadline_s and None in map(sink.delivered_s, mine):
                    await wait(0.5)
    waits = []
    for log_id in mine:
        at_s = sink.delivered_s(log_id)
        if at_s is None:
            sys.exit(f"{log_id}, which was visible in time, was not delivered within {_MOST_WAIT_S:g} s")
        waits.append(at_s - store.ready_s(log_id))
    took_s = ended_s - began_s
    requests = {route: after[route] - before[route] for route in after}
    return {
        "quota": QUOTA,
        "rate": rate,
        "seconds": took_s,
        "records": len(waits),
        "p50_s": statistics.median(waits),
        "p95_s": statistics.quantiles(waits, n=20)[-1],
        "requests": sum(requests.values()) / len(entries),
        "polls": requests["list"] / (QUOTA * SHARE * took_s / 60),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="new records a second")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that are counted")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, metavar="S", help="before them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    at_most(30)
    print("| new records/s | records | p50 | p95 | requests a record | lists, of the share |")
    print("|---|---|---|---|---|---|")
    rows = []
    for rate in options.rates:
        run = asyncio.run(measure(rate, options.seconds, options.warm_up))
        print(
            f"| {rate:g} | {run['records']:,} | {run['p50_s']:.2f} s | {run['p95_s']:.2f} s"
            f" | {run['requests']:.2f} | {run['polls']:.1%} |",
            flush=True,
        )
        rows.append(run)
        if options.json:
            note(options.json, "freshness_real", rows)


if __name__ == "__main__":
    main()
