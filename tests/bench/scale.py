"""One process with few and many projects and records waiting: its memory and processor time for a record.

Records lie as dense as in drain.py, so that more of them reach further back. The source makes them up as they
are asked for. Memory is noted all along: it should not grow with what has been delivered.

    python tests/bench/scale.py --records 10000 --projects 1 10     a try
    python tests/bench/scale.py --json scale.json                   all of it, 20 to 40 minutes

With ``--json`` what the file holds already is not measured again; ``--anew`` does.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from processes import HERE, environment, run_to_end, server
from results import note

RECORDS = (10_000, 100_000, 1_000_000)
PROJECTS = (1, 10, 100)
MANY_PROJECTS_RECORDS = 100_000
"""With more than one project, so many records of all together."""
RATE = 10_000 / (50 * 60)
_DELIVERED = re.compile(r"([\d,]+) records? delivered")
_SAMPLES = 200
_SLOWEST = 30.0
"""Records a second; a run that is slower is ended."""


def cells(projects: list[int], records: list[int], *, crossed: bool) -> list[tuple[int, int]]:
    """What is measured: all records with one project, and more projects with one number of records."""
    if crossed:
        return [(each, count) for each in projects for count in records]
    alone = [(1, count) for count in records]
    return alone + [(each, MANY_PROJECTS_RECORDS) for each in projects if each != 1]


def measure(projects: int, records: int) -> dict[str, Any]:
    """Drain all of it, and watch."""
    source = (str(HERE / "endless_source.py"), str(projects), str(records), str(RATE))
    memory = Memory(records)
    with (
        server(*source) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        names = [
            {"name": f"p{number}", "api_key": f"ak_{number}", "base_url": base_url}
            for number in range(projects)
        ]
        config = Path(folder, "config.yaml")
        config.write_text(yaml.safe_dump({"projects": names}))
        start = f"{round(records / RATE / 60) + 60}m"
        who = f"a bridge with {projects} projects and {records:,} records"
        ended = run_to_end(
            who,
            [sys.executable, str(HERE / "contenders" / "bridge.py"), "--config", str(config)],
            environment(base_url, sink, folder, OTEL_BRIDGE_RATE_SHARE="1", OTEL_BRIDGE_START=start),
            base_url=base_url,
            most_s=records / _SLOWEST + 120,
            watch=memory.note,
        )
    delivered = sum(int(each.replace(",", "")) for each in _DELIVERED.findall(ended.output))
    if not ended.measured or delivered != records:
        sys.exit(f"{who} delivered {delivered:,}: {ended.output[-2000:]}")
    return {
        "projects": projects,
        "records": records,
        "records_per_s": records / ended.measured["seconds"],
        "cpu_us": ended.measured["cpu_s"] / records * 1e6,
        "peak_mb": ended.peak_mb,
        "requests_per_record": ended.requests / records,
        "memory": memory.samples,
    }


class Memory:
    """What a process takes in MB after how many requests; at most 400 samples, evenly spread.

    Args:
        records: How many it will collect, for the lines that say how far it is.
    """

    def __init__(self, records: int) -> None:
        self.samples: list[tuple[int, float]] = []
        self._records = records
        self._calls = 0
        self._every = 1

    def note(self, pid: int, requests: int) -> None:
        """Take a sample, and now and then say how far it is."""
        self._calls += 1
        size_mb = memory_mb(pid)
        if size_mb is None or self._calls % self._every:
            return
        self.samples.append((requests, size_mb))
        if sys.stderr.isatty() or len(self.samples) % 50 == 0:
            told = f"{requests:,} of {self._records:,} requests, {size_mb:.0f} MB"
            print(told, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
        if len(self.samples) == 2 * _SAMPLES:
            # Half of them do, from now on at half the pace.
            self.samples, self._every = self.samples[::2], self._every * 2


def memory_mb(pid: int) -> float | None:
    """What a process takes now; None where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = (each.partition(":")[2] for each in lines if each.startswith("VmRSS"))
    return next((int(each.split()[0]) / 1024 for each in sizes), None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+")
    parser.add_argument("--projects", type=int, nargs="+")
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    held: list[dict[str, Any]] = []
    if options.json and options.json.exists() and not options.anew:
        held = json.loads(options.json.read_text()).get("scale", {}).get("numbers", [])
    wanted = cells(
        options.projects or list(PROJECTS),
        options.records or list(RECORDS),
        crossed=bool(options.records and options.projects),
    )
    print("| projects | records | records/s | CPU µs a record | peak MB | requests a record |")
    print("|---|---|---|---|---|---|")
    for projects, records in wanted:
        row = next(
            (each for each in held if (each["projects"], each["records"]) == (projects, records)), None
        )
        if row is None:
            row = measure(projects, records)
            held.append(row)
            if options.json:
                note(options.json, "scale", held)
        print(
            f"| {projects} | {records:,} | {row['records_per_s']:,.0f} | {row['cpu_us']:,.0f}"
            f" | {row['peak_mb']:.0f} | {row['requests_per_record']:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
