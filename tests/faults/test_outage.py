"""A destination that is away while records pile up: memory stays flat, and the backlog comes oldest first."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest
from chaotic_sink import DOWN, TAKEN
from fault_stage import SOAK_MINUTES, Service, Stage, service, stage

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 100_000 if SOAK_MINUTES else 10_000
AWAY_S = max(8.0, SOAK_MINUTES * 15)
GROWTH_KB = 8 * 1024
CATCH_UP_GROWTH_KB = 20 * 1024
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400 + BACKLOG / 80 + SOAK_MINUTES * 60)]


async def test_an_outage_of_the_destination_with_a_backlog(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=BACKLOG, OTEL_BRIDGE_RATE_SHARE="1") as on:
        on.sink.policy = lambda _: DOWN
        async with service(on) as running:
            await running.until_logged("503")
            await asyncio.sleep(1)
            start_kb = peak_kb = running.rss_kb
            until_s = time.monotonic() + AWAY_S
            while time.monotonic() < until_s:
                await asyncio.sleep(0.25)
                peak_kb = max(peak_kb, running.rss_kb)
            asked = on.requests
            assert on.sink.requests < 60 + AWAY_S  # no hot loop at a destination that is down
            on.sink.policy = lambda _: TAKEN
            first_s, last_s, working_kb = await caught_up(on, running)
            after_kb = running.rss_kb
            await running.terminate()
        on.assert_nothing_lost_and_nothing_differs()
        assert on.sink.resent == 0
        print(  # noqa: T201 - the numbers that the run is for
            f"{BACKLOG} records; memory {(peak_kb - start_kb) / 1024:+.1f} MB in {AWAY_S:.0f} s of waiting"
            f", {(working_kb - start_kb) / 1024:+.1f} MB for a tenth of the backlog,"
            f" {(after_kb - working_kb) / 1024:+.1f} MB for the rest; {asked} requests while away;"
            f" then {BACKLOG / (last_s - first_s):,.0f} records/s"
        )
        assert peak_kb - start_kb < GROWTH_KB
        # The ledger's page cache fills with the ledger, up to 8 MB; all else is as it was at work.
        assert after_kb - working_kb < CATCH_UP_GROWTH_KB
        assert oldest_first(on.sink.kept["logs"].times_ns)


async def caught_up(on: Stage, running: Service) -> tuple[float, float, int]:
    """When the first record came, and the last, and the memory in KiB once a tenth of them were there."""
    await on.sink.until(lambda: bool(on.sink.ids), 90)
    first_s = time.monotonic()
    await on.sink.until(lambda: len(on.sink.kept["logs"].digests) >= BACKLOG / 10, 60 + BACKLOG / 1000)
    working_kb = running.rss_kb
    await on.sink.until(
        lambda: on.sink.copies > 0 and len(on.sink.kept["logs"].digests) == BACKLOG, 120 + BACKLOG / 100
    )
    return first_s, time.monotonic(), working_kb


def oldest_first(times_ns: list[int]) -> bool:
    """Whether each hundredth of the records is, by and large, older than the next one."""
    size = max(1, len(times_ns) // 100)
    middles = [median(times_ns[start : start + size]) for start in range(0, len(times_ns) - size, size)]
    return middles == sorted(middles)
