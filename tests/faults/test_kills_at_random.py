"""Source and destination misbehave, the bridge is killed again and again: nothing lost, nothing differs."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from chaotic_sink import hanging_up, misbehaving
from fault_stage import SOAK_MINUTES, Stage, seed_of, service, stage

from otel_bridge.emulator import random_faults

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 25
FAULTS = 0.1
RATE = 40
BURST = 14_000
BURST_RATE = 400
SOAK_S = SOAK_MINUTES * 60 / 2
OLDEST_RECHECK_S = 12
PATIENCE_S = 400  # machines are shared
GROWTH_KB = 20 * 1024
# A tenth of the real intervals, but for the oldest re-checks. At a tenth of the interval 40 records a second
# are as many a poll as 4 are at the real one: the fewest at which 1.1 requests a record can be had.
SETTINGS = {
    "OTEL_BRIDGE_START": "1m",
    "OTEL_BRIDGE_POLL_INTERVAL": "500ms",
    "OTEL_BRIDGE_RECHECK": f"3s,{OLDEST_RECHECK_S}s",
    "OTEL_BRIDGE_PARENT_WAIT": "15s",
    "OTEL_BRIDGE_SOURCE_TIMEOUT": "1s",
    "OTEL_BRIDGE_RATE_SHARE": "1",
    "OTEL_BRIDGE_CONCURRENCY": "64",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500 + SOAK_MINUTES * 90)]


async def test_nothing_is_lost_and_nothing_differs_over_25_kills_and_a_tenth_of_faults(
    tmp_path: Path,
) -> None:
    seed = seed_of("kills at random")
    moments = random.Random(seed)
    async with stage(tmp_path, seed=seed, settings=SETTINGS) as on:
        on.fault = random_faults(seed, FAULTS)
        on.sink.policy = misbehaving(seed, FAULTS * 0.9)
        on.sink.hangs_up_unread = hanging_up(seed, FAULTS * 0.1)
        on.go_live(RATE, seed)
        kills = await kill_again_and_again(on, moments)
        over_kills = len(on.sink.ids)
        steady = await run_undisturbed(on, seed)
        await asyncio.sleep(OLDEST_RECHECK_S)
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()

        by_kills = on.sink.resent - on.sink.owed
        print(  # noqa: T201 - the numbers that the run is for
            f"{len(on.ids)} records, {over_kills} of them over {kills} kills;"
            f" {sum(on.sink.mishaps.values())} of {on.sink.requests} exports mistreated;"
            f" {on.sink.copies} spans and log records came, {by_kills} of them again for a kill"
            f" ({by_kills / on.sink.copies:.2%}), {on.sink.owed} because the answer was lost;"
            f" undisturbed {steady.records} records, {steady.rate:.0f} a second,"
            f" each for {steady.details:.3f} details and {steady.lists:.3f} lists;"
            f" memory {steady.growth_kb / 1024:+.1f} MB"
        )
        assert kills >= KILLS
        assert by_kills <= 0.01 * on.sink.copies
        assert steady.details + steady.lists <= 1.1
        assert steady.growth_kb < GROWTH_KB


@dataclass(frozen=True)
class Steady:
    """What a stretch of time without kills came to.

    Attributes:
        records: How many were delivered in it.
        rate: The same for each second.
        growth_kb: Memory gained at most since it was at work, in KiB.
        details: Detail requests that the source answered as it should, for each record.
        lists: List requests likewise.
    """

    records: int
    rate: float
    growth_kb: int
    details: float
    lists: float


async def kill_again_and_again(on: Stage, moments: random.Random) -> int:
    """Kill soon after it has begun to ask, or when it has been at work for some seconds; over and over."""
    until_s = time.monotonic() + SOAK_S
    kills = 0
    while kills < KILLS or time.monotonic() < until_s:
        async with service(on) as running:
            await running.until_it_asks(PATIENCE_S)
            await asyncio.sleep(moments.choice((0.3, 6.0, 6.0)) * moments.random())
            assert running.process.returncode is None, running.log
            await running.kill()
            assert "Traceback" not in running.log
            kills += 1
    return kills


async def run_undisturbed(on: Stage, seed: int) -> Steady:
    """Let it run with faults and no kills: a burst on top of what the kills have left."""
    details, lists, before = on.sound("detail"), on.sound("list"), len(on.sink.ids)
    await on.end_feed()
    goal = len(on.source.store) + BURST
    on.go_live(BURST_RATE, seed + 1)
    began_s = time.monotonic()
    until_s = began_s + SOAK_S
    async with service(on) as running:
        await on.sink.until(lambda: len(on.sink.ids) > before + BURST / 6, PATIENCE_S)
        start_kb = peak_kb = running.rss_kb
        await on.sink.until(lambda: len(on.source.store) >= goal, PATIENCE_S)
        await on.end_feed()
        on.go_live(RATE, seed + 2)
        while len(on.source.store) - len(on.sink.ids) > 5 * RATE or time.monotonic() < until_s:
            assert running.process.returncode is None, running.log
            await asyncio.sleep(0.25)
            peak_kb = max(peak_kb, running.rss_kb)
        records, took_s = len(on.sink.ids) - before, time.monotonic() - began_s
        details, lists = on.sound("detail") - details, on.sound("list") - lists
        await on.calm_down()
        await running.terminate()
    return Steady(records, records / took_s, peak_kb - start_kb, details / records, lists / records)
