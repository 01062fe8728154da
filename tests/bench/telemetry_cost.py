"""What the bridge's own telemetry costs, with it and without in one run.

With: every metric counted. Without: the same service with nobody listening. The measurements of tool calls
are on both sides: they are what is delivered.

Two runs on a shared machine differ by more than is looked for, so time says little. What says most are the
instructions that the processor carries out for a record, which are nearly the same each time: valgrind counts
them, of runs over few and over more records, so that what a start costs falls out. Beside that, and alone
where there is no valgrind, the time inside the telemetry's own calls is summed, as a share of the same run's;
a scrape every few seconds, as Prometheus makes it, is in it. Exit status 1 where either is above ``--limit``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, cast

from processes import HERE, at_most, server

from otel_bridge.ledger import open_ledger
from otel_bridge.pipeline.observer import NO_OBSERVER
from otel_bridge.service.assembly import otlp_exporter
from otel_bridge.service.crew import workers
from otel_bridge.service.own_telemetry import own_telemetry
from otel_bridge.settings import load
from otel_bridge.times import SystemClock
from otel_bridge.web.app import Measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.pipeline.observer import Observer
    from otel_bridge.service.own_telemetry import OwnTelemetry

SCRAPE_EVERY_S = 5.0
FEW, MORE = 500, 2_500
KINDS = ("with", "without")
_COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")


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


async def collect(base_url: str, sink: str, kind: str) -> float:
    """Collect everything with a new ledger: ``with``, ``without`` or ``timed``.

    Returns:
        The share of the processor time that own telemetry took, if that was timed.
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
                "OTEL_BRIDGE_START": "2h",
                # Under valgrind all of it takes fifty times as long.
                "OTEL_BRIDGE_SOURCE_TIMEOUT": "60s",
            },
        )
        clock = SystemClock()
        ledger = open_ledger(settings.ledger.state.get_secret_value(), clock)
        await ledger.open()
        async with own_telemetry(settings) as telemetry:
            timed = Timed(telemetry.observer)
            told = {"with": telemetry.observer, "without": NO_OBSERVER, "timed": cast("Observer", timed)}[
                kind
            ]
            exporter = otlp_exporter(settings, clock, attempts=5, observer=told)
            scraping = asyncio.create_task(scrape(telemetry, timed)) if kind == "timed" else None
            async with workers(
                settings,
                ledger=ledger,
                exporter=exporter,
                clock=clock,
                stop=asyncio.Event(),
                observer=told,
                telemetry=telemetry,
            ) as (worker,):
                before = time.process_time()
                await worker.run_once()
                used = time.process_time() - before
            if scraping is not None:
                scraping.cancel()
                await asyncio.gather(scraping, return_exceptions=True)
            await exporter.aclose()
        await ledger.close()
    return timed.used_s / used


async def scrape(telemetry: OwnTelemetry, timed: Timed) -> None:
    """Read the metrics now and then, as Prometheus does."""
    while True:
        before = time.thread_time()
        Measured.by(telemetry.prometheus_text)
        timed.used_s += time.thread_time() - before
        await asyncio.sleep(SCRAPE_EVERY_S)


def emulate(records: int) -> tuple[str, ...]:
    """The words that start a source with so many records."""
    return ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(records))


def instructions(valgrind: str, records: int) -> dict[str, int]:
    """How many a run over so many records takes, of each kind."""
    found = {}
    counting = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    # The same places in the same tables each time.
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    with server(*emulate(records)) as base_url, server(str(HERE / "sink.py")) as sink:
        for kind in KINDS:
            command = [*counting, sys.executable, __file__, "--only", kind, base_url, sink]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
            counted = _COUNTED.search(done.stderr)
            assert counted is not None, done.stderr
            found[kind] = int(counted[1].replace(",", ""))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="Of the run that is timed.")
    parser.add_argument("--limit", type=float, default=3.0, help="Percent.")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    at_most(30)
    if options.only:
        kind, base_url, sink = options.only
        asyncio.run(collect(base_url, sink, kind))
        return
    with server(*emulate(options.records)) as base_url, server(str(HERE / "sink.py")) as sink:
        found = [asyncio.run(collect(base_url, sink, "timed"))]
    print(f"{found[0]:.2%} of a run's processor time is spent in own telemetry, scrapes included", flush=True)
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("instructions are not counted: there is no valgrind")
    else:
        few, more = instructions(valgrind, FEW), instructions(valgrind, MORE)
        each = {kind: (more[kind] - few[kind]) / (MORE - FEW) for kind in KINDS}
        found.append(each["with"] / each["without"] - 1)
        print(
            f"a record takes {each['without']:,.0f} instructions without it and {each['with']:,.0f} with it:"
        )
        print(f"{found[1]:+.2%}")
    sys.exit(max(found) * 100 > options.limit)


if __name__ == "__main__":
    main()
