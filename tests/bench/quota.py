"""How much of its share of a quota the bridge turns into records while it catches up.

The backlog is longer than the run; counted are records that were delivered, beside the requests that the
share allows in that time. The rest is what lists cost, and how closely the budget is steered.

First in simulated time. Then for real: the emulator with a limit, and the bridge as a process.
A budget of a minute is used up at once where the source is fast, so a real run is measured from the beginning
of one burst to that of a later one; counted are the details that were fetched. A batch of them may wait for
the next minute's requests before it is full and delivered, which over few minutes would say nothing.

    python tests/bench/quota.py [--cycles 3]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import logging
import math
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from live_simulation import working
from processes import HERE, bridge, delivered, environment, server
from quota_source import QuotaSource
from results import note
from simulated_clock import SimulatedClock

from otel_bridge.emulator import LogStore, record_of
from otel_bridge.times import format_time

if TYPE_CHECKING:
    import subprocess

SHARE = 0.5
ASKED = 0.97
LEAST_RECORDS = 30_000
WARM_UP_S = 600.0
"""Left out of what is counted: the first burst is for nothing, and something is always in hand."""
QUOTAS = (600, 2_000, 10_000)
SPAN_MS = 6 * 3_600_000
REAL_QUOTA = 600
_PAUSE_S = 20.0
"""Between bursts the bridge may send nothing for most of a minute; within one it does not pause so long."""
_POLL_S = 0.05
_MOST_IN_HAND = 600
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


def counted(base_url: str, connection: http.client.HTTPConnection) -> Count:
    """How far it is now."""
    with urllib.request.urlopen(f"{base_url}/emulator/stats") as answer:
        asked = json.load(answer)["requests"]
    lists = asked["list"] + asked["usage"]
    return Count(time.monotonic(), asked["detail"], lists, delivered(connection))


def real(cycles: int) -> dict[str, Any]:
    """Run the bridge against a limited emulator for so many minutes of its budget."""
    allowed = REAL_QUOTA * SHARE
    logs = str(round(allowed * (cycles + 4)))
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", logs, "--rate-limit", str(REAL_QUOTA))
    with (
        server(*emulate) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        environ = environment(base_url, sink, folder, OTEL_BRIDGE_RATE_SHARE=str(SHARE))
        with bridge(environ, folder) as (process, url):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            bursts = watched(base_url, connection, process, cycles)
    first, last = bursts[0], bursts[-1]
    if last.details - last.delivered > _MOST_IN_HAND:
        sys.exit(f"{last.details:,} details were fetched and {last.delivered:,} records delivered")
    seconds = last.at_s - first.at_s
    allowed *= seconds / 60
    return {
        "how": "real",
        "quota": REAL_QUOTA,
        "latency_s": 0.0,
        "seconds": seconds,
        "records": last.details - first.details,
        "share": (last.details - first.details) / allowed,
        "lists": (last.lists - first.lists) / allowed,
        "sent": (last.lists - first.lists + last.details - first.details) / allowed,
    }


def watched(
    base_url: str, connection: http.client.HTTPConnection, process: subprocess.Popen[bytes], cycles: int
) -> list[Count]:
    """How far it was when each burst but the first began: with that one, what came before it is in hand."""
    bursts: list[Count] = []
    last, changed_s = counted(base_url, connection), -math.inf
    end_s = time.monotonic() + (cycles + 3) * 70
    while len(bursts) <= cycles + 1 and time.monotonic() < end_s and process.poll() is None:
        now = counted(base_url, connection)
        if now.details > last.details:
            if now.at_s - changed_s > _PAUSE_S:
                bursts.append(replace(last, at_s=now.at_s))
            changed_s = now.at_s
        last = now
        time.sleep(_POLL_S)
    if len(bursts) <= cycles + 1:
        sys.exit(f"only {len(bursts)} bursts in that time")
    return bursts[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=3, help="minutes of the real run; 0 for none")
    parser.add_argument(
        "--records", type=int, default=LEAST_RECORDS, help="of a simulated run, at least; 0: none"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable()
    rows = []
    print("| how | requests/min | an answer takes | records | of the share | lists | sent in all |")
    print("|---|---|---|---|---|---|---|")
    for quota in QUOTAS if options.records else ():
        for latency_s in (0.0, 0.1):
            rows.append(asyncio.run(simulated(quota, latency_s, options.records)))
            row(rows[-1])
    if options.cycles:
        rows.append(real(options.cycles))
        row(rows[-1])
    if options.json:
        note(options.json, "quota", rows)
    least = min(each["share"] for each in rows)
    print(f"\nat least {least:.1%} of the share; asked: {ASKED:.0%}, {'met' if least >= ASKED else 'missed'}")


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
