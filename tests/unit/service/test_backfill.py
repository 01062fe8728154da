"""A past range: planned once, collected oldest first, resumable, never what is collected already."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.ledger import Lane, Window
from otel_bridge.service.ranges import uncovered

HOUR = 3_600_000


async def nothing() -> None:
    pass


async def plan(bridge: Any, from_h: float, to_h: float) -> Window:
    now = bridge.clock.now_ms()
    window = Window("p", Lane.BACKFILL, now - round(from_h * HOUR), now - round(to_h * HOUR))
    await bridge.ledger.add_windows([window])
    return window


async def test_it_collects_the_range_oldest_first_and_nothing_else(bridge: Any) -> None:
    for hours in (3, 9, 5, 7):
        bridge.add(f"log_{hours}", age_s=hours * 3600)
    await plan(bridge, 8, 4)
    await bridge.worker.run_backfill(nothing)
    assert bridge.destination.keys == ["log_7", "log_5"]
    windows = await bridge.ledger.windows("p", Lane.BACKFILL)
    assert all(window.sealed for window in windows)
    assert await bridge.ledger.watermark_ms("p", Lane.LIVE) is None


async def test_old_calls_are_not_measured(bridge: Any) -> None:
    bridge.add("log_old", age_s=5 * 3600)
    bridge.add("log_new", age_s=60)
    await plan(bridge, 6, 4)
    await bridge.worker.run_backfill(nothing)
    assert bridge.measured == []
    await bridge.once()
    assert len(bridge.measured) == 1


async def test_it_goes_on_where_it_failed(bridge: Any) -> None:
    for hours in range(4, 40):
        bridge.add(f"log_{hours:02}", age_s=hours * 3600)
    await plan(bridge, 40, 3)
    bridge.destination.failures = [DestinationUnavailable("503")]
    with pytest.raises(DestinationUnavailable):
        await bridge.worker.run_backfill(nothing)
    bridge.worker = bridge.new_worker()
    await bridge.worker.run_backfill(nothing)
    assert bridge.destination.keys == [f"log_{hours:02}" for hours in range(39, 3, -1)]


async def test_a_dense_stretch_is_split(bridge: Any) -> None:
    for number in range(1500):
        bridge.add(f"log_{number}", age_s=5 * 3600 + number / 10)
    await plan(bridge, 6, 4)
    await bridge.worker.run_backfill(nothing)
    assert len(bridge.destination.keys) == len(set(bridge.destination.keys)) == 1500


async def test_the_running_service_collects_it_beside_new_records(bridge: Any) -> None:
    import asyncio  # noqa: PLC0415 - the one use

    bridge.add("log_old", age_s=10 * 3600)
    running = asyncio.create_task(bridge.worker.run())
    await asyncio.create_task(bridge.clock.sleep(7))
    await plan(bridge, 11, 9)
    bridge.add("log_new", age_s=0)
    await asyncio.create_task(bridge.clock.sleep(20))
    bridge.stop.set()
    await running
    assert sorted(bridge.destination.keys) == ["log_new", "log_old"]


stretches = st.tuples(st.integers(0, 100), st.integers(1, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(stretches, max_size=8), st.integers(0, 60), st.integers(1, 60))
def test_what_is_planned_is_exactly_what_nobody_has_taken(
    taken: list[tuple[int, int]], start: int, length: int
) -> None:
    gaps = uncovered(start, start + length, taken)
    wanted = {at for at in range(start, start + length) if not any(a <= at < b for a, b in taken)}
    assert [at for a, b in gaps for at in range(a, b)] == sorted(wanted)
