"""What is to blame for a request that is not taken: its size, one of its records, or the destination."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from model_sender import ModelSender, somewhere
from signal_samples import a_delivery, some_deliveries
from simulated_clock import SimulatedClock, settle

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.exporter.protocol import outcome_of
from otel_bridge.exporter.sender import Accepted, Answer, Failed, NoAnswer, Refused, TooLarge
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.signals import Outcome

REFUSALS = [Refused("400 Bad Request: no"), TooLarge("413"), Accepted(10**6, "not here")]
OPEN = [Failed("there: 500"), NoAnswer("there: no answer in 10 s"), TooLarge("there: 429", certain=False)]


def exporter_to(
    clock: SimulatedClock, traces: ModelSender, logs: ModelSender | None = None, **options: Any
) -> OtlpExporter:
    senders = {Signal.TRACES: traces}
    if logs is not None:
        logs.signal = Signal.LOGS
        senders[Signal.LOGS] = logs
    return OtlpExporter(
        {signal: somewhere(signal) for signal in senders},
        clock=clock,
        senders=lambda destination: senders[destination.signal],
        **({"backoff": Backoff(first_s=0.5, most_s=60.0, attempts=None)} | options),
    )


def _of(how: str, bad: frozenset[int]) -> ModelSender:
    sender = ModelSender()
    setattr(sender, how, bad)
    return sender


def keys(*numbers: int) -> list[str]:
    return [f"log_{number:04}" for number in numbers]


@asynccontextmanager
async def held(
    exporter: OtlpExporter, clock: SimulatedClock, *numbers: int, for_s: float = 30
) -> AsyncIterator[asyncio.Task[Outcome]]:
    """An export that the destination holds up for so long."""
    batch = [a_delivery(number, logs=Signal.LOGS in exporter._routes) for number in numbers]
    task = asyncio.create_task(exporter.export(batch))
    await clock.advance(for_s)
    assert not task.done()
    yield task
    await clock.advance(61)
    assert task.done()


# ── the laws ─────────────────────────────────────────────────────────────────────────────────────────
@given(
    count=st.integers(1, 120),
    bad=st.frozensets(st.integers(1, 120), max_size=10),
    most=st.none() | st.integers(1, 40),
    most_bytes=st.none() | st.integers(300, 20_000),
    over=st.sampled_from([TooLarge("413"), *OPEN[1:]]),
    how=st.sampled_from(["poison", "rejects", "crashes"]),
    max_records=st.integers(1, 200),
)
@settings(max_examples=150, deadline=None)
def test_exactly_the_records_that_are_refused_are_set_aside_in_few_requests(
    *,
    count: int,
    bad: frozenset[int],
    most: int | None,
    most_bytes: int | None,
    over: Answer,
    how: str,
    max_records: int,
) -> None:
    bad &= frozenset(range(1, count + 1))
    assume(len(bad) < count)
    sender = _of(how, bad)
    sender.most, sender.most_bytes, sender.over = most, most_bytes, over
    smallest = len(ModelSizes.of(a_delivery(1, logs=False)))
    assume(most_bytes is None or most_bytes > smallest)

    outcome = asyncio.run(
        exporter_to(SimulatedClock(), sender, max_records=max_records).export(
            some_deliveries(count, logs=False)
        )
    )

    good = [number for number in range(1, count + 1) if number not in bad]
    assert outcome.delivered == keys(*good)
    assert sorted(outcome.refused) == keys(*sorted(bad))
    assert not outcome.doubtful
    at_once = min(max_records, most or count, (most_bytes or 10**9) // (2 * smallest) or 1)
    parts = math.ceil(count / max(1, at_once))
    tries = 3 if how == "crashes" else 1
    assert len(sender.requests) <= 6 * parts + tries * len(bad) * (2 * math.log2(count + 1) + 4) + 20


class ModelSizes:
    """How large a request with one delivery is."""

    @staticmethod
    def of(delivery: Any) -> bytes:
        sender = ModelSender()
        asyncio.run(exporter_to(SimulatedClock(), sender).export([delivery]))
        return sender.bodies[0]


@given(
    count=st.integers(1, 80),
    answer=st.sampled_from([*REFUSALS, *OPEN]),
    took_before=st.booleans(),
    minutes=st.integers(0, 90),
    max_records=st.integers(1, 100),
)
@settings(max_examples=120, deadline=None)
def test_of_a_destination_that_takes_nothing_no_record_is_refused_and_all_arrive_when_it_does(
    *, count: int, answer: Answer, took_before: bool, minutes: int, max_records: int
) -> None:
    assume(count > 3 or minutes < 2)

    async def play() -> None:
        clock = SimulatedClock(auto=False)
        sender = ModelSender()
        exporter = exporter_to(clock, sender, max_records=max_records)
        if took_before:
            assert (await exporter.export([a_delivery(999, logs=False)])).delivered == keys(999)
        sender.everything = answer
        async with held(exporter, clock, *range(1, count + 1), for_s=61 * minutes + 30) as task:
            assert len(sender.requests) <= 45 + 2.5 * minutes, "asked ever more rarely"
            sender.everything = None
        outcome = task.result()
        assert outcome.delivered == keys(*range(1, count + 1))
        assert not outcome.refused

    asyncio.run(play())


# ── too large, too slow ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("over", [TooLarge("413"), *OPEN], ids=["413", "500", "no answer", "429"])
def test_the_batch_that_is_too_much_is_halved_and_arrives(over: Answer) -> None:
    sender = ModelSender(most=20, over=over)

    outcome = asyncio.run(exporter_to(SimulatedClock(), sender).export(some_deliveries(100, logs=False)))

    assert outcome.delivered == keys(*range(1, 101))
    assert [len(each) for each in sender.requests][:2] in ([100, 50], [100, 100])


async def test_what_was_too_large_is_not_tried_again_with_the_next_batch_and_later_with_care() -> None:
    sender = ModelSender(most=20)
    exporter = exporter_to(SimulatedClock(), sender, max_records=100)
    await exporter.export(some_deliveries(100, logs=False))
    sender.requests.clear()

    await exporter.export(some_deliveries(100, logs=False))

    assert len(sender.requests[0]) <= 25
    for _ in range(40):
        await exporter.export(some_deliveries(100, logs=False))
    too_large = [each for each in sender.requests if len(each) > 20]
    assert 1 <= len(too_large) <= 12, "now and then it is seen whether it takes more by now"
    sender.most = None
    for _ in range(100):
        await exporter.export(some_deliveries(100, logs=False))
    assert len(sender.requests[-1]) == 100


# ── a record, or the destination ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["poison", "rejects"])
async def test_a_bad_record_that_comes_alone_is_found_by_one_that_was_taken_before(how: str) -> None:
    sender = _of(how, frozenset({3}))
    clock = SimulatedClock()
    exporter = exporter_to(clock, sender)
    await exporter.export([a_delivery(1, logs=False)])
    await exporter.export([a_delivery(2, logs=False)])

    outcome = await exporter.export([a_delivery(3, logs=False)])

    assert list(outcome.refused) == keys(3)
    assert not outcome.doubtful
    assert sender.requests == [[1], [2], [3], [2], [3]]
    assert not clock.naps, "and what comes behind it waits for nothing"


@pytest.mark.parametrize("how", ["poison", "rejects"])
def test_bad_neighbours_are_told_from_a_broken_destination_without_a_wait(how: str) -> None:
    clock = SimulatedClock()
    sender = _of(how, frozenset(range(1, 41)))

    outcome = asyncio.run(exporter_to(clock, sender).export(some_deliveries(100, logs=False)))

    assert len(outcome.refused) == 40
    assert not clock.naps


async def test_a_batch_of_bad_records_alone_costs_few_requests_each() -> None:
    sender = ModelSender(poison=frozenset(range(1, 201)))
    clock = SimulatedClock()
    exporter = exporter_to(clock, sender)
    await exporter.export([a_delivery(999, logs=False)])

    outcome = await exporter.export(some_deliveries(200, logs=False))

    assert len(outcome.refused) == 200
    assert len(sender.requests) < 3 * 200
    assert sender.holds[999] < 10, "the one to compare with is sent seldom"
    assert not clock.naps


async def test_one_refused_alone_with_nothing_to_compare_waits_two_minutes_and_is_then_refused_for_now() -> (
    None
):
    sender = ModelSender(poison=frozenset({1}))
    clock = SimulatedClock(auto=False)
    exporter = exporter_to(clock, sender)
    async with held(exporter, clock, 1, for_s=110) as task:
        pass

    assert task.result().refused == {"log_0001": "traces: poison"}
    assert task.result().doubtful == {"log_0001"}
    behind = asyncio.create_task(exporter.export([a_delivery(2, logs=False)]))
    await clock.advance(61)
    assert (await behind).delivered == keys(2)


async def test_what_another_delivers_meanwhile_shows_that_the_record_is_to_blame() -> None:
    sender = ModelSender(poison=frozenset({1}))
    clock = SimulatedClock(auto=False)
    exporter = exporter_to(clock, sender)
    alone = asyncio.create_task(exporter.export([a_delivery(1, logs=False)]))
    await clock.advance(20)
    other = asyncio.create_task(exporter.export([a_delivery(2, logs=False)]))
    await clock.advance(61)

    assert (await other).delivered == keys(2)
    assert list((await alone).refused) == keys(1)
    assert not (await alone).doubtful


async def test_on_a_quiet_feed_a_few_in_a_row_are_refused_for_now_and_no_more_once_they_are_several() -> None:
    sender = ModelSender(everything=Refused("400"))
    clock = SimulatedClock(auto=False)
    exporter = exporter_to(clock, sender)
    for number in (1, 2, 3):
        async with held(exporter, clock, number, for_s=70) as task:
            await clock.advance(120)
        assert task.result().doubtful == set(keys(number))
    async with held(exporter, clock, 4, for_s=3600) as task:
        sender.everything = None
    assert task.result().delivered == keys(4)


async def test_a_destination_that_breaks_or_is_mended_in_the_middle_of_a_search_costs_no_record() -> None:
    for step in range(1, 60):
        sender = ModelSender(poison=frozenset({7}))
        clock = SimulatedClock(auto=False)
        exporter = exporter_to(clock, sender)
        breaks, mended = step, step + 17

        def turn(sender: ModelSender = sender, breaks: int = breaks, mended: int = mended) -> None:
            broken = breaks <= len(sender.requests) < mended
            sender.everything = Refused("400 broken") if broken else None

        sender.before = turn
        task = asyncio.create_task(exporter.export(some_deliveries(64, logs=False)))
        await clock.advance(3600)
        assert list((await task).refused) == keys(7), step


@pytest.mark.parametrize("refusal", REFUSALS, ids=["400", "413", "rejects all"])
def test_a_single_run_gives_up_and_refuses_nothing(refusal: Answer) -> None:
    sender = ModelSender(everything=refusal)
    exporter = exporter_to(SimulatedClock(), sender, backoff=Backoff(first_s=0.5, attempts=5))

    with pytest.raises(
        DestinationUnavailable, match=r"http://there/v1/traces.*it refuses every record: "
    ) as caught:
        asyncio.run(exporter.export(some_deliveries(100, logs=False)))

    assert outcome_of(caught.value).refused == {}
    assert len(sender.requests) <= 30


def test_two_signals_are_judged_apart() -> None:
    traces = ModelSender(poison=frozenset({5}))
    logs = ModelSender(everything=Refused("400 structured metadata is off"))
    clock = SimulatedClock(auto=False)
    exporter = exporter_to(clock, traces, logs)

    async def play() -> Outcome:
        async with held(exporter, clock, *range(1, 41)) as task:
            await settle()
            logs.everything = None
        return task.result()

    outcome = asyncio.run(play())
    assert list(outcome.refused) == keys(5)
    assert len(outcome.delivered) == 39
    assert max(traces.holds.values()) == 1


@pytest.mark.parametrize(
    "said",
    [
        "400 Bad Request: entry has timestamp too old: 2026-01-01T00:00:00Z",
        "400 Bad Request: entry too far behind, entry timestamp is …, oldest acceptable timestamp is …",
        "Too old data, only last 5 hours data can be ingested",
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_records_that_are_refused_for_their_age_hold_up_no_younger_ones(said: str, *, whole: bool) -> None:
    answer = Accepted(10**6, said) if whole else Refused(said)
    sender = ModelSender(everything=answer)

    outcome = asyncio.run(exporter_to(SimulatedClock(), sender).export(some_deliveries(10, logs=False)))

    assert len(outcome.refused) == 10
    assert not outcome.doubtful


@pytest.mark.parametrize("answer", OPEN, ids=["500", "no answer", "429"])
async def test_a_record_that_never_gets_an_answer_holds_up_the_others_for_a_bounded_time(
    answer: Answer,
) -> None:
    class Choking(ModelSender):
        async def send(self, body: bytes) -> Answer:
            if 9 in self._numbers(body):
                self.requests.append([9])
                return answer
            return await super().send(body)

    clock = SimulatedClock()
    outcome = await exporter_to(clock, Choking()).export(some_deliveries(100, logs=False))

    assert list(outcome.refused) == keys(9)
    assert len(outcome.delivered) == 99
    assert clock.monotonic_s() < 120
