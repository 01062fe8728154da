"""What becomes of deliveries, against a model of a destination."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from model_sender import ModelSender, somewhere
from signal_samples import a_delivery, a_log, some_deliveries
from simulated_clock import SimulatedClock

from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.advice import AdvisedSender
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.grpc_sender import GrpcSender
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.exporter.otlp import OtlpExporter, sender_for
from otel_bridge.exporter.protocol import outcome_of
from otel_bridge.exporter.sender import Accepted, Answer, Failed, Refused, TooLarge
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.signals import Outcome

FOR_EVER = Backoff(attempts=None)


def _exporter(
    traces: ModelSender | None = None, logs: ModelSender | None = None, **options: Any
) -> OtlpExporter:
    senders = {Signal.TRACES: traces, Signal.LOGS: logs}
    if logs is not None:
        logs.signal = Signal.LOGS
    present = {signal: sender for signal, sender in senders.items() if sender is not None}
    return OtlpExporter(
        {signal: somewhere(signal) for signal in present},
        senders=lambda destination: present[destination.signal],
        **({"clock": SimulatedClock()} | options),
    )


def _export(sender: ModelSender, count: int, **options: Any) -> Outcome:
    return asyncio.run(_exporter(sender, **options).export(some_deliveries(count, logs=False)))


def _keys(*numbers: int) -> list[str]:
    return [f"log_{number:04}" for number in numbers]


def _numbers(most: int) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(1, most), max_size=most)


troubles = st.lists(
    st.sampled_from(
        [
            DestinationUnavailable("later"),
            DestinationUnavailable("later", 5),
            None,
            Failed("500"),
            TooLarge("x", certain=False),
        ]
    ),
    max_size=4,
)


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────
@given(
    count=st.integers(0, 24),
    poison=_numbers(24),
    rejects=_numbers(24),
    most=st.none() | st.integers(1, 12),
    script=troubles,
    max_records=st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_every_record_is_delivered_or_named_whatever_the_destination_answers(
    *,
    count: int,
    poison: frozenset[int],
    rejects: frozenset[int],
    most: int | None,
    script: list[Exception | Answer | None],
    max_records: int,
) -> None:
    good = [number for number in range(1, count + 1) if number not in poison | rejects]
    assume(good or not count)  # of a destination that takes none no record is refused: see test_blame
    sender = ModelSender(poison=poison, rejects=rejects, most=most, script=script)

    outcome = _export(sender, count, max_records=max_records)

    assert outcome.delivered == _keys(*good)
    assert sorted(outcome.refused) == _keys(*sorted((poison | rejects) & set(range(1, count + 1))))
    assert set(sender.holds) == set(good), "delivered is what the destination holds, no more, no less"
    assert not outcome.warnings
    assert len(sender.requests) <= 4 * count + 2 * len(script) + 1


@given(count=st.integers(2, 24), crashes=_numbers(24), max_records=st.integers(2, 30))
@settings(max_examples=80, deadline=None)
def test_a_record_that_makes_a_server_fall_over_is_found_where_others_are_taken(
    count: int, crashes: frozenset[int], max_records: int
) -> None:
    sender = ModelSender(crashes=crashes)
    exporter = _exporter(sender, max_records=max_records, backoff=Backoff(attempts=6))
    try:
        outcome = asyncio.run(exporter.export(some_deliveries(count, logs=False)))
    except DestinationUnavailable as error:
        outcome = outcome_of(error)  # a whole batch of them: held to be the destination's fault

    assert not set(outcome.delivered) & set(_keys(*crashes))
    assert set(outcome.refused) <= set(_keys(*crashes)), "a healthy record is never blamed"
    assert set(_keys(*sender.holds)) == set(outcome.delivered)


@given(answers=st.lists(st.integers(0, 9).map(lambda n: Accepted(n, "some")), max_size=20))
@settings(max_examples=80, deadline=None)
def test_counts_that_make_no_sense_end_in_an_answer_for_every_record(answers: list[Answer]) -> None:
    sender = ModelSender(script=[*answers])

    outcome = _export(sender, 8)

    assert sorted([*outcome.delivered, *outcome.refused]) == _keys(*range(1, 9))
    assert len(sender.requests) <= 5 + len(answers)


# ── partial success ──────────────────────────────────────────────────────────────────────────────────
def test_rejected_records_are_named_with_what_the_destination_said() -> None:
    outcome = _export(ModelSender(rejects=frozenset({3})), 8)

    assert outcome.refused == {"log_0003": "traces: left out"}
    assert outcome.delivered == _keys(1, 2, 4, 5, 6, 7, 8)
    assert outcome.resent == 8


def test_of_a_batch_that_is_rejected_whole_no_part_is_asked_about() -> None:
    sender = ModelSender(rejects=frozenset({5, 6, 7}))

    outcome = _export(sender, 8)

    assert [5] not in sender.requests
    assert set(outcome.refused) == set(_keys(5, 6, 7))


def test_a_count_that_is_another_when_asked_again_is_told() -> None:
    outcome = _export(ModelSender(script=[Accepted(2, "too old")]), 4)

    assert outcome.delivered == _keys(1, 2, 3, 4), "all were taken the second time"
    assert outcome.warnings == [
        "traces: http://there/v1/traces rejected 2 of 4 records, and 0 when asked again: too old"
    ]


def test_words_beside_a_full_success_are_a_warning_told_once() -> None:
    told: list[str] = []
    words = Accepted(0, "use the new endpoint")

    outcome = _export(ModelSender(script=[words, words]), 2, max_records=1, on_warning=told.append)

    assert outcome.delivered == _keys(1, 2)
    assert outcome.warnings == told == ["traces: use the new endpoint"]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────
def test_one_poisonous_record_costs_few_requests_and_nobody_else() -> None:
    sender = ModelSender(poison=frozenset({200}))

    outcome = _export(sender, 512)

    assert outcome.refused == {"log_0200": "traces: poison"}
    assert len(outcome.delivered) == 511
    assert len(sender.requests) == 19
    assert max(sender.holds.values()) == 1, "what was refused with it had not been taken"


def test_a_record_that_is_too_large_alone_is_refused_and_a_split_is_no_second_sending() -> None:
    batch = [*some_deliveries(2, logs=False), a_delivery(3, logs=False, name="x" * 5000)]

    outcome = asyncio.run(_exporter(ModelSender(most_bytes=4000)).export(batch))

    assert outcome.refused == {"log_0003": "traces: too large"}
    assert outcome.delivered == _keys(1, 2)
    assert outcome.resent == 0


def test_a_record_that_can_not_be_encoded_is_refused_and_the_others_go() -> None:
    batch = some_deliveries(3, logs=False)
    batch[1] = a_delivery(2, logs=False, start_ns=-1)

    outcome = asyncio.run(_exporter(ModelSender()).export(batch))

    assert outcome.refused == {
        "log_0002": "traces: can't be encoded: a number or a time is outside its 64 bits"
    }
    assert outcome.delivered == _keys(1, 3)


def test_a_destination_that_falls_over_whatever_it_is_sent_blames_no_record() -> None:
    sender = ModelSender(crashes=frozenset(range(1, 513)))

    with pytest.raises(DestinationUnavailable, match="fell over") as caught:
        _export(sender, 512, backoff=Backoff(attempts=2))

    assert outcome_of(caught.value).refused == {}
    assert len(sender.requests) < 40, "no storm of requests at a server that is down"


def test_a_server_that_comes_back_is_given_everything() -> None:
    sender = ModelSender(script=[Failed("500")] * 25)

    assert _export(sender, 20).delivered == _keys(*range(1, 21))


def test_a_rate_limit_never_refuses_a_record() -> None:
    limited: list[Exception | Answer | None] = [TooLarge("RESOURCE_EXHAUSTED", certain=False)] * 30

    outcome = _export(ModelSender(script=limited), 4)

    assert outcome.delivered == _keys(1, 2, 3, 4)


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────
def test_an_outage_is_waited_out_and_the_same_bytes_are_sent() -> None:
    sender = ModelSender(script=[DestinationUnavailable("down")] * 50)
    clock = SimulatedClock()
    retries: list[tuple[Signal, str, int, float]] = []

    outcome = _export(
        sender,
        3,
        clock=clock,
        on_retry=lambda signal, error, *rest: retries.append((signal, str(error), *rest)),
    )

    assert outcome.delivered == _keys(1, 2, 3)
    assert len(set(sender.bodies)) == 1
    assert outcome.resent == 0
    assert max(clock.naps) <= 30
    assert [retry[:3] for retry in retries[:2]] == [(Signal.TRACES, "down", 1), (Signal.TRACES, "down", 2)]
    assert [retry[3] for retry in retries] == clock.naps


def test_the_wait_that_the_destination_asks_for_is_obeyed() -> None:
    clock = SimulatedClock()

    _export(ModelSender(script=[DestinationUnavailable("busy", 120)]), 1, clock=clock)

    assert clock.naps == [120]


def test_giving_up_tells_what_was_settled_before() -> None:
    sender = ModelSender(script=[None, None, *[DestinationUnavailable("down")] * 3])

    with pytest.raises(DestinationUnavailable, match="down") as caught:
        _export(sender, 6, max_records=2, backoff=Backoff(attempts=3))

    assert outcome_of(caught.value).delivered == _keys(1, 2, 3, 4)


@pytest.mark.parametrize("answer", [TooLarge("quota", certain=False), Failed("500")])
def test_with_one_attempt_there_is_no_wait(answer: Answer) -> None:
    clock = SimulatedClock()

    with pytest.raises(DestinationUnavailable):
        _export(ModelSender(script=[answer] * 9), 2, clock=clock, backoff=Backoff(attempts=1))

    assert clock.naps == []


# ── two signals ──────────────────────────────────────────────────────────────────────────────────────
def test_what_one_signal_refuses_is_refused() -> None:
    traces, logs = ModelSender(poison=frozenset({2, 3})), ModelSender(poison=frozenset({3, 4}))

    outcome = asyncio.run(_exporter(traces, logs).export(some_deliveries(5)))

    assert outcome.delivered == _keys(1, 5)
    assert outcome.refused == {
        "log_0002": "traces: poison",
        "log_0003": "traces: poison; logs: poison",
        "log_0004": "logs: poison",
    }


def test_a_signal_that_waits_does_not_hold_up_or_repeat_the_other() -> None:
    traces, logs = ModelSender(), ModelSender(script=[DestinationUnavailable("down")] * 10)

    outcome = asyncio.run(_exporter(traces, logs, max_records=2).export(some_deliveries(4)))

    assert outcome.delivered == _keys(1, 2, 3, 4)
    assert traces.requests == [[1, 2], [3, 4]]


async def test_when_one_signal_fails_for_good_only_it_is_sent_the_next_time() -> None:
    traces = ModelSender()
    logs = ModelSender(script=[None, DestinationRefused("401")])
    exporter = _exporter(traces, logs, max_records=2)
    batch = some_deliveries(6)

    with pytest.raises(DestinationRefused, match="401") as caught:
        await exporter.export(batch)
    outcome = outcome_of(caught.value)
    assert outcome.delivered == _keys(1, 2)
    remaining = [delivery for delivery in batch if delivery.key not in outcome.delivered]
    again = await exporter.export(remaining)

    assert again.delivered == _keys(3, 4, 5, 6)
    assert max(traces.holds.values()) == 1, "no span was sent twice"
    assert set(traces.holds) == set(logs.holds) == {1, 2, 3, 4, 5, 6}


async def test_a_delivery_that_has_changed_meanwhile_is_sent_whole() -> None:
    traces, logs = ModelSender(), ModelSender(script=[DestinationRefused("401")])
    exporter = _exporter(traces, logs)

    with pytest.raises(DestinationRefused):
        await exporter.export([a_delivery(1)])
    await exporter.export([a_delivery(1, name="execute_tool OTHER")])

    assert traces.holds[1] == 2


async def test_one_signal_waiting_ends_when_the_other_fails_for_good() -> None:
    clock = SimulatedClock(auto=False)
    traces = ModelSender(script=[DestinationUnavailable("down", 3000)])
    logs = ModelSender(script=[DestinationUnavailable("x"), DestinationRefused("403")])
    task = asyncio.create_task(_exporter(traces, logs, clock=clock).export(some_deliveries(3)))

    await clock.advance(60)

    with pytest.raises(DestinationRefused, match="403"):
        await task
    assert clock.sleeping == 0


async def test_a_request_in_hand_ends_and_counts_when_the_other_signal_fails_for_good() -> None:
    logs = ModelSender(script=[DestinationRefused("403")])
    traces = ModelSender(before=lambda: None)
    gate = asyncio.Event()

    class Slow(ModelSender):
        async def send(self, body: bytes) -> Answer:
            await gate.wait()
            return await super().send(body)

    traces = Slow()
    exporter = _exporter(traces, logs, max_records=2)
    task = asyncio.create_task(exporter.export(some_deliveries(4)))
    await asyncio.sleep(0.01)
    gate.set()
    with pytest.raises(DestinationRefused):
        await task

    assert traces.requests == [[1, 2]], "no further one was begun"
    assert (await exporter.export(some_deliveries(4))).delivered == _keys(1, 2, 3, 4)
    assert traces.holds == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_a_refusal_is_what_is_told_when_both_kinds_happen() -> None:
    traces = ModelSender(script=[DestinationUnavailable("down")])
    logs = ModelSender(script=[DestinationRefused("403")])

    with pytest.raises(DestinationRefused):
        await _exporter(traces, logs, backoff=Backoff(attempts=1)).export(some_deliveries(1))


def test_a_delivery_needs_only_the_signals_that_it_has() -> None:
    event = dataclasses.replace(a_delivery(2), span=None, log=a_log(2))
    nothing = dataclasses.replace(a_delivery(3), span=None, log=None)
    traces, logs = ModelSender(), ModelSender()

    outcome = asyncio.run(_exporter(traces, logs).export([a_delivery(1, logs=False), event, nothing]))

    assert outcome.delivered == _keys(1, 2, 3)
    assert (traces.requests, logs.requests) == ([[1]], [[2]])


async def test_an_optional_signal_that_the_destination_does_not_know_is_switched_off() -> None:
    told: list[str] = []
    logs = ModelSender(script=[DestinationRefused("404", unsupported=True)])
    exporter = _exporter(
        ModelSender(), logs, optional_signals=frozenset({Signal.LOGS}), on_warning=told.append
    )

    first = await exporter.export(some_deliveries(2))
    second = await exporter.export(some_deliveries(3))

    assert first.delivered == _keys(1, 2)
    assert second.delivered == _keys(1, 2, 3)
    assert len(logs.requests) == 1
    assert told == [
        "logs: http://there/v1/logs does not take logs; leave logs out of OTEL_BRIDGE_SIGNALS to say so"
    ]
    assert second.warnings == []


@pytest.mark.parametrize(
    ("error", "optional"),
    [
        (DestinationRefused("404", unsupported=True), frozenset()),
        (DestinationRefused("401"), frozenset({Signal.LOGS})),
    ],
)
def test_any_other_refusal_is_raised(error: DestinationRefused, optional: frozenset[Signal]) -> None:
    exporter = _exporter(ModelSender(), ModelSender(script=[error]), optional_signals=optional)

    with pytest.raises(DestinationRefused):
        asyncio.run(exporter.export(some_deliveries(1)))


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────
async def test_cancelling_leaves_nothing_behind_and_forgets_nothing_acknowledged() -> None:
    traces, logs = ModelSender(), ModelSender(script=[DestinationUnavailable("down")] * 100)
    clock = SimulatedClock(auto=False)
    exporter = _exporter(traces, logs, clock=clock)
    task = asyncio.create_task(exporter.export(some_deliveries(3)))
    await clock.advance(5)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == {asyncio.current_task()}
    logs.script.clear()
    again = asyncio.create_task(exporter.export(some_deliveries(3)))
    await clock.advance(30)  # the circuit is still open
    assert (await again).delivered == _keys(1, 2, 3)
    assert traces.requests == [[1, 2, 3]]


async def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.exporter.otlp._MOST_REMEMBERED", 2)
    traces, logs = ModelSender(), ModelSender(script=[DestinationRefused("401")])
    exporter = _exporter(traces, logs)

    with pytest.raises(DestinationRefused):
        await exporter.export(some_deliveries(4))
    await exporter.export(some_deliveries(4))

    assert traces.requests[-1] == [1, 2], "the newest two were remembered"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            Refused("400 no"),
            DestinationRefused,
            "http://there/v1/traces does not accept an empty request: 400 no",
        ),
        (Failed("500"), DestinationUnavailable, "500"),
        (DestinationRefused("401"), DestinationRefused, "401"),
        (DestinationUnavailable("down"), DestinationUnavailable, "down"),
    ],
)
async def test_a_probe_raises_what_a_person_should_know(
    answer: Answer | Exception, error: type[DestinationError], message: str
) -> None:
    with pytest.raises(error) as caught:
        await _exporter(ModelSender(script=[answer])).probe(Signal.TRACES)

    assert str(caught.value) == message


async def test_a_probe_sends_nothing_and_closing_closes() -> None:
    sender = ModelSender()
    exporter: Exporter = _exporter(sender)

    assert isinstance(exporter, OtlpExporter)
    await exporter.probe(Signal.TRACES)
    await exporter.aclose()

    assert sender.bodies == [b""]
    assert sender.closed


async def test_the_sender_is_the_one_of_the_protocol() -> None:
    for protocol, kind in ((Protocol.HTTP, HttpSender), (Protocol.GRPC, GrpcSender)):
        sender = sender_for(Destination(Signal.LOGS, protocol, "http://localhost:1"))
        assert isinstance(sender, AdvisedSender)
        assert isinstance(sender.sender, kind)
        await sender.aclose()


def test_metrics_go_another_way_and_are_only_probed() -> None:
    sender = ModelSender()
    exporter = OtlpExporter(
        {Signal.METRICS: somewhere(Signal.METRICS)}, clock=SimulatedClock(), senders=lambda _: sender
    )

    async def use() -> list[str]:
        await exporter.probe(Signal.METRICS)
        return (await exporter.export(some_deliveries(1))).delivered

    assert asyncio.run(use()) == _keys(1)
    assert sender.bodies == [b""]
