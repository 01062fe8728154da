"""Polls come every second while they cost little of the share, and never so often that they cost much."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_bridge.pipeline.polling import (
    LONGEST_S,
    SHARE_FOR_LISTS,
    SHORTEST_S,
    AutoPollInterval,
    PollInterval,
)

if TYPE_CHECKING:
    from otel_bridge.receiver.budget import Budget


class Rate:
    """What a budget says of its rate, of who uses it, and of list requests that are no polls."""

    def __init__(self, rate: float | None, projects: int = 1, other_lists: float = 0.0) -> None:
        self.rate = rate
        self.projects = projects
        self.other_lists_a_second = other_lists


def auto(rate: float | None, projects: int = 1, other_lists: float = 0.0) -> AutoPollInterval:
    return AutoPollInterval(cast("Budget", Rate(rate, projects, other_lists)))


_RATES = st.floats(0.01, 10_000)


@given(
    rate=st.one_of(st.none(), _RATES),
    projects=st.integers(1, 1_000),
    other_lists=st.floats(0, 1_000),
    pages=st.lists(st.integers(0, 50), max_size=30),
)
def test_it_stays_within_its_bounds(
    rate: float | None, projects: int, other_lists: float, pages: list[int]
) -> None:
    interval = auto(rate, projects, other_lists)
    for each in pages:
        interval.polled(each)
        assert SHORTEST_S <= interval.seconds <= LONGEST_S
    assert interval.idle_s == LONGEST_S


@given(rate=_RATES, projects=st.integers(1, 50), pages=st.integers(1, 6))
def test_polls_of_all_projects_cost_no_more_than_their_share_unless_they_are_as_seldom_as_may_be(
    rate: float, projects: int, pages: int
) -> None:
    interval = auto(rate, projects)
    for _ in range(100):
        interval.polled(pages)
    assume(interval.seconds < LONGEST_S)
    assert projects * pages / interval.seconds <= SHARE_FOR_LISTS * rate * 1.01


@given(rate=_RATES, projects=st.integers(1, 50), part=st.floats(0, 0.5))
def test_with_re_checks_all_lists_together_cost_no_more(rate: float, projects: int, part: float) -> None:
    others = part * SHARE_FOR_LISTS * rate
    interval = auto(rate, projects, others)
    assume(interval.seconds < LONGEST_S)
    assert projects / interval.seconds + others <= SHARE_FOR_LISTS * rate * 1.01


def test_many_re_checks_leave_half_of_it_to_polls() -> None:
    assert auto(10, other_lists=100).seconds == pytest.approx(1 / (0.5 * SHARE_FOR_LISTS * 10))


def test_polls_come_every_second_while_they_are_cheap() -> None:
    # Half of a quota of 2,400 a minute: 20 a second, of which one may be a list request.
    assert auto(20).seconds == SHORTEST_S
    assert auto(None).seconds == SHORTEST_S
    assert auto(10).seconds == pytest.approx(2.0)
    assert auto(20, projects=3).seconds == pytest.approx(3.0)
    assert auto(1).seconds == LONGEST_S


def test_polls_that_take_more_pages_come_less_often_and_again_more_often() -> None:
    interval = auto(20)
    for _ in range(100):
        interval.polled(4)
    assert interval.seconds == pytest.approx(4.0, rel=0.01)
    for _ in range(100):
        interval.polled(1)
    assert interval.seconds == pytest.approx(1.0, rel=0.01)


def test_a_duration_fixes_it() -> None:
    interval = PollInterval(7.0)
    for _ in range(10):
        interval.polled(40)
    assert (interval.seconds, interval.idle_s) == (7.0, 7.0)
