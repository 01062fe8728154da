"""How much memory the bridge takes where details are large: default settings, a process, its peak.

python tests/bench/large.py                                  200 details of 20 MB, of both shapes
python tests/bench/large.py --details 50 --shapes text       a shorter try
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from large_source import SHAPES
from processes import HERE, environment, run_to_end, server
from results import note

DETAILS = 200
MEGABYTES = 20.0
_DELIVERED = re.compile(r"([\d,]+) records? delivered")
_MOST_S = 600.0


def measure(details: int, megabytes: float, shape: str) -> dict[str, Any]:
    """Deliver all of them; what that took."""
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
        "details": details,
        "megabytes": megabytes,
        "shape": shape,
        "seconds": ended.measured["seconds"],
        "peak_mb": ended.peak_mb,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--details", type=int, default=DETAILS)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="of each")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| details | MB each | a result is | s | peak MB |")
    print("|---|---|---|---|---|")
    rows = []
    for shape in options.shapes:
        rows.append(measure(options.details, options.megabytes, shape))
        row = rows[-1]
        sizes = f"{row['details']} | {row['megabytes']:g}"
        print(f"| {sizes} | {shape} | {row['seconds']:.1f} | {row['peak_mb']:.0f} |", flush=True)
        if options.json:
            note(options.json, "large", rows)


if __name__ == "__main__":
    main()
