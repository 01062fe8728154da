"""Laws of the planner: no time is left out, none is collected twice, every window is sealed in the end."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline import windows

AGES = (30_000, 120_000, 600_000, 3_600_000)
HOUR = 3_600_000


def window(from_ms: int, to_ms: int, **more: int | None) -> Window:
    return replace(Window("p", Lane.LIVE, from_ms, to_ms), **more)  # type: ignore[arg-type]  # test shorthand


@given(
    start=st.integers(0, 10**13),
    length=st.integers(0, 30 * 24 * HOUR),
    counts=st.lists(st.integers(0, 5000), min_size=1, max_size=8),
)
def test_new_windows_join_without_gap_or_overlap_up_to_the_present(
    start: int, length: int, counts: list[int]
) -> None:
    now = start + length
    span = windows.Span()
    watermark: int | None = None
    for step in range(200):
        head = windows.next_head("p", watermark, start, now, span.ms)
        if head is None:
            break
        assert head.from_ms == (start if watermark is None else watermark)
        assert head.from_ms < head.to_ms <= now
        count = counts[step % len(counts)]
        if count > 1000 and head.length_ms > 1:
            span.too_full(head, head.length_ms)
            assert span.ms < head.length_ms
            continue
        span.collected(head, count)
        watermark = head.to_ms
    else:
        assert watermark is not None  # dense for ever, but it moved
        return
    assert (watermark if watermark is not None else start) == now


def test_nothing_is_planned_while_the_clock_stands_behind_the_watermark() -> None:
    assert windows.next_head("p", 1000, 0, 1000, 10) is None
    assert windows.next_head("p", 1000, 0, 400, 10) is None


def test_a_quiet_range_grows_the_windows_and_a_full_one_shrinks_them() -> None:
    span = windows.Span()
    span.collected(window(0, span.ms), 0)
    assert span.ms == 2 * windows.FIRST_SPAN_MS, "the next one may be the first that is not quiet"
    span.collected(window(0, span.ms), 50)
    assert span.ms == 8 * windows.FIRST_SPAN_MS
    span.collected(window(0, span.ms), 100_000)
    assert span.ms < windows.FIRST_SPAN_MS
    before = span.ms
    span.collected(window(0, 10), 0)  # cut short by the present: says nothing
    assert span.ms == before


@given(age=st.integers(0, 3 * HOUR))
def test_rechecks_already_reached_are_not_made_again(age: int) -> None:
    done = windows.completed(window(0, 1000), AGES, 1000 + age, 7)
    later = [each for each in AGES if each > age]
    assert done.due_ms == (1000 + later[0] if later else None)
    assert (done.passes, done.records, done.sealed) == (1, 7, not later)


def test_without_ages_a_window_is_sealed_at_once() -> None:
    assert windows.completed(window(0, 1000), (), 1000, 0).sealed


@given(
    lengths=st.lists(st.integers(1, 20_000), min_size=1, max_size=30),
    counts=st.lists(st.integers(0, 900), min_size=30, max_size=30),
    gaps=st.lists(st.booleans(), min_size=30, max_size=30),
    patient=st.booleans(),
    wait=st.integers(0, 2 * HOUR),
)
def test_a_recheck_joins_only_neighbours_and_never_too_many_records(
    lengths: list[int],
    counts: list[int],
    gaps: list[bool],
    patient: bool,
    wait: int,
) -> None:
    due, at = [], 0
    for index, length in enumerate(lengths):
        at += 5 if gaps[index] else 0
        due.append(window(at, at + length, passes=1, due_ms=at + length + 30_000, records=counts[index]))
        at += length
    group = windows.recheck_group(due, at + 30_000 + wait, patient=patient)
    if not patient:
        assert group
        assert group[0] == due[0]
    for left, right in itertools.pairwise(group):
        assert left.to_ms == right.from_ms
    if group:
        whole = windows.joined(group)
        assert (whole.from_ms, whole.to_ms) == (group[0].from_ms, group[-1].to_ms)
        assert whole.records == sum(each.records for each in group)
        assert len(group) == 1 or whole.records <= 800


def test_patience_ends_a_quarter_of_the_age_after_the_oldest_is_due() -> None:
    due = [window(0, 1000, passes=1, due_ms=31_000)]
    assert windows.recheck_group(due, 38_499, patient=True) == []
    assert windows.recheck_group(due, 38_500, patient=True) == due


def test_an_old_group_that_waits_does_not_hold_up_a_ripe_one() -> None:
    young = window(0, 1000, passes=3, due_ms=3_601_000)
    ripe = window(5000, 6000, passes=1, due_ms=36_000)
    assert windows.recheck_group([young, ripe], 3_602_000, patient=True) == [ripe]


@given(st.integers(2, 10**9), st.integers(0, 500))
def test_halves_cover_the_window_and_keep_its_count(length: int, records: int) -> None:
    whole = window(100, 100 + length, passes=2, records=records)
    left, right = windows.halves(whole)
    assert (left.from_ms, left.to_ms, right.to_ms) == (100, right.from_ms, 100 + length)
    assert left.length_ms > 0
    assert right.length_ms > 0
    assert left.records + right.records == records
