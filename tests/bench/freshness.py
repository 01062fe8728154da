"""How fresh a live feed is delivered and how many requests that takes, in simulated time.

First without a quota, from a source that answers at once; then under quotas, of which the bridge takes its
share, from a source that takes 0.1 s for an answer. What a quota allows is a limit that no program can pass:
a faster feed is left behind, more and more, and what is printed for it holds only for the time simulated.

    python tests/bench/freshness.py --rates 1 5 30 --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from live_simulation import LATENESS, POLL_S, RECHECK_S, simulate
from processes import at_most
from quota_source import QuotaSource
from results import note

QUOTAS = (2_000, 10_000)
SHARE = 0.5
LATENCY_S = 0.1
LATE = "0.3 s"
FREE_RATES = (1, 5, 30, 150)
RATES = (1, 5, 10, 15, 16, 17, 20, 30, 50, 75, 80, 85, 100, 150)
QUOTA_SECONDS = 600


def limit(quota: int) -> float:
    """Requests a second that the bridge may make."""
    return quota * SHARE / 60


def without_quota(rates: list[float], seconds: float | None) -> None:
    """Print how fresh feeds are that nothing limits."""
    ages = ", ".join(f"{each} s" for each in RECHECK_S)
    print(f"polls every {POLL_S:.0f} s, re-checks at {ages}; from visible to delivered\n")
    print("| records/s | visible after its time | records | p50 | p95 | requests a record |")
    print("|---|---|---|---|---|---|")
    for rate in rates:
        for lateness in LATENESS:
            run = asyncio.run(simulate(rate, seconds or min(max(9_000 / rate, 60), 900), lateness))
            print(
                f"| {rate:g} | {lateness} | {run.records:,} | {run.p50_s:.1f} s | {run.p95_s:.1f} s"
                f" | {run.requests:.2f} |",
                flush=True,
            )


def under_quotas(rates: list[float], seconds: float) -> list[dict[str, float]]:
    """Print how fresh feeds are under each quota, and what is left behind."""
    print(f"\na share of {SHARE:g} of a quota, {LATENCY_S:g} s an answer, {seconds:.0f} s of feed\n")
    print("| requests/min | limit, records/s | records/s | p50 | p95 | requests a record | left behind |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for quota in QUOTAS:
        client_of = partial(QuotaSource, quota=quota, share=SHARE, latency_s=LATENCY_S)
        for rate in rates:
            run = asyncio.run(simulate(rate, seconds, LATE, client_of=client_of, overrun=True))
            print(
                f"| {quota:,} | {limit(quota):.1f} | {rate:g} | {run.p50_s:.1f} s | {run.p95_s:.1f} s"
                f" | {run.requests:.2f} | {run.backlog:,} |",
                flush=True,
            )
            rows.append(
                {"quota": quota, "limit": limit(quota), "rate": rate, "seconds": seconds} | asdict(run)
            )
    return rows


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", help="default: 1 to 150")
    parser.add_argument("--seconds", type=float, help="default: as many as give 9,000 records, 60 to 900")
    parser.add_argument("--quota-only", action="store_true", help="leave out what nothing limits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    at_most(45)
    logging.disable()
    if not options.quota_only:
        without_quota(options.rates or list(FREE_RATES), options.seconds)
    rows = under_quotas(options.rates or list(RATES), options.seconds or QUOTA_SECONDS)
    if options.json:
        note(options.json, "freshness", rows)


if __name__ == "__main__":
    main()
