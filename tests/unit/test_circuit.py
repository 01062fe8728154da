"""Whether a far side is worth asking: when a circuit opens, who finds out, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from simulated_clock import SimulatedClock, settle

from otel_bridge.circuit import Circuit, Passage
from otel_bridge.circuit_state import CircuitOpenError, CircuitState, Patience, Phase
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Hashable


class Upper(random.Random):
    """Draws the longest wait always."""

    def random(self) -> float:
        return 1.0


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(auto=False)


def a_circuit(clock: SimulatedClock, opens_after: int = 3, **options: Any) -> Circuit:
    backoff = Backoff(first_s=1.0, most_s=60.0, rng=Upper())
    return Circuit("https://there", clock, opens_after=opens_after, backoff=backoff, **options)


async def fail(
    circuit: Circuit, why: str = "no connection", asked_s: float | None = None, about: Hashable = None
) -> None:
    with await circuit.enter() as passage:
        passage.failed(why, asked_s=asked_s, about=about)


async def succeed(circuit: Circuit) -> None:
    with await circuit.enter() as passage:
        passage.succeeded()


async def opened(clock: SimulatedClock, **options: Any) -> Circuit:
    circuit = a_circuit(clock, **options)
    for _ in range(3):
        await fail(circuit)
    assert circuit.state.phase is Phase.OPEN
    return circuit


class Caller:
    """Enters, and holds its passage until it is told how that went."""

    def __init__(self, circuit: Circuit, patience: Patience | None = None) -> None:
        self.passage: Passage | None = None
        self._word: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._call(circuit, patience or Patience()))

    async def _call(self, circuit: Circuit, patience: Patience) -> None:
        with await circuit.enter(patience) as self.passage:
            word = await self._word
            if word == "ok":
                self.passage.succeeded()
            elif word:
                self.passage.failed(word)

    async def ends(self, word: str | None) -> None:
        self._word.set_result(word)
        await self.task
        await settle()

    @property
    def through(self) -> bool:
        return self.passage is not None


async def callers(circuit: Circuit, count: int) -> list[Caller]:
    made = [Caller(circuit) for _ in range(count)]
    await settle()
    return made


# ── when it opens ────────────────────────────────────────────────────────────────────────────────────
async def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not_let_them(
    clock: SimulatedClock,
) -> None:
    circuit = a_circuit(clock)
    for _ in range(10):
        await fail(circuit)
        await fail(circuit)
        await succeed(circuit)
    assert circuit.state.phase is Phase.CLOSED
    assert circuit.state.failures == 0
    for _ in range(3):
        assert circuit.closed
        await fail(circuit)
    assert not circuit.closed


async def test_what_may_be_one_records_fault_counts_once_however_often_it_is_tried(
    clock: SimulatedClock,
) -> None:
    circuit = a_circuit(clock)
    for _ in range(50):
        await fail(circuit, about="log_1")
        await fail(circuit, about="log_2", asked_s=30)
    assert circuit.closed, "two bad records are not a source that is down"
    await fail(circuit, about="log_3")
    assert not circuit.closed


async def test_a_time_that_is_asked_for_holds_for_all_from_the_first_failure_on(
    clock: SimulatedClock,
) -> None:
    circuit = a_circuit(clock)
    late = await circuit.enter()
    await fail(circuit, "503", asked_s=20)
    (waiting,) = await callers(circuit, 1)
    with late:
        late.failed("503", asked_s=40)
    await clock.advance(39)
    assert not waiting.through
    await clock.advance(1)
    assert waiting.through
    await waiting.ends("ok")
    assert circuit.closed


async def test_while_it_is_open_answers_to_earlier_requests_change_nothing(clock: SimulatedClock) -> None:
    circuit = a_circuit(clock)
    good, bad = await circuit.enter(), await circuit.enter()
    for _ in range(3):
        await fail(circuit)
    before = circuit.state
    with good:
        good.succeeded()
    with bad:
        bad.failed("late")
    assert circuit.state == before


# ── who finds out ────────────────────────────────────────────────────────────────────────────────────
async def test_one_at_a_time_finds_out_each_in_turn_after_longer_waits(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    waiting = await callers(circuit, 5)
    for wait_s, caller in zip((1, 2, 4, 8), list(waiting), strict=False):
        assert not any(each.through for each in waiting)
        await clock.advance(wait_s - 0.01)
        assert not caller.through
        await clock.advance(0.02)
        assert [each for each in waiting if each.through] == [caller]
        assert circuit.state.phase is Phase.PROBING
        await clock.advance(100)
        assert not waiting[-1].through, "nobody else while one is under way"
        waiting.remove(caller)
        await caller.ends("still down")
    await clock.advance(16)
    await waiting[0].ends("ok")


async def test_success_wakes_all_that_wait_and_failures_are_counted_anew(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    first, *others = await callers(circuit, 6)
    await clock.advance(1)
    await first.ends("ok")
    assert all(each.through for each in others)
    assert not any(each.passage.probe for each in others if each.passage)
    for each in others:
        await each.ends("down")
    assert circuit.state.retry_in_s == 1, "a new outage begins with a short wait"


async def test_the_longest_wait_is_the_backoffs(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    for _ in range(12):
        await clock.advance(60)
        await fail(circuit)
    assert circuit.state.retry_in_s == pytest.approx(60)


async def test_who_wakes_to_a_circuit_that_has_opened_again_does_not_send(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    probe, other = await callers(circuit, 2)
    await clock.advance(1)
    assert probe.passage is not None
    with probe.passage as passage:
        passage.succeeded()
    await fail(circuit, asked_s=50)  # before the other has had its turn
    await settle()
    assert not other.through
    await clock.advance(50)
    assert other.through
    for each in (probe, other):
        await each.ends("ok")


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_probe_that_ends_without_a_word_hands_its_right_on(
    clock: SimulatedClock, cancelled: bool
) -> None:
    circuit = await opened(clock)
    first, second = await callers(circuit, 2)
    await clock.advance(1)
    if cancelled:
        first.task.cancel()
        await settle()
    else:
        await first.ends(None)
    assert second.through
    assert second.passage is not None
    assert second.passage.probe
    await second.ends("ok")


async def test_cancelled_in_the_moment_of_being_let_through(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    first, second = await callers(circuit, 2)
    clock._elapsed_s += 1
    circuit._dispatch()
    first.task.cancel()
    await settle()
    assert first.task.cancelled()
    assert not first.through
    assert second.through
    await second.ends("ok")


async def test_those_who_stop_waiting_leave_no_timer_behind(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    waiting = await callers(circuit, 3)
    assert circuit.state.waiting == 3
    for each in waiting:
        each.task.cancel()
    await settle()
    assert circuit.state.waiting == 0
    assert clock.sleeping == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_waiter_cancelled_when_its_turn_comes_is_passed_over(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    first, second = await callers(circuit, 2)
    first.task.cancel()
    clock._elapsed_s += 1
    circuit._dispatch()  # before its task has run
    await settle()
    assert first.task.cancelled()
    assert second.through
    await second.ends("ok")


# ── patience ─────────────────────────────────────────────────────────────────────────────────────────
async def test_who_has_limited_attempts_gives_up_after_as_many_tries_of_others(
    clock: SimulatedClock,
) -> None:
    circuit = await opened(clock)
    endless = await callers(circuit, 4)
    limited = Caller(circuit, Patience(attempts=3))
    await settle()
    for wait_s, probe in zip((1, 2), endless, strict=False):
        assert not limited.task.done()
        await clock.advance(wait_s)
        await probe.ends("down")
    with pytest.raises(CircuitOpenError):
        await limited.task
    with pytest.raises(CircuitOpenError, match=r"//there is down since 10:00:00 UTC, 5 failures in 3 s;"):
        await circuit.enter(Patience(attempts=3))
    assert [each.task.done() for each in endless] == [True, True, False, False]
    for each in endless[2:]:
        each.task.cancel()


async def test_who_has_no_patience_left_tries_when_it_is_time_and_waits_for_a_try_under_way(
    clock: SimulatedClock,
) -> None:
    circuit = await opened(clock)
    hurried = Patience(attempts=1, wait_s=0.1)
    with pytest.raises(CircuitOpenError):
        await circuit.enter(hurried)
    await clock.advance(1)
    probe, other = Caller(circuit, hurried), Caller(circuit, hurried)
    await settle()
    assert (probe.through, other.through) == (True, False)
    await probe.ends("ok")
    assert other.through
    await other.ends("ok")


async def test_a_try_too_far_away_is_not_waited_for(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    for wait_s in (1, 2):
        caller = Caller(circuit, Patience(wait_s=2))
        await clock.advance(wait_s)
        assert caller.through
        await caller.ends("down")
    assert circuit.state.retry_in_s == 4
    with pytest.raises(CircuitOpenError):
        await circuit.enter(Patience(wait_s=2))


# ── what people see ──────────────────────────────────────────────────────────────────────────────────
async def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(clock: SimulatedClock) -> None:
    told: list[tuple[CircuitState, CircuitState]] = []
    circuit = a_circuit(clock, on_change=lambda *states: told.append(states))
    await succeed(circuit)
    for _ in range(3):
        await fail(circuit)
    for _ in range(5):
        await clock.advance(60)
        await fail(circuit, "503")
    clock.step_wall_clock(-3_600_000)
    await clock.advance(60)
    await succeed(circuit)

    (before, now), (last, end) = told
    assert (before.phase, now.phase) == (Phase.CLOSED, Phase.OPEN)
    assert (now.failures, now.reason, now.retry_in_s, now.lasted_s) == (3, "no connection", 1, 0)
    assert now.next_try_ms == now.since_ms + 1000 if now.since_ms else False
    assert (last.failures, last.reason, last.lasted_s) == (8, "503", 360)
    assert end.phase is Phase.CLOSED
    assert (end.failures, end.reason, end.retry_in_s, end.next_try_ms) == (0, "", None, None)


async def test_the_state_in_words(clock: SimulatedClock) -> None:
    circuit = a_circuit(clock)
    assert str(circuit.state) == "https://there is up"
    for _ in range(3):
        await fail(circuit)
    await clock.advance(60)
    await fail(circuit)
    await clock.advance(0.5)
    assert str(circuit.state) == (
        "https://there is down since 10:00:00 UTC, 4 failures in 1 min; next try in 2 s: no connection"
    )
    await clock.advance(5)
    with await circuit.enter() as probe:
        assert "; next try now: " in str(circuit.state)
        probe.succeeded()
    assert str(circuit.state) == "https://there is up"


async def test_what_may_just_have_been_mended_is_probed_at_once(clock: SimulatedClock) -> None:
    circuit = await opened(clock)
    waiting = Caller(circuit)
    await settle()
    assert not waiting.through
    circuit.try_now()
    await settle()
    assert waiting.through
    circuit.try_now()
    other = Caller(circuit)
    await settle()
    assert not other.through, "there is one probe at a time"
    await waiting.ends("ok")
    await other.ends("ok")
    circuit.try_now()
    assert circuit.closed
