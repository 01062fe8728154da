"""The bridge end to end beside floors and peers, all on one emulator in one run, by turns.

Prints a table for each latency and number of requests in flight, and writes JSON with ``--json FILE``. Each
is measured from when its modules are imported. Read the ratios: machines differ and are shared; processor
time depends less on what else a machine does than records a second do.

One cell, in a minute:

    python tests/bench/drain.py --latency 100 --in-flight 64 --only aiohttp,otel-bridge --rounds 1

What is not installed beside the bridge (aiohttp, httpx-aiohttp, dlt, airbyte-cdk) is run by the Python of
``--others``.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import HERE, environment, run_to_end, server
from ratios import middle, ratio
from results import note

BASE = "httpx"
FLOOR = "aiohttp"
VENDOR = "composio-client + OTel SDK"
DLT = "dlt, pull only"
AIRBYTE = "airbyte-cdk, pull only"
BRIDGE = "otel-bridge"
# Script in contenders/, its last argument, and whether it runs in the other environment.
CONTENDERS = {
    BASE: ("floor.py", "httpx", False),
    FLOOR: ("floor.py", "aiohttp", True),
    "httpx-aiohttp": ("floor.py", "httpx-aiohttp", True),
    "httpx over our transport": ("floor.py", "httpx-own", False),
    "our transport": ("floor.py", "own", False),
    VENDOR: ("composio_client_in_threads.py", "", False),
    DLT: ("dlt_rest_api.py", "", True),
    AIRBYTE: ("airbyte_declarative.py", "", True),
    BRIDGE: ("bridge.py", "", False),
}
AT_LATENCY = (BASE, FLOOR, VENDOR, BRIDGE)
COMPRESSED = (BASE, FLOOR, BRIDGE)
_SLOW = (VENDOR, DLT, AIRBYTE)
"""They take part in the first round alone: a run of theirs takes a minute or two."""
_LONG_S = 15.0
"""A run takes so long at the ideal rate, so that its start and its end do not decide."""
_MOST_RECORDS = 30_000
_SLOWEST = 20.0
"""Records a second; a run that is slower is ended."""


@dataclass(frozen=True)
class Run:
    """One measurement."""

    records_per_s: float
    cpu_us: float
    peak_mb: float
    requests_per_record: float


@dataclass(frozen=True)
class Stage:
    """What all run against."""

    base_url: str
    sink: str
    records: int
    in_flight: int


@dataclass(frozen=True)
class Cell:
    """One table: what an answer takes, requests in flight, records, and whether answers are compressed."""

    latency_ms: int
    in_flight: int
    records: int
    gzip: bool = False


def enough(latency_ms: int, in_flight: int) -> int:
    """How many records a cell takes: 10,000 at 100 ms with 64 in flight, 3,000 with 16."""
    if not latency_ms:
        return _MOST_RECORDS
    ideal = in_flight / latency_ms * 1000
    return min(math.ceil(ideal * _LONG_S / 1000) * 1000, _MOST_RECORDS)


def run(name: str, stage: Stage, others: str) -> Run:
    """Run one contender as a process, the bridge with an empty ledger."""
    script, kind, elsewhere = CONTENDERS[name]
    now = int(time.time() * 1000)
    arguments = [stage.base_url, str(now - 3_600_000), str(now), str(stage.in_flight), kind, stage.sink]
    if name == BRIDGE:
        arguments = []  # all by its settings
    with tempfile.TemporaryDirectory() as folder:
        ended = run_to_end(
            name,
            [others if elsewhere else sys.executable, str(HERE / "contenders" / script), *arguments],
            environment(
                stage.base_url,
                stage.sink,
                folder,
                OTEL_BRIDGE_CONCURRENCY=str(stage.in_flight),
                OTEL_BRIDGE_RATE_SHARE="1",
            ),
            base_url=stage.base_url,
            most_s=60 + stage.records / _SLOWEST,
        )
    done = ended.measured
    delivered = f"{stage.records:,} records delivered" in ended.output
    if not done or not (delivered or done.get("records") == stage.records):
        sys.exit(f"{name} did not fetch all {stage.records:,} records: {ended.output[-2000:]}")
    return Run(
        records_per_s=stage.records / done["seconds"],
        cpu_us=done["cpu_s"] / stage.records * 1e6,
        peak_mb=ended.peak_mb,
        requests_per_record=ended.requests / stage.records,
    )


def measure(names: list[str], cell: Cell, rounds: int, others: str) -> dict[str, list[dict[str, float]]]:
    """Let all take turns; by name, what each of its runs came to."""
    emulate = ["-m", "otel_bridge", "emulate", "--port", "0"]
    emulate += ["--logs", str(cell.records), "--latency", str(cell.latency_ms)]
    if cell.gzip:
        emulate = [str(HERE / "gzip_source.py"), str(cell.records), str(cell.latency_ms)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    slow = (*_SLOW, BASE) if cell.latency_ms else _SLOW
    with server(*emulate) as base_url, server(str(HERE / "sink.py")) as sink:
        stage = Stage(base_url, sink, cell.records, cell.in_flight)
        for number in range(rounds):
            for name in names:
                if number == 0 or name not in slow:
                    found[name].append(asdict(run(name, stage, others)))
    return found


def table(rounds: dict[str, list[dict[str, float]]], cell: Cell) -> None:
    """Print one cell's medians."""
    ideal = cell.in_flight / cell.latency_ms * 1000 if cell.latency_ms else None
    told = f", ideal {ideal:,.0f} records/s" if ideal else ""
    told += ", compressed answers" if cell.gzip else ""
    print(f"\n{cell.latency_ms} ms latency, {cell.in_flight} in flight, {cell.records:,} records{told}\n")
    bases = [each for each in (FLOOR, BASE) if each in rounds]
    head = ["who", "records/s", "of the ideal", *(f"to {each}" for each in bases), "CPU µs a record"]
    head += [*(f"CPU to {each}" for each in bases), "peak MB", "requests a record"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in rounds:
        rate = middle(rounds, name, "records_per_s")
        cells = [name, f"{rate:,.0f}", f"{rate / ideal:.3f}" if ideal else "\N{EN DASH}"]
        cells += [f"{ratio(rounds, name, each, 'records_per_s'):.3f}" for each in bases]
        cells += [f"{middle(rounds, name, 'cpu_us'):,.0f}"]
        cells += [f"{ratio(rounds, name, each, 'cpu_us'):.2f}" for each in bases]
        cells += [f"{middle(rounds, name, 'peak_mb'):.0f}"]
        cells += [f"{middle(rounds, name, 'requests_per_record'):.3f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def contender(word: str) -> str:
    """A contender by its name, or by how its name begins: ``dlt``.

    Raises:
        ValueError: None is called so.
    """
    found = [each for each in CONTENDERS if each.startswith(word)]
    if not found:
        raise ValueError(word)
    return word if word in found else found[0]


def chosen(value: str) -> list[str]:
    """Contenders, joined by commas."""
    return [contender(each) for each in value.split(",")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, help="default: as many as take 10 to 20 s")
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 20, 100], metavar="MS")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--gzip", action="store_true", help="compressed answers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=chosen, metavar="NAME,NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--others", default=str(Path(".venv-bench/bin/python")), metavar="PYTHON")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    there = Path(options.others).exists()
    if not there:
        print(f"no {options.others}: without what is not installed beside the bridge")
    cells = [
        Cell(latency_ms, in_flight, options.records or enough(latency_ms, in_flight), gzip=options.gzip)
        for latency_ms in options.latency
        for in_flight in options.in_flight
    ]
    rows = []
    for cell in cells:
        wanted = options.only or (COMPRESSED if cell.gzip else AT_LATENCY if cell.latency_ms else CONTENDERS)
        here = [each for each in wanted if there or not CONTENDERS[each][2]]
        result = measure(here, cell, options.rounds, options.others)
        table(result, cell)
        rows.append(asdict(cell) | {"rounds": result})
        if options.json:
            note(options.json, "gzip" if options.gzip else "drain", rows)


if __name__ == "__main__":
    main()
