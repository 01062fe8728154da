"""What every ledger promises about windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.ledger.ledger_samples import HOUR, KINDS, T0, opened, record, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane, Ledger, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as each:
        yield each


async def test_an_empty_lane_has_no_watermark(ledger: Ledger) -> None:
    assert await ledger.watermark_ms("p", Lane.LIVE) is None
    assert await ledger.windows("p", Lane.LIVE) == []
    assert await ledger.due_windows("p", Lane.LIVE, T0) == []


async def test_the_watermark_ends_at_the_first_gap(ledger: Ledger) -> None:
    for each in (window(0, 1), window(1, 2), window(2, 3), window(4, 5)):
        await ledger.commit("p", window=each)
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + 3 * HOUR
    await ledger.commit("p", window=window(3, 4))
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + 5 * HOUR


async def test_the_watermark_does_not_pass_a_window_that_is_only_planned(ledger: Ledger) -> None:
    await ledger.add_windows([window(1, 2, passes=0, due_ms=0)])
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + HOUR
    await ledger.commit("p", window=window(0, 1))
    await ledger.commit("p", window=window(2, 3))
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + HOUR
    await ledger.commit("p", window=window(1, 2))
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + 3 * HOUR


async def test_lanes_and_projects_are_separate_lines_of_time(ledger: Ledger) -> None:
    for lane, project in ((Lane.LIVE, "p"), (Lane.BACKFILL, "p"), (Lane.LIVE, "q")):
        await ledger.commit(project, window=window(0, 1, lane=lane, project=project))
    await ledger.commit("q", window=window(1, 2, project="q"))
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + HOUR
    assert await ledger.watermark_ms("p", Lane.BACKFILL) == T0 + HOUR
    assert await ledger.watermark_ms("q", Lane.LIVE) == T0 + 2 * HOUR
    assert await ledger.windows("q", Lane.BACKFILL) == []


async def test_windows_of_a_range_are_those_that_share_time_with_it(ledger: Ledger) -> None:
    three = [window(2, 3, records=7), window(0, 1, due_ms=5), window(1, 2, passes=3)]
    for each in three:
        await ledger.commit("p", window=each)
    ordered = [three[1], three[2], three[0]]
    assert await ledger.windows("p", Lane.LIVE) == ordered
    assert await ledger.windows("p", Lane.LIVE, from_ms=T0 + HOUR) == ordered[1:]
    assert await ledger.windows("p", Lane.LIVE, to_ms=T0 + HOUR) == ordered[:1]
    middle = await ledger.windows("p", Lane.LIVE, from_ms=T0 + HOUR + 5, to_ms=T0 + HOUR + 6)
    assert middle == [ordered[1]]


async def test_due_windows_come_in_order_of_time_and_never_when_sealed(ledger: Ledger) -> None:
    for each in (window(3, 4, due_ms=10), window(1, 2, due_ms=20), window(0, 1), window(2, 3, due_ms=21)):
        await ledger.commit("p", window=each)
    due = await ledger.due_windows("p", Lane.LIVE, 20)
    assert due == [window(1, 2, due_ms=20), window(3, 4, due_ms=10)]
    assert await ledger.due_windows("p", Lane.LIVE, 20, limit=1) == due[:1]


async def test_a_window_takes_the_place_of_its_own_row_and_of_those_it_replaces(ledger: Ledger) -> None:
    await ledger.commit("p", window=window(0, 1, due_ms=5, records=1))
    await ledger.commit("p", window=window(0, 1, passes=2, due_ms=9, records=2))
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 1, passes=2, due_ms=9, records=2)]
    await ledger.commit("p", window=window(1, 2))
    whole = window(0, 2, passes=3, records=4)
    await ledger.commit("p", window=whole, replaces=await ledger.windows("p", Lane.LIVE))
    assert await ledger.windows("p", Lane.LIVE) == [whole]


@pytest.mark.parametrize("bad", [window(0.5, 1.5), window(-1, 0.5), window(-1, 9), window(0.2, 0.8)])
async def test_a_window_over_another_ones_time_is_refused_with_all_that_came_along(
    ledger: Ledger, bad: Window
) -> None:
    await ledger.commit("p", window=window(0, 1))
    with pytest.raises(LedgerError, match="shares time"):
        await ledger.commit("p", delivered=[record("a")], window=bad)
    assert await ledger.known("p", ["a"]) == set()
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 1)]


async def test_a_window_of_no_length_or_of_another_project_or_lane_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no length"):
        await ledger.commit("p", window=window(1, 1))
    with pytest.raises(LedgerError, match="no length"):
        await ledger.add_windows([window(0, 1), window(2, 1)])
    with pytest.raises(LedgerError, match="project 'q'"):
        await ledger.commit("p", window=window(0, 1, project="q"))
    with pytest.raises(LedgerError, match="backfill"):
        await ledger.commit("p", window=window(0, 1), replaces=[window(0, 1, lane=Lane.BACKFILL)])
    assert await ledger.windows("p", Lane.LIVE) == []


async def test_planned_windows_leave_out_those_that_share_time_with_another(ledger: Ledger) -> None:
    await ledger.commit("p", window=window(1, 2))
    plan = [window(a, b, passes=0, due_ms=0) for a, b in ((0, 1), (1.5, 2.5), (2, 3), (2.9, 4), (3, 4))]
    await ledger.add_windows(plan)
    assert await ledger.windows("p", Lane.LIVE) == [plan[0], window(1, 2), plan[2], plan[4]]


async def test_a_split_and_a_merge_cover_the_same_time(ledger: Ledger) -> None:
    whole = window(0, 4, passes=2, due_ms=7, records=5)
    await ledger.commit("p", window=whole)
    halves = [whole.part(T0, T0 + HOUR), whole.part(T0 + HOUR, T0 + 4 * HOUR)]
    await ledger.replace_windows([whole], halves)
    assert await ledger.windows("p", Lane.LIVE) == halves
    await ledger.replace_windows(halves, [whole])
    assert await ledger.windows("p", Lane.LIVE) == [whole]
    await ledger.replace_windows([], [])


async def test_a_window_that_was_never_stored_can_be_split(ledger: Ledger) -> None:
    await ledger.replace_windows([window(0, 2)], [window(0, 1, passes=0), window(1, 2, passes=0)])
    assert len(await ledger.windows("p", Lane.LIVE)) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([(0, 2)], [(0, 1)]),
        ([(0, 2)], [(0, 1), (1, 3)]),
        ([(0, 2)], [(0, 1.5), (1, 2)]),
        ([(0, 2)], []),
        ([], [(0, 2)]),
    ],
)
async def test_a_split_that_loses_or_doubles_time_is_refused(
    ledger: Ledger, old: list[tuple[float, float]], new: list[tuple[float, float]]
) -> None:
    await ledger.commit("p", window=window(0, 2))
    with pytest.raises(LedgerError, match=r"cover the same time|split or merged"):
        await ledger.replace_windows([window(*each) for each in old], [window(*each) for each in new])
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 2)]


async def test_a_split_that_meets_another_window_changes_nothing(ledger: Ledger) -> None:
    await ledger.commit("p", window=window(0, 1))
    with pytest.raises(LedgerError, match="shares time"):
        await ledger.replace_windows([window(0, 2)], [window(0, 1.5), window(1.5, 2)])
    with pytest.raises(LedgerError, match="can't"):
        await ledger.replace_windows([window(0, 1)], [replace(window(0, 1), lane=Lane.BACKFILL)])
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 1)]


async def test_a_ledger_that_is_not_open_says_so(ledger: Ledger) -> None:
    await ledger.open()
    await ledger.commit("p", window=window(0, 1))
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerError, match="is not open"):
        await ledger.watermark_ms("p", Lane.LIVE)
    with pytest.raises(LedgerError, match="is not open"):
        await ledger.commit("p", window=window(1, 2))
    await ledger.open()
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 1)]
