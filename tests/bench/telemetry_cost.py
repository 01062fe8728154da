"""What the bridge's own telemetry costs: processor time a record with it and without, alternating in one run.

With: every metric counted, sent over OTLP, and read every few seconds as Prometheus would. Without: the same
service with nobody listening. The measurements of tool calls are on both sides: they are what is delivered.

On a shared machine two runs differ by more than is looked for. So the time inside the telemetry's own calls
is summed as well, as a share of the same run's. Exit status 1 where both that share and the median of the
pairs are above ``--limit`` percent.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from drain import HERE, server  # type: ignore[import-not-found]  # beside this file, where the script runs

from otel_bridge.ledger import open_ledger
from otel_bridge.service.assembly import otlp_exporter
from otel_bridge.service.crew import workers
from otel_bridge.service.observer import NOBODY
from otel_bridge.service.own_telemetry import own_telemetry
from otel_bridge.settings import load
from otel_bridge.times import SystemClock
from otel_bridge.web.app import Measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.service.observer import Observer
    from otel_bridge.service.own_telemetry import OwnTelemetry

SCRAPE_EVERY_S = 5.0


class Timed:
    """Passes on what an observer is told, and sums the processor time that it takes.

    Args:
        observer: Is told.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.used_s = 0.0

    def __getattr__(self, name: str) -> Callable[..., None]:
        told = getattr(self._observer, name)

        def timed(*arguments: object) -> None:
            before = time.thread_time()
            told(*arguments)
            self.used_s += time.thread_time() - before

        setattr(self, name, timed)
        return timed


async def collect(base_url: str, sink: str, *, measured: bool) -> tuple[float, float]:
    """Collect everything with a new ledger.

    Returns:
        The processor time in µs a record, and the share of it that own telemetry took.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = load(
            None,
            {
                "COMPOSIO_API_KEY": "ak_bench",
                "COMPOSIO_BASE_URL": base_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
                "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
                "OTEL_BRIDGE_RATE_SHARE": "1",
                "OTEL_BRIDGE_TELEMETRY": "metrics" if measured else "none",
            },
        )
        clock = SystemClock()
        ledger = open_ledger(settings.ledger.state.get_secret_value(), clock)
        await ledger.open()
        async with own_telemetry(settings) as telemetry:
            timed = Timed(telemetry.observer if measured else NOBODY)
            observer = cast("Observer", timed if measured else NOBODY)
            exporter = otlp_exporter(settings, clock, attempts=5, observer=observer)
            scraping = asyncio.create_task(scrape(telemetry if measured else None, timed))
            async with workers(
                settings,
                ledger=ledger,
                exporter=exporter,
                clock=clock,
                stop=asyncio.Event(),
                observer=observer,
                telemetry=telemetry,
            ) as (worker,):
                before = time.process_time()
                tally = await worker.run_once()
                used = time.process_time() - before
            scraping.cancel()
            with suppress(asyncio.CancelledError):
                await scraping
            await exporter.aclose()
        await ledger.close()
    return used / tally.delivered * 1e6, timed.used_s / used


async def scrape(telemetry: OwnTelemetry | None, timed: Timed) -> None:
    """Read the metrics now and then, as Prometheus does."""
    while telemetry is not None:
        before = time.thread_time()
        Measured.by(telemetry.prometheus_text)
        timed.used_s += time.thread_time() - before
        await asyncio.sleep(SCRAPE_EVERY_S)


async def measure(base_url: str, sink: str, rounds: int) -> tuple[list[tuple[float, float]], list[float]]:
    """Pairs of measurements, without and with; and the shares of those with."""
    pairs, shares = [], []
    await collect(base_url, sink, measured=True)  # imports and caches
    for number in range(rounds):
        # Each goes first as often as the other: machines are shared, and get slower or faster.
        order = (True, False) if number % 2 else (False, True)
        found = {measured: await collect(base_url, sink, measured=measured) for measured in order}
        (without, _), (with_it, share) = found[False], found[True]
        pairs.append((without, with_it))
        shares.append(share)
        print(f"without {without:7.1f} µs  with {with_it:7.1f} µs a record, share {share:.2%}", flush=True)
    return pairs, shares


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--limit", type=float, default=3.0, help="Percent.")
    options = parser.parse_args()
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(options.records))
    with server(*emulate) as base_url, server(str(HERE / "sink.py")) as sink:
        pairs, shares = asyncio.run(measure(base_url, sink, options.rounds))
    ratios = [with_it / without - 1 for without, with_it in pairs]
    share, middle = statistics.median(shares), statistics.median(ratios)
    print(f"own telemetry: {share:.2%} of the run's processor time is spent in it;")
    print(f"with it a run takes {middle:+.2%} (median; pairs lie {min(ratios):+.0%} to {max(ratios):+.0%})")
    sys.exit(min(share, middle) * 100 > options.limit)


if __name__ == "__main__":
    main()
