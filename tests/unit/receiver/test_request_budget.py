"""The budget's rules, one by one, on a clock that a test moves."""

from __future__ import annotations

import asyncio

import pytest
from simulated_clock import START_MS, SimulatedClock, settle

from otel_bridge.receiver.budget import DEFAULT_PAUSE_S, Budget, Priority


def rate(limit: int, remaining: int, window: str = "60s") -> dict[str, str]:
    return {
        "X-RateLimit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Window-Size": window,
    }


class Sender:
    """Starts requests and notes in which order they were let go."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.sent: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def _send(self, name: str, priority: Priority) -> None:
        await self.budget.acquire(priority)
        self.sent.append(name)

    async def ask(self, *names: str, priority: Priority = Priority.HEAD) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._send(name, priority))
        await settle()

    async def ask_many(self, count: int, priority: Priority = Priority.HEAD) -> None:
        await self.ask(*(f"{priority.name}{n}" for n in range(count)), priority=priority)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def learnt(clock: SimulatedClock, limit: int, *, share: float = 0.5) -> Sender:
    """A sender whose budget knows the limit, with nothing used."""
    sender = Sender(Budget(share, clock, "acme"))
    await sender.budget.acquire(Priority.HEAD)
    sender.budget.observe(rate(limit, limit), 200)
    await clock.advance(61)
    return sender


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(auto=False)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_must_be_above_0_and_at_most_1(share: float, clock: SimulatedClock) -> None:
    with pytest.raises(ValueError, match="share"):
        Budget(share, clock)


async def test_nothing_is_held_back_while_no_limit_is_known(clock: SimulatedClock) -> None:
    sender = Sender(Budget(0.5, clock))
    await sender.ask_many(500)
    assert len(sender.sent) == 500
    assert sender.budget.state.allowed is None


async def test_the_share_is_all_that_is_sent_within_a_window(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask_many(70)
    assert len(sender.sent) == 50
    assert sender.budget.state.waiting == 20
    await clock.advance(59.9)
    assert len(sender.sent) == 50
    await clock.advance(0.2)
    assert len(sender.sent) == 70


async def test_what_was_sent_before_the_limit_was_known_counts(clock: SimulatedClock) -> None:
    sender = Sender(Budget(0.5, clock))
    await sender.ask_many(30)
    sender.budget.observe(rate(40, 10_000), 200)
    await sender.ask("late")
    assert "late" not in sender.sent
    await clock.advance(60)
    assert "late" in sender.sent


async def test_a_smaller_limit_takes_effect_at_once_and_a_larger_one_too(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask_many(20)
    sender.budget.observe(rate(40, 1000), 200)
    await sender.ask("one more")
    assert "one more" not in sender.sent
    sender.budget.observe(rate(42, 1000), 200)
    await settle()
    assert "one more" in sender.sent


async def test_a_share_of_less_than_one_request_still_lets_one_go(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 1)
    await sender.ask("first", "second", priority=Priority.BACKFILL)
    assert sender.sent == ["first"]
    await clock.advance(60)
    assert sender.sent == ["first", "second"]


@pytest.mark.parametrize(
    ("priority", "most"), [(Priority.HEAD, 100), (Priority.RECHECK, 90), (Priority.BACKFILL, 75)]
)
async def test_a_burst_of_low_priority_leaves_room_for_the_head(
    clock: SimulatedClock, priority: Priority, most: int
) -> None:
    sender = await learnt(clock, 200)
    await sender.ask_many(120, priority)
    assert len(sender.sent) == most
    await sender.ask("now")
    assert ("now" in sender.sent) == (most < 100)
    await sender.close()


async def test_those_that_wait_go_by_priority_then_by_age(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 20)
    await sender.ask_many(10)
    sender.sent.clear()
    await sender.ask("b1", "b2", priority=Priority.BACKFILL)
    await sender.ask("r1", priority=Priority.RECHECK)
    await sender.ask("h1", "h2")
    await clock.advance(60)
    assert sender.sent == ["h1", "h2", "r1", "b1", "b2"]


async def test_a_429_stops_everything_for_as_long_as_it_asks(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("refused")
    sender.budget.observe({**rate(100, 0), "Retry-After": "17"}, 429)
    await sender.ask("next")
    assert sender.budget.state.blocked_until_ms == START_MS + 61_000 + 17_000
    await clock.advance(16.9)
    assert "next" not in sender.sent
    await clock.advance(0.2)
    assert "next" in sender.sent
    assert sender.budget.state.blocked_until_ms is None


async def test_a_429_that_does_not_say_how_long_stops_for_a_short_time(clock: SimulatedClock) -> None:
    sender = Sender(Budget(0.5, clock))
    await sender.ask("refused")
    sender.budget.observe({}, 429)
    await sender.ask("next")
    await clock.advance(DEFAULT_PAUSE_S - 0.1)
    assert "next" not in sender.sent
    await clock.advance(0.2)
    assert "next" in sender.sent


async def test_a_shorter_wait_asked_for_later_does_not_end_a_longer_one(clock: SimulatedClock) -> None:
    sender = Sender(Budget(0.5, clock))
    await sender.ask("a", "b")
    sender.budget.observe({"Retry-After": "30"}, 429)
    sender.budget.observe({"Retry-After": "1"}, 429)
    await sender.ask("next")
    await clock.advance(29)
    assert "next" not in sender.sent
    await sender.close()


async def test_the_customers_own_calls_make_the_bridge_stop_at_the_reserve(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("a")
    sender.budget.observe(rate(100, 7), 200)  # the reserve of 100 is 5: two more may go
    await sender.ask("b", "c", "d")
    assert sender.sent == ["a", "b", "c"]
    await clock.advance(59)
    assert "d" not in sender.sent
    await clock.advance(1.1)
    assert "d" in sender.sent


async def test_a_higher_remaining_says_that_the_window_began_anew(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("a", "b")
    sender.budget.observe(rate(100, 5), 200)
    await sender.ask("waits")
    await clock.advance(3)
    sender.budget.observe(rate(100, 99), 200)
    await settle()
    assert "waits" in sender.sent


async def test_an_answer_overtaken_by_a_later_one_does_not_undo_what_that_said(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("old", "new")
    sent_s = clock.monotonic_s()
    await clock.advance(1)
    sender.budget.observe(rate(100, 5), 200, sent_s=sent_s)
    await clock.advance(1)
    sender.budget.observe(rate(100, 60), 200, sent_s=sent_s)
    assert sender.budget.state.remaining == 5


async def test_an_answer_of_the_window_before_does_not_stop_the_new_one(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("slow", "a")
    slow_s = clock.monotonic_s()
    sender.budget.observe(rate(100, 30), 200)
    await clock.advance(1)
    await sender.ask("b")
    await clock.advance(1)
    sender.budget.observe(rate(100, 99), 200, sent_s=clock.monotonic_s() - 1)
    sender.budget.observe(rate(100, 3), 200, sent_s=slow_s)
    assert sender.budget.state.remaining == 99


async def test_requests_under_way_count_against_what_is_left(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask_many(10)
    sender.budget.observe(rate(100, 16), 200)  # nine are still under way; 16 - 9 - 5 = 2
    await sender.ask("x", "y", "z")
    assert sender.sent[10:] == ["x", "y"]
    sender.budget.no_answer()  # one of them will not be counted by the source any more
    await settle()
    assert sender.sent[10:] == ["x", "y", "z"]


async def test_a_cancelled_wait_takes_nothing_and_holds_up_nobody(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a")
    await sender.ask("b", "c", "d")
    sender.tasks["b"].cancel()
    await settle()
    assert sender.budget.state.waiting == 2
    await clock.advance(60)
    assert sender.sent == ["a", "c"]
    await clock.advance(60)
    assert sender.sent == ["a", "c", "d"]


async def test_a_turn_that_comes_as_its_request_is_cancelled_goes_to_the_next(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a")
    await sender.ask("b", "c")
    await clock.advance(59)
    sender.budget.observe(rate(4, 1000), 200)  # lets b go, but b's task has not run yet
    sender.tasks["b"].cancel()
    await settle()
    assert sender.sent == ["a", "c"]
    assert sender.budget.state.used == 2


async def test_cancelled_before_its_task_ran_it_is_passed_over(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a")
    await sender.ask("b", "c")
    sender.tasks["b"].cancel()
    sender.budget.observe(rate(4, 1000), 200)
    await settle()
    assert sender.sent == ["a", "c"]


async def test_a_turn_given_back_after_its_window_is_not_counted_twice(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a")
    await sender.ask("b")
    sender.budget.observe(rate(4, 1000), 200)
    sender.tasks["b"].cancel()
    clock._elapsed_s += 100  # the loop stood still meanwhile
    assert sender.budget.state.used == 0
    await settle()
    assert sender.budget.state.used == 0


async def test_nothing_is_left_running_when_nobody_waits(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a", "b", "c")
    await sender.close()
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_the_window_is_as_long_as_the_source_says(clock: SimulatedClock) -> None:
    sender = Sender(Budget(0.5, clock))
    await sender.ask("a")
    sender.budget.observe(rate(2, 1000, "10s"), 200)
    await sender.ask("b")
    await clock.advance(9.9)
    assert sender.sent == ["a"]
    await clock.advance(0.2)
    assert sender.sent == ["a", "b"]


async def test_a_window_that_gets_shorter_wakes_those_that_wait_sooner(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 4)
    await sender.ask("a", "b", "c")
    await clock.advance(3)
    sender.budget.observe(rate(4, 1000, "10s"), 200)
    await clock.advance(7.1)
    assert sender.sent == ["a", "b", "c"]


async def test_nobody_overtakes_those_whose_turn_has_come_but_who_still_sleep(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 2)
    await sender.ask("a", "b", "c")
    clock._elapsed_s += 60  # the moment is there, the alarm has not rung yet
    await sender.ask("newcomer")
    assert sender.sent == ["a", "b"]
    await sender.close()


async def test_memory_stays_bounded_under_endless_use(clock: SimulatedClock) -> None:
    budget = Budget(1.0, clock)
    for _ in range(5_000):
        await budget.acquire(Priority.HEAD)
        budget.observe(rate(1_000_000, 999_999), 200)
        clock._elapsed_s += 0.05
    assert len(budget._buckets) <= 250
    assert budget.state.used == pytest.approx(60 / 0.05, abs=5)


async def test_the_state_is_for_people(clock: SimulatedClock) -> None:
    sender = await learnt(clock, 100)
    await sender.ask("a")
    sender.budget.observe(rate(100, 3), 200)
    await sender.ask("b")
    state = sender.budget.state
    assert (state.name, state.limit, state.remaining, state.window_s) == ("acme", 100, 3, 60.0)
    assert (state.used, state.allowed, state.waiting) == (1, 50, 1)
    assert state.blocked_until_ms == clock.now_ms() + 60_000
    assert repr(sender.budget) == "Budget('acme', share=0.5, limit=100, used=1)"
    await clock.advance(60)
    assert sender.budget.state.remaining is None
    assert sender.sent == ["a", "b"]


async def test_lists_are_forgotten_with_their_window_although_their_rate_is_never_asked_for(
    clock: SimulatedClock,
) -> None:
    budget = Budget(0.5, clock, "acme")
    for _ in range(1_000):
        budget.note_list()
        await clock.advance(1)
    assert len(budget._lists) <= 61
