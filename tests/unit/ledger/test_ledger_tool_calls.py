"""What every ledger can say of a range: how many tool calls it knows, and where ids are no longer kept."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.ledger.ledger_samples import DAY, HOUR, KINDS, T0, aside, opened, record, window

from otel_bridge.ledger import Lane, Ledger, Reason, ToolCalls, Verification

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as each:
        yield each


async def prune(ledger: Ledger, before_h: float) -> None:
    await ledger.prune("p", T0 + int(before_h * HOUR), T0 + 30 * DAY)


async def test_tool_calls_of_a_range_are_counted_from_its_start_up_to_its_end(ledger: Ledger) -> None:
    trigger = replace(record("t", 1), tool_call=False)
    await ledger.commit("p", delivered=[record("a", 0), record("b", 1), record("c", 2), trigger])
    await ledger.commit("q", delivered=[record("a", 1)])
    assert await ledger.tool_calls("p", T0, T0 + 2 * HOUR) == ToolCalls(2, 2, {}, ())
    assert await ledger.tool_calls("p", T0 + 1, T0 + 2 * HOUR + 1) == ToolCalls(2, 2, {}, ())
    assert await ledger.tool_calls("nobody", T0, T0 + DAY) == ToolCalls(0, 0, {}, ())
    found = await ledger.identities("p", ["a", "t"])
    assert (found["a"].tool_call, found["t"].tool_call) == (True, False)


async def test_what_is_set_aside_counts_and_is_named_by_reason(ledger: Ledger) -> None:
    not_one = replace(aside("t", 1), tool_call=False)
    refused = aside("c", 1, reason=Reason.REFUSED)
    await ledger.commit("p", delivered=[record("a", 1)])
    await ledger.commit("p", set_aside=[aside("b", 1), refused, not_one, aside("d", 5)])
    expected = ToolCalls(3, 3, {"not_found": 1, "refused": 1}, ())
    assert await ledger.tool_calls("p", T0, T0 + 2 * HOUR) == expected
    await ledger.commit("p", delivered=[record("b", 1)])
    assert await ledger.tool_calls("p", T0, T0 + 2 * HOUR) == ToolCalls(3, 3, {"refused": 1}, ())
    assert [each.tool_call for each in await ledger.set_aside("p")] == [True, False, True]


async def test_forgotten_tool_calls_stay_counted(ledger: Ledger) -> None:
    trigger = replace(record("t", 3), tool_call=False)
    await ledger.commit("p", delivered=[*(record(f"log_{n}", n) for n in range(6)), trigger])
    await prune(ledger, 2)
    span = (T0, T0 + HOUR + 1)
    assert await ledger.tool_calls("p", T0, T0 + DAY) == ToolCalls(6, 6, {}, (span,))
    await prune(ledger, 4)
    assert await ledger.tool_calls("p", T0, T0 + DAY) == ToolCalls(6, 6, {}, ((T0, T0 + 3 * HOUR + 1),))
    assert await ledger.tool_calls("p", T0 + 4 * HOUR, T0 + DAY) == ToolCalls(2, 2, {}, ())


async def test_a_range_that_cuts_through_what_was_forgotten_is_bounded_and_never_guessed(
    ledger: Ledger,
) -> None:
    await ledger.commit("p", delivered=[record(f"log_{n}", n) for n in range(6)])
    await prune(ledger, 4)
    forgotten = ((T0 + 2 * HOUR, T0 + 3 * HOUR + 1),)
    assert await ledger.tool_calls("p", T0 + 2 * HOUR, T0 + DAY) == ToolCalls(2, 6, {}, forgotten)
    bounds = await ledger.tool_calls("p", T0 + 2 * HOUR, T0 + DAY)
    assert [bounds.may_be(count) for count in (1, 2, 6, 7)] == [False, True, True, False]


async def test_days_are_forgotten_and_counted_each_by_itself(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record(f"log_{n}", n) for n in range(96)])
    await prune(ledger, 60)
    spans = tuple((T0 + start * HOUR, T0 + end * HOUR + 1) for start, end in ((0, 23), (24, 47), (48, 59)))
    assert await ledger.tool_calls("p", T0, T0 + 4 * DAY) == ToolCalls(96, 96, {}, spans)
    assert await ledger.tool_calls("p", T0 + DAY, T0 + 2 * DAY) == ToolCalls(24, 24, {}, spans[1:2])
    one_and_a_half = await ledger.tool_calls("p", T0 + 12 * HOUR, T0 + 2 * DAY)
    assert (one_and_a_half.least, one_and_a_half.most) == (24, 48)


async def test_what_comes_after_the_forgetting_may_be_new_or_the_same(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record("a", 1), record("b", 3)])
    await ledger.commit("p", set_aside=[aside("late", 2)])
    await prune(ledger, 4)
    await ledger.commit("p", delivered=[record("late", 2)])
    known = await ledger.tool_calls("p", T0, T0 + DAY)
    assert (known.least, known.most) == (3, 3), "what was set aside is known to be new"
    trigger = replace(record("t", 2), tool_call=False)
    for _ in range(2):
        await ledger.commit("p", delivered=[record("a", 1), trigger, record("outside", 5)])
    known = await ledger.tool_calls("p", T0, T0 + DAY)
    assert (known.least, known.most) == (4, 5)
    await ledger.commit("p", set_aside=[aside("b", 3)])
    await prune(ledger, 10)
    known = await ledger.tool_calls("p", T0, T0 + DAY)
    assert (known.least, known.most) == (4, 6)


DAYS = 3
TIMES = {f"log_{n}": (n * 7) % (24 * DAYS) + (n % 3) * 0.3 for n in range(24)}
IDS = st.lists(st.sampled_from(sorted(TIMES)), max_size=6)
HISTORIES = st.lists(
    st.tuples(st.just("deliver"), IDS)
    | st.tuples(st.just("set aside"), IDS)
    | st.tuples(st.just("prune"), st.integers(0, 24 * DAYS)),
    max_size=14,
)


@pytest.mark.parametrize(("kind", "examples"), [("memory", 150), ("sqlite", 20), ("postgres", 10)])
def test_what_is_true_always_lies_within_the_bounds(kind: str, examples: int) -> None:
    @settings(max_examples=examples)
    @given(HISTORIES)
    def holds(history: list[tuple[str, Any]]) -> None:
        asyncio.run(live_through(kind, history))

    holds()


async def live_through(kind: str, history: list[tuple[str, Any]]) -> None:
    known, forgotten, came_again = set[str](), set[str](), False
    with tempfile.TemporaryDirectory() as folder:
        async with opened(kind, Path(folder)) as ledger:
            for what, which in history:
                if what == "prune":
                    await prune(ledger, which)
                    still = await ledger.known("p", TIMES)
                    forgotten |= known - still
                    continue
                came_again |= bool(forgotten.intersection(which))
                known.update(which)
                if what == "deliver":
                    await ledger.commit("p", delivered=[record(each, TIMES[each]) for each in which])
                else:
                    await ledger.commit("p", set_aside=[aside(each, TIMES[each]) for each in which])
            for from_h, to_h in ((0, 24 * DAYS), (24, 48), (30, 31), (12, 60)):
                count = await ledger.tool_calls("p", T0 + from_h * HOUR, T0 + to_h * HOUR)
                true = sum(from_h <= TIMES[each] < to_h for each in known)
                assert count.may_be(true)
                if not forgotten:
                    assert (count.exact, count.forgotten) == (True, ())
            everything = await ledger.tool_calls("p", T0, T0 + DAYS * DAY)
            assert came_again or everything.most == len(known)


async def test_ids_that_an_open_window_keeps_are_counted_once(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record(f"log_{n}", n) for n in range(6)])
    await ledger.add_windows([window(2, 3, lane=Lane.BACKFILL, passes=0, due_ms=0)])
    await prune(ledger, 24)
    known = await ledger.tool_calls("p", T0, T0 + DAY)
    assert (known.least, known.most) == (6, 6)


async def test_counts_are_dropped_with_the_windows_that_the_source_has_forgotten(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record("a"), record("b", 24 * 20)])
    await ledger.commit("p", window=window(410 * 24, 410 * 24 + 1))
    await ledger.prune("p", T0 + 30 * DAY, T0 + 411 * DAY)
    assert await ledger.tool_calls("p", T0, T0 + DAY) == ToolCalls(0, 0, {}, ())
    assert (await ledger.tool_calls("p", T0, T0 + 30 * DAY)).least == 1


async def test_the_last_verification_is_kept(ledger: Ledger) -> None:
    first, second = Verification(1, 2, 3, 4, 5, 6, 7), Verification(11, 3, 13, 14, 15, 0, 0)
    assert (await ledger.status(["p"]))[0].verification is None
    await ledger.note_verification("p", first)
    await ledger.note_verification("q", first)
    await ledger.note_verification("p", second)
    assert [each.verification for each in await ledger.status(["p", "q"])] == [second, first]
