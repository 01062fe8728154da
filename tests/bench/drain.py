"""The bridge end to end beside floors and peers, all on one emulator in one run, by turns.

Prints a table for each latency and number of requests in flight, and writes JSON with ``--json FILE``. Each
is measured from when its modules are imported. Read the ratios: machines differ and are shared; processor
time depends less on what else a machine does than records a second do.

What is not installed beside the bridge (aiohttp, httpx-aiohttp, dlt, airbyte-cdk) is run by the Python of
``--others``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import HERE, environment, server
from ratios import middle, ratio
from results import note

BASE = "httpx"
VENDOR = "composio-client + OTel SDK"
DLT = "dlt, pull only"
AIRBYTE = "airbyte-cdk, pull only"
BRIDGE = "otel-bridge"
# Script in contenders/, its last argument, and whether it runs in the other environment. The first one is
# what all are compared with.
CONTENDERS = {
    BASE: ("floor.py", "httpx", False),
    "aiohttp": ("floor.py", "aiohttp", True),
    "httpx-aiohttp": ("floor.py", "httpx-aiohttp", True),
    "httpx over our transport": ("floor.py", "httpx-own", False),
    "our transport": ("floor.py", "own", False),
    VENDOR: ("composio_client_in_threads.py", "", False),
    DLT: ("dlt_rest_api.py", "", True),
    AIRBYTE: ("airbyte_declarative.py", "", True),
    BRIDGE: ("bridge.py", "", False),
}
AT_LATENCY = (BASE, "aiohttp", VENDOR, BRIDGE)
_TIMEOUT_S = 300


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


def requests(base_url: str) -> int:
    """How many requests the emulator has answered on the routes of the API."""
    with urllib.request.urlopen(f"{base_url}/emulator/stats") as answer:
        return sum(json.load(answer)["requests"].values())


def run(name: str, stage: Stage, others: str) -> Run:
    """Run one contender as a process, the bridge with an empty ledger."""
    script, kind, elsewhere = CONTENDERS[name]
    now = int(time.time() * 1000)
    arguments = [stage.base_url, str(now - 3_600_000), str(now), str(stage.in_flight), kind, stage.sink]
    if name == BRIDGE:
        arguments = []  # all by its settings
    before = requests(stage.base_url)
    with tempfile.TemporaryDirectory() as folder:
        environ = environment(
            stage.base_url,
            stage.sink,
            folder,
            OTEL_BRIDGE_CONCURRENCY=str(stage.in_flight),
            OTEL_BRIDGE_RATE_SHARE="1",
        )
        log = Path(folder, "output")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [others if elsewhere else sys.executable, str(HERE / "contenders" / script), *arguments],
                env=environ,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output = log.read_text()
    line = next(
        (each for each in reversed(output.splitlines()) if each.startswith('{"') and "cpu_s" in each), ""
    )
    done = json.loads(line or "{}")
    delivered = f"{stage.records:,} records delivered" in output
    if process.returncode or not (delivered or done.get("records") == stage.records):
        sys.exit(f"{name} did not fetch everything: {output[-2000:]}")
    return Run(
        records_per_s=stage.records / done["seconds"],
        cpu_us=done["cpu_s"] / stage.records * 1e6,
        peak_mb=usage.ru_maxrss / 1024,
        requests_per_record=(requests(stage.base_url) - before) / stage.records,
    )


def measure(
    names: list[str], records: int, *, latency_ms: int, in_flight: int, rounds: int, others: str
) -> dict[str, list[dict[str, float]]]:
    """Let all take turns; by name, what each of its runs came to."""
    logs = ("--logs", str(records), "--latency", str(latency_ms))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with (
        server("-m", "otel_bridge", "emulate", "--port", "0", *logs) as base_url,
        server(str(HERE / "sink.py")) as sink,
    ):
        stage = Stage(base_url, sink, records, in_flight)
        for _ in range(rounds):
            for name in names:
                found[name].append(asdict(run(name, stage, others)))
    return found


def table(rounds: dict[str, list[dict[str, float]]], latency_ms: int, in_flight: int) -> None:
    """Print one stage's medians."""
    ideal = f", ideal {in_flight / latency_ms * 1000:,.0f} records/s" if latency_ms else ""
    print(f"\n{latency_ms} ms latency, {in_flight} in flight{ideal}\n")
    base = next(iter(rounds))
    print(f"| who | records/s | to {base} | CPU µs a record | to {base} | peak MB | requests a record |")
    print("|---|---|---|---|---|---|---|")
    for name in rounds:
        print(
            f"| {name} | {middle(rounds, name, 'records_per_s'):,.0f}"
            f" | {ratio(rounds, name, base, 'records_per_s'):.2f}"
            f" | {middle(rounds, name, 'cpu_us'):,.0f} | {ratio(rounds, name, base, 'cpu_us'):.2f}"
            f" | {middle(rounds, name, 'peak_mb'):.0f} | {middle(rounds, name, 'requests_per_record'):.3f} |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 20, 100], metavar="MS")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--others", default=str(Path(".venv-bench/bin/python")), metavar="PYTHON")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    there = Path(options.others).exists()
    if not there:
        print(f"no {options.others}: without what is not installed beside the bridge")
    rows = []
    for latency_ms in options.latency:
        for in_flight in options.in_flight:
            wanted = [each for each in options.only if there or not CONTENDERS[each][2]]
            if latency_ms:
                wanted = [each for each in wanted if each in AT_LATENCY]
            # A slow source is asked for fewer records: a run takes some 10 s whatever the latency.
            records = (
                options.records if not latency_ms else min(options.records, 100_000 // latency_ms + 1000)
            )
            result = measure(
                wanted,
                records,
                latency_ms=latency_ms,
                in_flight=in_flight,
                rounds=options.rounds,
                others=options.others,
            )
            table(result, latency_ms, in_flight)
            rows.append(
                {"latency_ms": latency_ms, "in_flight": in_flight, "records": records, "rounds": result}
            )
            if options.json:
                note(options.json, "drain", rows)


if __name__ == "__main__":
    main()
