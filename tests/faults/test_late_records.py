"""A record that becomes visible late is collected, whatever its window goes through meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from chaotic_sink import DOWN, TAKEN
from fault_stage import service, stage

from otel_bridge.emulator import generate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


async def test_a_record_that_appears_while_its_window_waits_for_the_destination(tmp_path: Path) -> None:
    """The age of a pass is that of its listing: what came after it must be found by a re-check."""
    async with stage(
        tmp_path,
        OTEL_BRIDGE_START="10m",
        OTEL_BRIDGE_POLL_INTERVAL="300ms",
        OTEL_BRIDGE_RECHECK="1s,3s",
    ) as on:
        now_ms = time.time_ns() // 1_000_000
        known = generate(40, 99, now_ms - 8 * 60_000, now_ms - 60_000)
        for record in known:
            on.source.store.add(record)
        on.sink.policy = lambda _: DOWN
        async with service(on) as running:
            await running.until_logged("503")
            # In the window that was listed a moment ago, younger than the oldest re-check's age.
            at_ms = time.time_ns() // 1_000_000 - 1_500
            (late,) = generate(1, 98, at_ms, at_ms + 1)
            on.source.store.add(late)
            await asyncio.sleep(4)  # beyond the oldest re-check's age
            on.sink.policy = lambda _: TAKEN
            await running.until_logged(f"{len(known)} delivered")
            await running.terminate()
        await asyncio.sleep(4)
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()
