"""A wall clock that jumps, forth and back, while the service runs: nothing lost, nothing twice, no crash."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from fault_stage import Stage, service, stage

HOUR_MS = 3_600_000
PROGRAM = Path(__file__).with_name("clock_program.py")
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("jump_ms", [-2 * HOUR_MS, 2 * HOUR_MS, -5_000])
async def test_a_clock_that_jumps_and_comes_back(tmp_path: Path, jump_ms: int) -> None:
    offset = tmp_path / "offset"
    set_clock(offset, 0)
    async with stage(
        tmp_path,
        logs=100,
        OTEL_BRIDGE_POLL_INTERVAL="300ms",
        OTEL_BRIDGE_RECHECK="1s,3s,20s",
        OTEL_BRIDGE_PARENT_WAIT="15s",
    ) as on:
        on.go_live(20, 5, late_ms=(0, 300))
        async with service(on, command=(sys.executable, str(PROGRAM), str(offset), "run")) as running:
            await further(on, 150)
            set_clock(offset, jump_ms)
            if jump_ms < 0:
                await asyncio.sleep(2.0)  # nothing is asked of a bridge that lives in the past
            else:
                await further(on, 60)
            set_clock(offset, 0)
            await further(on, 1)
            await on.calm_down()
            await running.terminate()
        # A jump forth has moved the line between past and future: what lies behind it is looked for again.
        await on.finish(60)
        await asyncio.sleep(4)
        await on.finish(60)
        on.assert_nothing_lost_and_nothing_differs()
        assert on.sink.resent == 0


def set_clock(offset: Path, ms: int) -> None:
    new = offset.with_suffix(".new")
    new.write_text(str(ms))
    new.replace(offset)  # never seen half written


async def further(on: Stage, records: int) -> None:
    goal = len(on.sink.ids) + records
    await on.sink.until(lambda: len(on.sink.ids) >= goal, 60)
