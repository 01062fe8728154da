"""``run --once`` over many records, beside a bare httpx loop on the same emulator in the same run.

Prints a table and writes JSON with ``--json FILE``. Read the ratios: machines differ and are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
_URL = re.compile(r"http://[0-9.]+:\d+")


@dataclass(frozen=True)
class Run:
    """One measurement of the bridge."""

    records_per_s: float
    ratio: float
    cpu_us_per_record: float
    peak_mb: float
    requests_per_record: float


@contextmanager
def server(*command: str) -> Iterator[str]:
    """A server that prints its address; stopped at the end."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = _URL.search(process.stdout.readline())
        if found is None:
            sys.exit(f"{command} did not start")
        yield found.group()
    finally:
        process.terminate()
        process.wait(10)


def requests(base_url: str) -> int:
    """How many requests the emulator has answered on the routes of the API."""
    with urllib.request.urlopen(f"{base_url}/emulator/stats") as answer:
        return sum(json.load(answer)["requests"].values())


def floor(base_url: str, concurrency: int) -> float:
    """Records a second of the bare loop."""
    now = int(time.time() * 1000)
    arguments = [base_url, str(now - 3_600_000), str(now), str(concurrency)]
    output = subprocess.run(
        [sys.executable, str(HERE / "floor.py"), *arguments], check=True, capture_output=True, text=True
    )
    result = json.loads(output.stdout)
    return float(result["records"] / result["seconds"])


def bridge(base_url: str, sink: str, records: int, concurrency: int, floor_rate: float) -> Run:
    """One ``run --once`` with an empty ledger, as a process, its start included."""
    before = requests(base_url)
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "COMPOSIO_"))
        }
        environ |= {
            "COMPOSIO_API_KEY": "ak_bench",
            "COMPOSIO_BASE_URL": base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
            "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
            "OTEL_BRIDGE_CONCURRENCY": str(concurrency),
            "OTEL_BRIDGE_RATE_SHARE": "1",
        }
        log = Path(folder, "output")
        began = time.perf_counter()
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "otel_bridge", "run", "--once"],
                env=environ,
                stdout=stream,
                stderr=stream,
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        output = log.read_text()
    if process.returncode or f"{records:,} records delivered" not in output:
        sys.exit(f"the bridge did not deliver everything: {output}")
    rate = records / seconds
    return Run(
        records_per_s=rate,
        ratio=rate / floor_rate,
        cpu_us_per_record=(usage.ru_utime + usage.ru_stime) / records * 1e6,
        peak_mb=usage.ru_maxrss / 1024,
        requests_per_record=(requests(base_url) - before) / records,
    )


def measure(records: int, concurrency: int, rounds: int) -> dict[str, float]:
    """Alternate floor and bridge, and take the medians."""
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(records))
    with server(*emulate) as base_url, server(str(HERE / "sink.py")) as sink:
        floors, runs = [], []
        for _ in range(rounds):
            floors.append(floor(base_url, concurrency))
            runs.append(asdict(bridge(base_url, sink, records, concurrency, floors[-1])))
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {"records": records, "floor_records_per_s": statistics.median(floors), **medians}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for records in options.records:
        rows.append(measure(records, options.concurrency, options.rounds))
        print("  ".join(f"{name} {value:,.2f}" for name, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
