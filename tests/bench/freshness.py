"""How fresh a live feed is delivered and how many requests that takes, in simulated time; prints a table.

python tests/bench/freshness.py --rates 1 5 30 --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from live_simulation import LATENESS, POLL_S, RECHECK_S, simulate


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 5, 30, 150])
    parser.add_argument("--seconds", type=float, help="default: as many as give 9,000 records, 60 to 900")
    options = parser.parse_args()
    logging.disable()
    ages = ", ".join(f"{each} s" for each in RECHECK_S)
    print(f"polls every {POLL_S:.0f} s, re-checks at {ages}; from visible to delivered\n")
    print("| records/s | visible after its time | records | p50 | p95 | requests a record |")
    print("|---|---|---|---|---|---|")
    for rate in options.rates:
        seconds = options.seconds or min(max(9_000 / rate, 60), 900)
        for lateness in LATENESS:
            run = asyncio.run(simulate(rate, seconds, lateness))
            print(
                f"| {rate:g} | {lateness} | {run.records:,} | {run.p50_s:.1f} s | {run.p95_s:.1f} s"
                f" | {run.requests:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
