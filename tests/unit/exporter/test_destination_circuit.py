"""All who deliver a signal share what is known of its destination."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from model_sender import ModelSender, somewhere
from signal_samples import a_delivery, some_deliveries
from simulated_clock import SimulatedClock, settle

from otel_bridge.circuit_state import Phase
from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import DESTINATION_OPENS_AFTER, OtlpExporter
from otel_bridge.exporter.sender import Answer, Failed, TooLarge
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.signals import Outcome

DOWN = DestinationUnavailable("POST there: 503")


class Watched(ModelSender):
    """Remembers when it was sent something, and answers as it is told while it is told so."""

    def __init__(self, clock: SimulatedClock, answer: Exception | Answer | None = None, **model: Any) -> None:
        super().__init__(**model)
        self.clock = clock
        self.answer = answer
        self.moments_s: list[float] = []

    async def send(self, body: bytes) -> Answer:
        self.moments_s.append(self.clock.monotonic_s())
        if self.answer is None:
            return await super().send(body)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Upper(random.Random):
    """Draws the longest wait always."""

    def random(self) -> float:
        return 1.0


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(auto=False)


def exporter_to(clock: SimulatedClock, attempts: int | None = None, **senders: ModelSender) -> OtlpExporter:
    by_signal = {Signal(name): sender for name, sender in senders.items()}
    for signal, sender in by_signal.items():
        sender.signal = signal
    return OtlpExporter(
        {signal: somewhere(signal) for signal in by_signal},
        clock=clock,
        backoff=Backoff(first_s=1.0, most_s=60.0, attempts=attempts, rng=Upper()),
        senders=lambda destination: by_signal[destination.signal],
    )


def exports(exporter: OtlpExporter, count: int) -> list[asyncio.Task[Outcome]]:
    return [asyncio.create_task(exporter.export([a_delivery(n, logs=False)])) for n in range(1, count + 1)]


def state_of(exporter: OtlpExporter) -> CircuitState:
    return exporter.circuits[0]


async def test_a_wait_that_is_asked_of_one_holds_for_all(clock: SimulatedClock) -> None:
    traces = Watched(clock, DestinationUnavailable("429", 50))
    exporter = exporter_to(clock, traces=traces)
    first = exports(exporter, 1)
    await settle()
    others = exports(exporter, 4)
    await clock.advance(49.9)
    assert traces.moments_s == [0]
    traces.answer = None
    await clock.advance(0.1)
    outcomes = await asyncio.gather(*first, *others)
    assert all(len(outcome.delivered) == 1 for outcome in outcomes)
    assert len(traces.moments_s) == 6


async def test_with_limited_attempts_the_tries_of_others_count(clock: SimulatedClock) -> None:
    traces = Watched(clock, DOWN)
    exporter = exporter_to(clock, attempts=4, traces=traces)
    tasks = exports(exporter, 6)
    await clock.advance(60)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, DestinationUnavailable) for end in ends)
    assert any("http://there/v1/traces (traces) is down since 10:00:00 UTC" in str(end) for end in ends)
    assert len(traces.moments_s) <= 6 + 3
    assert max(traces.moments_s) <= 1 + 2 + 4
    (late,) = exports(exporter, 1)
    await settle()
    assert len(traces.moments_s) <= 6 + 4
    await asyncio.gather(late, return_exceptions=True)


@pytest.mark.parametrize(
    "answer",
    [DOWN, Failed("500"), TooLarge("RESOURCE_EXHAUSTED", certain=False)],
    ids=["503", "500", "quota"],
)
@pytest.mark.parametrize("records", [1, 200])
async def test_whatever_says_that_it_is_down_it_is_asked_ever_more_rarely(
    clock: SimulatedClock, answer: Exception | Answer, records: int
) -> None:
    traces = Watched(clock, answer)
    exporter = exporter_to(clock, traces=traces)
    task = asyncio.create_task(exporter.export(some_deliveries(records, logs=False)))
    await clock.advance(3600)
    assert state_of(exporter).phase is Phase.OPEN
    assert len([moment_s for moment_s in traces.moments_s if moment_s > 600]) <= 51
    assert len(traces.moments_s) <= 120
    traces.answer = None
    await clock.advance(61)
    assert len((await task).delivered) == records


@pytest.mark.parametrize("crashes", [range(7, 8), range(7, 10), range(1, 3)])
async def test_records_that_make_it_fall_over_are_searched_without_stopping_anybody(crashes: range) -> None:
    clock = SimulatedClock()
    traces = Watched(clock, crashes=frozenset(crashes))
    exporter = exporter_to(clock, traces=traces)
    states: list[bool] = []
    traces.before = lambda: states.append(state_of(exporter).phase is Phase.CLOSED)
    outcome = await exporter.export(some_deliveries(512, logs=False))
    assert len(outcome.refused) == len(crashes)
    assert len(outcome.delivered) == 512 - len(crashes)
    assert all(states)


async def test_a_refusal_says_that_it_is_there(clock: SimulatedClock) -> None:
    traces = Watched(clock, DOWN)
    exporter = exporter_to(clock, traces=traces)
    tasks = exports(exporter, DESTINATION_OPENS_AFTER)
    await settle()
    assert state_of(exporter).phase is Phase.OPEN
    traces.answer = DestinationRefused("401")
    await clock.advance(1)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [DestinationRefused] * DESTINATION_OPENS_AFTER
    assert state_of(exporter).phase is Phase.CLOSED


@pytest.mark.parametrize("moment_s", [0.5, 1.0])
async def test_who_waits_goes_when_the_other_signal_fails_for_good_and_hands_on_its_turn(
    clock: SimulatedClock, moment_s: float
) -> None:
    """``moment_s``: long before its turn, and in the very moment of it."""
    traces, logs = Watched(clock, DOWN), Watched(clock)
    exporter = exporter_to(clock, traces=traces, logs=logs)
    opening = exports(exporter, DESTINATION_OPENS_AFTER)
    await settle()
    for task in opening:
        task.cancel()
    await settle()

    async def fail_later() -> None:
        await clock.sleep(moment_s)
        raise DestinationRefused("403")

    logs.before = lambda: None
    logs.send = lambda _: fail_later()  # type: ignore[method-assign,assignment,return-value]
    halted = asyncio.create_task(exporter.export(some_deliveries(1)))
    await settle()
    (other,) = exports(exporter, 1)
    await settle()
    traces.answer = None
    await clock.advance(moment_s)
    with pytest.raises(DestinationRefused):
        await halted
    await clock.advance(1)
    assert (await other).delivered == ["log_0001"]
    assert state_of(exporter).waiting == 0


@pytest.mark.parametrize("cancel", [lambda task: task.cancel(), lambda _: None], ids=["cancelled", "not"])
async def test_cancelled_in_any_step_of_being_let_through_the_turn_goes_on(
    clock: SimulatedClock, cancel: Callable[[asyncio.Task[Outcome]], object]
) -> None:
    for steps in range(40):
        traces = Watched(clock, DOWN)
        exporter = exporter_to(clock, traces=traces)
        opening = exports(exporter, DESTINATION_OPENS_AFTER)
        await settle()
        for task in opening:
            task.cancel()
        await settle()
        first, second = exports(exporter, 2)
        await settle()
        traces.answer = None
        clock._elapsed_s += 2
        advancing = asyncio.create_task(exporter._routes[Signal.TRACES].circuit._ring(0))
        for _ in range(steps):
            await asyncio.sleep(0)
        cancel(first)
        await advancing
        await clock.advance(0)
        async with asyncio.timeout(5):
            assert (await second).delivered == ["log_0002"]
        await asyncio.gather(first, return_exceptions=True)
