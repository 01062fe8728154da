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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from drain import requests
from processes import HERE, environment, server
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
        environ = environment(base_url, sink, folder, OTEL_BRIDGE_RATE_SHARE="1", OTEL_BRIDGE_START=start)
        log = Path(folder, "output")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "contenders" / "bridge.py"), "--config", str(config)],
                env=environ,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
            try:
                watched = watch(process, base_url, records)
            finally:
                process.kill()
                process.wait()
        output = log.read_text()
        asked = requests(base_url)
    line = next((each for each in reversed(output.splitlines()) if each.startswith('{"seconds')), "")
    delivered = sum(int(each.replace(",", "")) for each in _DELIVERED.findall(output))
    if not line or process.returncode or delivered != records:
        sys.exit(f"{projects} projects, {records:,} records: {output[-2000:]}")
    done = json.loads(line)
    return {
        "projects": projects,
        "records": records,
        "records_per_s": records / done["seconds"],
        "cpu_us": done["cpu_s"] / records * 1e6,
        "peak_mb": watched["peak_mb"],
        "requests_per_record": asked / records,
        "memory": watched["memory"],
    }


def watch(process: subprocess.Popen[bytes], base_url: str, records: int) -> dict[str, Any]:
    """Wait for its end; its most memory in MB, and what it took after how many requests."""
    samples: list[tuple[int, float]] = []
    peak_mb, pause_s = 0.0, 0.5
    end_s = time.monotonic() + records / _SLOWEST + 120
    while process.poll() is None:
        if time.monotonic() > end_s:
            sys.exit(f"slower than {_SLOWEST:g} records a second")
        sizes = memory_mb(process.pid)
        if sizes is not None:
            samples.append((requests(base_url), sizes[0]))
            peak_mb = sizes[1]
            if sys.stderr.isatty() or len(samples) % 50 == 0:
                told = (
                    f"{samples[-1][0]:,} of {records:,} requests, {sizes[0]:.0f} MB, at most {peak_mb:.0f} MB"
                )
                print(told, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
        if len(samples) == 2 * _SAMPLES:
            # Half of them do, from now on at half the pace.
            samples, pause_s = samples[::2], pause_s * 2
        time.sleep(pause_s)
    return {"peak_mb": peak_mb, "memory": samples}


def memory_mb(pid: int) -> tuple[float, float] | None:
    """What a process takes now, and the most it took; None where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = {name: value for name, _, value in (each.partition(":") for each in lines)}
    if "VmRSS" not in sizes:
        return None
    return int(sizes["VmRSS"].split()[0]) / 1024, int(sizes["VmHWM"].split()[0]) / 1024


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
