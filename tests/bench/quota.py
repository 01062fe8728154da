"""How much of its share of a quota the bridge turns into records while it catches up.

The backlog is longer than the run; counted are the requests that were made beside those that the share allows
in that time. What is not a record is what lists cost, and how closely the budget is steered.

First in simulated time. Then for real: the emulator with a limit, and the bridge as a process with its
default settings, from an API whose answers take 0.3 s and 1 s. Counted is a stretch of whole minutes after a
minute of warming up.

    python tests/bench/quota.py --latency 1000 --quota 6000     one real cell, 3.5 minutes
    python tests/bench/quota.py                                 all of it

Last, for real from an API that answers at once: there a minute's budget is used up in a burst, so it is
measured from the beginning of one burst to that of a later one. A batch may wait for the next minute's
requests before it is full and delivered, so what is counted are details that were fetched; what was not
delivered of them is looked at, and must be few.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from live_simulation import working
from processes import HERE, at_most, bridge, delivered, environment, must_run, requests, server
from quota_source import QuotaSource
from results import note
from simulated_clock import SimulatedClock

from otel_bridge.emulator import LogStore, record_of
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE = 0.5
LEAST_RECORDS = 30_000
WARM_UP_S = 600.0
"""Left out of what is counted: the first burst is for nothing, and something is always in hand."""
QUOTAS = (600, 2_000, 10_000)
SPAN_MS = 6 * 3_600_000
BURST_QUOTA = 600
SLOW_MS = (300, 1_000)
SLOW_QUOTAS = (6_000, 10_000)
"""What an answer takes and requests a minute, of the real runs."""
STRETCH_S = 120.0
REAL_WARM_UP_S = 60.0
_PAUSE_S = 20.0
"""Between bursts the bridge may send nothing for most of a minute; within one it does not pause so long."""
_POLL_S = 0.05
_MOST_IN_HAND = 600
_MOST_IN_HAND_S = 15
"""What was fetched and is not delivered may be so many records, or as many as come in so many seconds."""
_ENOUGH = 1.2


async def simulated(quota: int, latency_s: float, least: int) -> dict[str, Any]:
    """Catch up for so long; what share became records, and what the rest was."""
    clock = SimulatedClock()
    began_ms = clock.now_ms()
    seconds = max(math.ceil(least / quota / SHARE), 10) * 60
    allowed = quota * SHARE * seconds / 60
    count = round(allowed * (1 + WARM_UP_S / seconds) * _ENOUGH)
    store = LogStore(
        _plain(number, began_ms - SPAN_MS + SPAN_MS * number // count) for number in range(count)
    )
    client = QuotaSource(store, clock, quota=quota, share=SHARE, latency_s=latency_s)
    async with working(client, clock, start_ms=began_ms - SPAN_MS) as watch:
        await asyncio.create_task(clock.sleep(WARM_UP_S))
        delivered, lists, sent = len(watch.delivered_s), client.requests["list"], len(client.at_s)
        await asyncio.create_task(clock.sleep(seconds))
        delivered = len(watch.delivered_s) - delivered
        lists, sent = client.requests["list"] - lists, len(client.at_s) - sent
    return {
        "how": "simulated",
        "quota": quota,
        "latency_s": latency_s,
        "seconds": seconds,
        "records": delivered,
        "share": delivered / allowed,
        "lists": lists / allowed,
        "sent": sent / allowed,
    }


def _plain(number: int, at_ms: int) -> Any:
    detail = {
        "id": f"log_{number}",
        "timestamp": format_time(at_ms),
        "type": "tool.execution",
        "status": "success",
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
        "metrics": {"duration_ms": 12},
        "parent": None,
        "context": {},
        "data": {},
    }
    return record_of(detail, at_ms)


@dataclass(frozen=True)
class Count:
    """How far a run was at a moment: requests by route, and records delivered."""

    at_s: float
    details: int
    lists: int
    delivered: int


def counted(base_url: str, url: str) -> Count:
    """How far it is now."""
    asked = requests(base_url)
    lists = asked["list"] + asked["usage"]
    return Count(time.monotonic(), asked["detail"], lists, delivered(url))


@contextmanager
def collecting(quota: int, latency_ms: int, logs: int) -> Iterator[Callable[[], Count]]:
    """A bridge with default settings and a limited emulator; how far it is, whenever that is asked for."""
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(logs))
    with (
        server(*emulate, "--rate-limit", str(quota), "--latency", str(latency_ms)) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
        bridge(environment(base_url, sink, folder), folder) as (process, url),
    ):

        def now() -> Count:
            must_run(process, folder)
            return counted(base_url, url)

        yield now


def steady(quota: int, latency_ms: int, seconds: float, warm_up_s: float) -> dict[str, Any]:
    """A stretch of a run against an API that takes so long for an answer."""
    allowed = quota * SHARE * (seconds + warm_up_s) / 60
    with collecting(quota, latency_ms, round(allowed * _ENOUGH)) as now:
        first = after(warm_up_s, now)
        if first.details == 0:
            sys.exit(f"the bridge fetched nothing within {warm_up_s:g} s")
        last = after(seconds, now)
    return of_share(first, last, quota, latency_ms)


def after(seconds: float, now_is: Callable[[], Count]) -> Count:
    """How far it is after so long; looked at each second, so that an end of the bridge is seen."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(min(left_s, 1.0))
        now = now_is()
    return now


def bursts(cycles: int) -> dict[str, Any]:
    """So many minutes of a run against an API that answers at once, from one burst to another."""
    with collecting(BURST_QUOTA, 0, round(BURST_QUOTA * SHARE * (cycles + 4))) as now:
        found = watched(now, cycles)
    return of_share(found[0], found[-1], BURST_QUOTA, 0)


def of_share(first: Count, last: Count, quota: int, latency_ms: int) -> dict[str, Any]:
    """What became of the requests that were allowed between two moments."""
    in_hand, seconds = last.details - last.delivered, last.at_s - first.at_s
    if in_hand > max(_MOST_IN_HAND, quota * SHARE * _MOST_IN_HAND_S / 60):
        sys.exit(f"{last.details:,} details were fetched and only {last.delivered:,} records delivered")
    allowed = quota * SHARE * seconds / 60
    records, lists = last.details - first.details, last.lists - first.lists
    return {
        "how": "real",
        "quota": quota,
        "latency_s": latency_ms / 1000,
        "seconds": seconds,
        "records": records,
        "share": records / allowed,
        "lists": lists / allowed,
        "sent": (records + lists) / allowed,
    }


def watched(now_is: Callable[[], Count], cycles: int) -> list[Count]:
    """How far it was when each burst but the first began: with that one, what came before it is in hand."""
    found: list[Count] = []
    last, changed_s = now_is(), -math.inf
    end_s = time.monotonic() + (cycles + 3) * 70
    while len(found) <= cycles + 1 and time.monotonic() < end_s:
        now = now_is()
        if now.details > last.details:
            if now.at_s - changed_s > _PAUSE_S:
                found.append(replace(last, at_s=now.at_s))
            changed_s = now.at_s
        last = now
        time.sleep(_POLL_S)
    if len(found) <= cycles + 1:
        sys.exit(f"only {len(found)} bursts in that time")
    return found[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--latency", type=int, nargs="+", metavar="MS", help="only real runs: an answer takes"
    )
    parser.add_argument("--quota", type=int, nargs="+", metavar="N", help="only real runs: requests a minute")
    parser.add_argument("--seconds", type=float, default=STRETCH_S, help="of a real run that are counted")
    parser.add_argument("--warm-up", type=float, default=REAL_WARM_UP_S, metavar="S", help="before them")
    parser.add_argument("--cycles", type=int, default=3, help="minutes in bursts; 0 for none")
    parser.add_argument(
        "--records", type=int, default=LEAST_RECORDS, help="of a simulated run, at least; 0: none"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    at_most(90)
    logging.disable()
    print("| how | requests/min | an answer takes | records | of the share | lists | sent in all |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for one in runs(options):
        rows.append(one)
        row(one)
        if options.json:
            note(options.json, "quota", rows)


def runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure what the command line asks for, one after the other."""
    chosen = bool(options.latency or options.quota)
    for quota in QUOTAS if options.records and not chosen else ():
        for latency_s in (0.0, 0.1):
            yield asyncio.run(simulated(quota, latency_s, options.records))
    for latency_ms in options.latency or SLOW_MS:
        for quota in options.quota or SLOW_QUOTAS:
            yield steady(quota, latency_ms, options.seconds, options.warm_up)
    if options.cycles and not chosen:
        yield bursts(options.cycles)


def row(of: dict[str, Any]) -> None:
    """Print one."""
    lists, sent = (f"{of[name]:.1%}" if name in of else "" for name in ("lists", "sent"))
    print(
        f"| {of['how']} | {of['quota']:,} | {of['latency_s']:g} s | {of['records']:,}"
        f" | {of['share']:.1%} | {lists} | {sent} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
