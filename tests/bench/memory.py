"""How much memory the bridge takes at most, with default settings, as a process.

    python tests/bench/memory.py                                  10,000 ordinary records, and 200 details of
                                                                  20 MB in two shapes
    python tests/bench/memory.py --only text --details 60         a shorter try

Up to a million records and 100 projects: scale.py.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import scale
from large_source import SHAPES
from processes import HERE, environment, run_to_end, server
from results import note

PLAIN = "plain"
RECORDS = 10_000
DETAILS = 200
MEGABYTES = 20.0
_DELIVERED = re.compile(r"([\d,]+) records? delivered")
_MOST_S = 600.0


def large(details: int, megabytes: float, shape: str) -> dict[str, Any]:
    """Deliver large details; what that took."""
    source = (str(HERE / "large_source.py"), str(details), str(megabytes), shape)
    who = f"a bridge with {details} details of {megabytes:g} MB"
    with (
        server(*source) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        ended = run_to_end(
            who,
            [sys.executable, str(HERE / "contenders" / "bridge.py")],
            environment(base_url, sink, folder, OTEL_BRIDGE_RATE_SHARE="1"),
            base_url=base_url,
            most_s=_MOST_S,
        )
    delivered = sum(int(each.replace(",", "")) for each in _DELIVERED.findall(ended.output))
    if not ended.measured or delivered != details:
        sys.exit(f"{who} delivered {delivered:,}: {ended.output[-2000:]}")
    return {
        "details": shape,
        "records": details,
        "megabytes": megabytes,
        "seconds": ended.measured["seconds"],
        "peak_mb": ended.peak_mb,
    }


def plain(records: int) -> dict[str, Any]:
    """Deliver ordinary records; what that took."""
    found = scale.measure(1, records)
    return {
        "details": PLAIN,
        "records": records,
        "megabytes": 0.0,
        "seconds": records / found["records_per_s"],
        "peak_mb": found["peak_mb"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=(PLAIN, *SHAPES), default=[PLAIN, *SHAPES])
    parser.add_argument("--records", type=int, default=RECORDS, help="ordinary ones")
    parser.add_argument("--details", type=int, default=DETAILS, help="large ones")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="of each large one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| details | records | MB each | s | peak MB |")
    print("|---|---|---|---|---|")
    rows = []
    for kind in options.only:
        is_plain = kind == PLAIN
        row = plain(options.records) if is_plain else large(options.details, options.megabytes, kind)
        rows.append(row)
        sizes = f"{row['records']:,} | {row['megabytes']:g}"
        print(f"| {kind} | {sizes} | {row['seconds']:.1f} | {row['peak_mb']:.0f} |", flush=True)
        if options.json:
            note(options.json, "memory", rows)


if __name__ == "__main__":
    main()
