"""While one window is delivered the next one is fetched; still each is committed after the one before it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from otel_bridge.emulator import Fault
from otel_bridge.errors import DestinationUnavailable, SourceError
from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline import lanes
from otel_bridge.pipeline.capacity import AHEAD_RECORDS
from otel_bridge.pipeline.list import list_window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_bridge.signals import Delivery, Outcome

MANY = 2_000  # three windows or more


def fill(bridge: Any, many: int = MANY) -> list[str]:
    """Records a second apart, the oldest first."""
    for number in range(many):
        bridge.add(f"log_{number:04}", age_s=3_000 - number)
    return [f"log_{number:04}" for number in range(many)]


def spy(bridge: Any, do: Callable[[int, Sequence[Delivery]], Any]) -> None:
    """Call ``do`` with its number before each export."""
    export = bridge.destination.export
    count = 0

    async def watched(deliveries: Sequence[Delivery]) -> Outcome:
        nonlocal count
        count += 1
        found = do(count, deliveries)
        if asyncio.iscoroutine(found):
            await found
        result: Outcome = await export(deliveries)
        return result

    bridge.destination.export = watched


async def test_a_window_is_listed_and_fetched_while_the_one_before_it_is_delivered(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(bridge)
    listed: list[Window] = []

    async def noted(context: Any, window: Window, *others: Any, **more: Any) -> Any:
        listing, work = await list_window(context, window, *others, **more)
        if listing.complete:
            listed.append(window)
        return listing, work

    monkeypatch.setattr(lanes, "list_window", noted)
    further: list[int] = []
    fetched: list[int] = []

    async def look(_: int, deliveries: Sequence[Delivery]) -> None:
        for _ in range(4_000):
            await asyncio.sleep(0)
        committed = [window for window in await bridge.ledger.windows("p", Lane.LIVE) if window.passes]
        further.append(len(listed) - len(committed))
        fetched.append(bridge.requests["detail"] - len(bridge.destination.keys) - len(deliveries))

    spy(bridge, look)
    await bridge.worker.run_once()
    assert 2 <= max(further) <= 4
    assert 0.9 * AHEAD_RECORDS < max(fetched) <= AHEAD_RECORDS + 8
    assert bridge.destination.keys == names
    assert bridge.requests["detail"] == MANY


async def test_windows_are_committed_oldest_first(bridge: Any) -> None:
    fill(bridge)
    marks: list[int | None] = []

    async def note(_: int, deliveries: Sequence[Delivery]) -> None:
        watermark = await bridge.ledger.watermark_ms("p", Lane.LIVE)
        marks.append(watermark)
        first_ms = bridge.clock.now_ms() - (3_000 - int(deliveries[0].key[4:])) * 1000
        assert watermark is None or watermark <= first_ms

    spy(bridge, note)
    await bridge.worker.run_once()
    assert marks == sorted(marks, key=lambda each: each or 0)
    assert len(set(marks)) >= 3


async def test_what_fails_keeps_what_is_younger_from_going_out(bridge: Any) -> None:
    names = fill(bridge)

    def fail(number: int, _: Sequence[Delivery]) -> None:
        if number == 5:
            raise DestinationUnavailable("503")

    spy(bridge, fail)
    with pytest.raises(DestinationUnavailable):
        await bridge.worker.run_once()
    assert bridge.destination.keys == names[: len(bridge.destination.keys)]
    assert not any(each in bridge.context.in_flight for each in names)
    await bridge.worker.run_once()
    assert bridge.destination.keys == names


async def test_what_can_not_be_listed_ahead_does_not_end_what_is_under_way(bridge: Any) -> None:
    names = fill(bridge)
    lists = 0

    def fault(path: str, _: int) -> Any:
        nonlocal lists
        if path.endswith("tool_execution"):
            lists += 1
            if lists > 10:
                return Fault(status=503)
        return None

    bridge.fault = fault
    with pytest.raises(SourceError):
        await bridge.worker.run_once()
    watermark = await bridge.ledger.watermark_ms("p", Lane.LIVE)
    delivered = len(bridge.destination.keys)
    assert watermark is not None
    # The whole window before the one that could not be listed is committed.
    assert watermark > bridge.clock.now_ms() - (3_000 - delivered + 2) * 1000
    bridge.fault = lambda _path, _number: None
    await bridge.worker.run_once()
    assert bridge.destination.keys == names


async def test_a_cancelled_step_leaves_nothing_under_way(bridge: Any) -> None:
    fill(bridge)
    begun = asyncio.Event()

    async def hang(number: int, _: Sequence[Delivery]) -> None:
        if number == 3:
            begun.set()
            await asyncio.Event().wait()

    spy(bridge, hang)
    running = asyncio.create_task(bridge.worker.run_once())
    await begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bridge.clock.sleep(5)  # then the simulated clock rests as well
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_backfill_does_the_same_and_commits_each_part(bridge: Any) -> None:
    names = fill(bridge)
    now = bridge.clock.now_ms()
    await bridge.ledger.add_windows([Window("p", Lane.BACKFILL, now - 3_600_000, now - 60_000)])
    steps = 0

    async def count() -> None:
        nonlocal steps
        steps += 1

    await bridge.worker.run_backfill(count)
    assert bridge.destination.keys == names
    assert bridge.requests["detail"] == MANY
    windows = await bridge.ledger.windows("p", Lane.BACKFILL)
    assert (windows[0].from_ms, windows[-1].to_ms) == (now - 3_600_000, now - 60_000)
    assert all(one.to_ms == two.from_ms for one, two in pairwise(windows))
    assert all(window.passes == 1 for window in windows)
    assert steps >= 1
