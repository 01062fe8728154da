"""Source and destination misbehave, the bridge is killed again and again: nothing lost, nothing differs."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from chaotic_sink import hanging_up, misbehaving
from fault_stage import SOAK_MINUTES, Service, Stage, seed_of, service, stage

from otel_bridge.emulator import random_faults

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 25
FAULTS = 0.1
RATE = 40
STEADY_S = max(12.0, SOAK_MINUTES * 60 / 2)
GROWTH_KB = 20 * 1024
BATCH = 256
SIGNALS = 2
SETTINGS = {
    "OTEL_BRIDGE_START": "1m",
    "OTEL_BRIDGE_POLL_INTERVAL": "300ms",
    "OTEL_BRIDGE_RECHECK": "1s,3s,8s",
    "OTEL_BRIDGE_PARENT_WAIT": "15s",
    "OTEL_BRIDGE_SOURCE_TIMEOUT": "1s",
    "OTEL_BRIDGE_RATE_SHARE": "1",
    "OTEL_BRIDGE_CONCURRENCY": "64",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + SOAK_MINUTES * 90)]


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
        async with service(on) as steady:
            steady_run = await run_undisturbed(on, steady)
            await on.calm_down()
            await steady.terminate()
        await asyncio.sleep(8)  # until the last re-check is due
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()

        by_kills = on.sink.resent - on.sink.owed
        print(  # noqa: T201 - the numbers that the run is for
            f"{len(on.ids)} records; {kills} kills;"
            f" {sum(on.sink.mishaps.values())} of {on.sink.requests} exports mistreated;"
            f" sent again {on.sink.resent / on.sink.copies:.2%}, by kills {by_kills / on.sink.copies:.2%};"
            f" undisturbed a record cost {steady_run.details:.3f} details and {steady_run.lists:.3f} lists;"
            f" memory {steady_run.growth_kb / 1024:+.1f} MB"
        )
        assert kills >= KILLS
        assert by_kills <= kills * BATCH * SIGNALS  # a kill costs one batch at most
        if SOAK_MINUTES:  # in a short run one batch is more than a hundredth of everything
            assert by_kills <= 0.01 * on.sink.copies
        assert steady_run.growth_kb < GROWTH_KB


@dataclass(frozen=True)
class Steady:
    """What a stretch of time without kills took: memory in KiB, and requests for each record delivered."""

    growth_kb: int
    details: float
    lists: float


async def kill_again_and_again(on: Stage, moments: random.Random) -> int:
    """Kill as soon as it is busy, or a random while later; over and over."""
    until_s = time.monotonic() + SOAK_MINUTES * 60 / 2
    kills = 0
    while kills < KILLS or time.monotonic() < until_s:
        before = on.requests
        async with service(on) as running:
            async with asyncio.timeout(60):
                while on.requests == before:  # noqa: ASYNC110 - another process asks
                    await asyncio.sleep(0.01)
            await asyncio.sleep(moments.choice((0.2, 2.0, 4.0)) * moments.random())
            assert running.process.returncode is None, running.log
            await running.kill()
            assert "Traceback" not in running.log
            kills += 1
    return kills


async def run_undisturbed(on: Stage, running: Service) -> Steady:
    """Let it run with faults and no kills."""
    await on.sink.until(lambda: len(on.ids - on.sink.ids) < 8 * RATE, 300)  # the backlog of the kills
    await asyncio.sleep(3)
    start_kb, delivered = running.rss_kb, len(on.sink.ids)
    details, lists = on.sound("detail"), on.sound("list")
    peak_kb = start_kb
    until_s = time.monotonic() + STEADY_S
    while time.monotonic() < until_s:
        await asyncio.sleep(0.25)
        peak_kb = max(peak_kb, running.rss_kb)
    assert running.process.returncode is None, running.log
    records = max(1, len(on.sink.ids) - delivered)
    return Steady(
        peak_kb - start_kb, (on.sound("detail") - details) / records, (on.sound("list") - lists) / records
    )
