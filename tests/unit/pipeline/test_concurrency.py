"""As many requests are in flight as the allowed rate needs at the latency that is seen, within bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_clock import SimulatedClock

from otel_bridge.pipeline.concurrency import LEAST, MOST, USUAL, AutoConcurrency, Concurrency

if TYPE_CHECKING:
    from otel_bridge.receiver.budget import Budget

TROUBLES = [0, 429, 500, 502, 503, 599]


class Rate:
    """What a budget says of the rate."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate


def auto(rate: float | None) -> tuple[AutoConcurrency, Rate, SimulatedClock]:
    clock, budget = SimulatedClock(auto=False), Rate(rate)
    return AutoConcurrency(cast("Budget", budget), clock), budget, clock


def hears(concurrency: Concurrency, status: int, seconds: float, times: int = 1) -> None:
    for _ in range(times):
        concurrency.heard(status, seconds)


_ANSWERS = st.tuples(
    st.sampled_from([200, 200, 404, *TROUBLES]), st.floats(0, 600, allow_nan=False), st.floats(0, 5)
)


@given(
    rates=st.lists(st.one_of(st.none(), st.floats(0.01, 1e6)), min_size=1, max_size=4),
    answers=st.lists(_ANSWERS, max_size=60),
)
async def test_it_stays_within_its_bounds_whatever_is_heard(
    rates: list[float | None], answers: list[tuple[int, float, float]]
) -> None:
    concurrency, budget, clock = auto(rates[0])
    assert concurrency.limit == USUAL
    for number, (status, seconds, passes_s) in enumerate(answers):
        budget.rate = rates[number % len(rates)]
        await clock.advance(passes_s)
        concurrency.heard(status, seconds)
        assert LEAST <= concurrency.limit <= MOST == concurrency.most


@given(rate=st.floats(0.5, 500), latency_s=st.floats(0.001, 5))
def test_it_reaches_rate_times_latency_and_a_quarter(rate: float, latency_s: float) -> None:
    concurrency, _, _ = auto(rate)
    hears(concurrency, 200, latency_s, MOST)
    wanted = math.ceil(rate * latency_s * 1.25)
    assert concurrency.limit == pytest.approx(max(USUAL, min(MOST, wanted)), abs=1)


@given(
    rate=st.floats(0.5, 500),
    before_s=st.floats(0.001, 5),
    after_s=st.floats(0.001, 5),
    limits=st.floats(0.5, 2),
)
def test_it_follows_a_source_that_becomes_slower_or_faster_and_a_limit_that_changes(
    rate: float, before_s: float, after_s: float, limits: float
) -> None:
    concurrency, budget, _ = auto(rate)
    hears(concurrency, 200, before_s, 50)
    budget.rate = rate * limits
    hears(concurrency, 200, after_s, 300)
    wanted = math.ceil(rate * limits * after_s * 1.25)
    assert concurrency.limit == pytest.approx(max(USUAL, min(MOST, wanted)), abs=1)


def test_it_rises_by_one_with_each_answer() -> None:
    concurrency, _, _ = auto(1_000)
    for number in range(1, 20):
        hears(concurrency, 200, 1.0)
        assert concurrency.limit == USUAL + number


def test_without_a_known_limit_it_is_the_usual_number() -> None:
    concurrency, _, _ = auto(None)
    hears(concurrency, 200, 3.0, 100)
    assert concurrency.limit == USUAL


@pytest.mark.parametrize("status", TROUBLES)
async def test_trouble_halves_it_once_in_the_time_of_an_answer(status: int) -> None:
    concurrency, _, clock = auto(51.2)
    hears(concurrency, 200, 1.0, 60)
    assert concurrency.limit == 64
    # All that is in flight meets the same trouble.
    hears(concurrency, status, 0.01, 64)
    assert concurrency.limit == 32
    await clock.advance(0.9)
    hears(concurrency, status, 0.01)
    assert concurrency.limit == 32
    await clock.advance(0.2)
    hears(concurrency, status, 0.01)
    assert concurrency.limit == 16
    for _ in range(20):
        await clock.advance(1.1)
        hears(concurrency, status, 0.01)
    assert concurrency.limit == LEAST


async def test_it_recovers_slowly_and_wholly() -> None:
    concurrency, _, clock = auto(51.2)
    hears(concurrency, 200, 1.0, 60)
    for _ in range(20):
        await clock.advance(1.1)
        hears(concurrency, 503, 0.01)
    assert concurrency.limit == LEAST
    numbers = []
    for _ in range(80):
        hears(concurrency, 200, 1.0)
        numbers.append(concurrency.limit)
    assert numbers == sorted(numbers)
    assert numbers[9] < 32
    assert numbers[-1] == 64


def test_how_long_trouble_takes_says_nothing_of_how_long_an_answer_takes() -> None:
    concurrency, _, _ = auto(51.2)
    hears(concurrency, 200, 1.0, 60)
    hears(concurrency, 0, 30.0, 50)  # time-outs
    hears(concurrency, 200, 1.0, 60)
    assert concurrency.limit == 64


def test_a_number_fixes_it() -> None:
    concurrency = Concurrency(7)
    for status in (200, *TROUBLES):
        hears(concurrency, status, 9.0, 5)
    assert (concurrency.limit, concurrency.most) == (7, 7)
