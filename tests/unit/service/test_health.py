"""Ready or not, and why: from what was heard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.circuit_state import CircuitState, Phase
from otel_bridge.errors import (
    BridgeError,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
    LedgerError,
    SourceBusy,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.exporter.blocks import Block
from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline.context import Tally
from otel_bridge.service.health import Health, HealthLimits
from otel_bridge.service.reasons import FOLLOWS, TO_DO, TRIED_AGAIN, WRONG_ADDRESS, Code, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

S = 1_000
START = 1_000_000 * S
LIMITS = HealthLimits(lag_ms=300 * S, grace_ms=60 * S)


def health(*, polled: bool = True) -> Health:
    made = Health(["p"], LIMITS, START)
    if polled:
        made.polled("p", START)
    return made


def codes(reasons: list[Reason]) -> list[str]:
    return [reason.code.value for reason in reasons]


def window(lane: Lane = Lane.LIVE, to_ms: int = START, passes: int = 0) -> Window:
    return Window("p", lane, to_ms - 10 * S, to_ms, passes=passes)


def circuit(
    name: str = "https://collector (traces)", *, is_open: bool, since_ms: int = START
) -> CircuitState:
    return CircuitState(
        name=name,
        phase=Phase.OPEN if is_open else Phase.CLOSED,
        since_ms=since_ms,
        lasted_s=0,
        failures=5,
        reason="connection refused",
        retry_in_s=1.0 if is_open else None,
        next_try_ms=None,
        waiting=0,
    )


PASSING = [
    (SourceFailed("HTTP 502"), Code.SOURCE_FAILING),
    (SourceUnreachable("no answer"), Code.SOURCE_FAILING),
    (SourceBusy("429"), Code.SOURCE_FAILING),
    (DestinationUnavailable("no answer"), Code.DESTINATION_FAILING),
    (LedgerError("database is locked"), Code.LEDGER_FAILING),
    (BridgeError("unforeseen KeyError at x.py:1"), Code.FAILING),
]
LASTING = [
    (SourceRefused("HTTP 401", 401), Code.SOURCE_REFUSED),
    (SourceRefused("HTTP 403", 403), Code.SOURCE_REFUSED),
    (DestinationRefused("HTTP 401"), Code.DESTINATION_REFUSED),
]


def test_a_project_that_was_just_polled_is_ready() -> None:
    assert health().readiness(START + 5 * S) == []


@pytest.mark.parametrize(("error", "code"), PASSING)
def test_what_may_pass_is_told_when_it_has_come_back_three_times(error: BridgeError, code: Code) -> None:
    made = health()
    for number in range(2):
        made.poll_failed("p", error, START + number * 2 * S)
        assert made.readiness(START + number * 2 * S) == []
    made.poll_failed("p", error, START + 4 * S)
    (reason,) = made.readiness(START + 4 * S)
    assert (reason.project, reason.code, reason.message, reason.since_ms) == ("p", code, str(error), START)
    assert reason.to_do == TO_DO[code]


@pytest.mark.parametrize(("error", "code"), LASTING)
def test_what_a_person_has_to_change_is_told_at_once(error: BridgeError, code: Code) -> None:
    made = health()
    made.poll_failed("p", error, START)
    assert codes(made.readiness(START)) == [code.value]


@pytest.mark.parametrize(("status", "to_do"), [(404, WRONG_ADDRESS), (301, WRONG_ADDRESS), (401, None)])
def test_another_key_is_no_advice_where_no_composio_answers(status: int, to_do: str | None) -> None:
    made = health()
    made.poll_failed("p", SourceRefused("first", 401), START)
    made.poll_failed("p", SourceRefused("then", status), START + S)
    (reason,) = made.readiness(START + S)
    assert reason.to_do == (to_do or TO_DO[Code.SOURCE_REFUSED])


def test_the_advice_of_an_error_takes_the_place_of_its_codes() -> None:
    made = health()
    error = DestinationRefused("its certificate is not trusted")
    error.advice = "set OTEL_EXPORTER_OTLP_CERTIFICATE"
    made.delivery_failed("p", error, START)
    (reason,) = made.readiness(START)
    assert (reason.message, reason.to_do) == (
        "its certificate is not trusted",
        "Set OTEL_EXPORTER_OTLP_CERTIFICATE.",
    )


def test_a_start_that_fails_says_why_before_that_is_told_by_itself() -> None:
    made = health(polled=False)
    (reason,) = made.readiness(START + S)
    assert reason.to_do == TO_DO[Code.STARTING]
    made.poll_failed("p", SourceUnreachable("no connection to nowhere"), START + 2 * S)
    (reason,) = made.readiness(START + 2 * S)
    assert (reason.code, reason.to_do) == (Code.STARTING, TRIED_AGAIN)
    assert reason.message == "nothing has been collected yet: no connection to nowhere"
    made.window_done(window(to_ms=START - 400 * S), 1, Tally(), START + 3 * S)
    (reason,) = made.readiness(START + 3 * S)
    assert reason.to_do == TO_DO[Code.STARTING], "one success ends a failure"


def test_a_second_failure_is_told_once_the_first_is_long_ago() -> None:
    made = health()
    made.poll_failed("p", SourceFailed("x"), START)
    assert made.readiness(START + 100 * S) == [], "one failed poll"
    made.poll_failed("p", SourceFailed("x"), START + 20 * S)
    assert made.readiness(START + 29 * S) == []
    assert codes(made.readiness(START + 30 * S)) == ["source_failing"]


def test_lanes_that_meet_the_same_trouble_at_the_same_moment_are_one_failure() -> None:
    made = health()
    for number in range(20):
        made.poll_failed("p", SourceUnreachable("x"), START + number * 40)
    assert made.readiness(START + S) == []


def test_failures_count_although_the_clock_was_set_back() -> None:
    made = health()
    for number in range(3):
        made.poll_failed("p", SourceFailed("x"), START - number * 3600 * S)
    assert "source_failing" in codes(made.readiness(START))


@pytest.mark.parametrize(
    "succeed",
    [
        lambda made: made.polled("p", START + 9 * S),
        lambda made: made.window_done(window(), 3, Tally(delivered=3), START + 9 * S),
        lambda made: made.window_done(window(passes=1), 0, Tally(), START + 9 * S),
    ],
)
def test_one_success_ends_the_failure_of_a_source(succeed: Callable[[Health], Any]) -> None:
    made = health()
    made.poll_failed("p", SourceRefused("HTTP 403", 403), START)
    succeed(made)
    assert made.readiness(START + 9 * S) == []
    made.poll_failed("p", SourceFailed("x"), START + 10 * S)
    assert made.readiness(START + 10 * S) == [], "it is counted anew"


def test_a_backfill_says_nothing_of_the_present() -> None:
    made = health()
    made.poll_failed("p", SourceRefused("HTTP 403", 403), START)
    made.window_done(window(Lane.BACKFILL, to_ms=START + 900 * S), 3, Tally(delivered=3), START)
    assert codes(made.readiness(START)) == ["source_refused"]
    assert made.lag_ms("p", START + S) == S


def test_a_delivery_ends_the_failure_of_a_destination_and_a_list_alone_does_not() -> None:
    made = health()
    made.delivery_failed("p", DestinationRefused("HTTP 401"), START)
    made.window_done(window(), 0, Tally(), START)
    assert codes(made.readiness(START)) == ["destination_refused"]
    made.delivered("p", Lane.LIVE, [], START)
    assert codes(made.readiness(START)) == ["destination_refused"]
    made.delivered("p", Lane.BACKFILL, [object()], START)  # type: ignore[list-item]  # it is only counted
    assert made.readiness(START) == []


def test_an_open_circuit_is_told_when_it_stays_open() -> None:
    made = health()
    made.circuit_changed(circuit(is_open=False), circuit(is_open=True))
    assert made.readiness(START + 9 * S) == []
    (reason,) = made.readiness(START + 10 * S)
    assert (reason.project, reason.code) == (None, Code.CIRCUIT_OPEN)
    assert "https://collector (traces) is down: connection refused" in reason.message
    assert [state.name for state in made.open_circuits] == ["https://collector (traces)"]
    made.circuit_changed(circuit(is_open=True), circuit(is_open=False))
    assert made.readiness(START + 10 * S) == []


def test_a_destination_that_is_down_is_told_with_what_it_answers_now() -> None:
    made = health()
    made.destination_blocked(Block("https://collector (traces)", "503", START))
    assert made.readiness(START + 20 * S) == []
    made.circuit_changed(circuit(is_open=False), circuit(is_open=True))
    made.destination_blocked(Block("https://collector (traces)", "it refuses every record: 400", START))
    (reason,) = made.readiness(START + 20 * S)
    assert reason.message == "https://collector (traces) is down: it refuses every record: 400"
    assert reason.since_ms == made.open_circuits[0].since_ms


def test_circuits_are_bounded() -> None:
    made = health()
    for number in range(1000):
        made.circuit_changed(circuit(is_open=False), circuit(str(number), is_open=True))
    assert len(made.open_circuits) == 64


def test_lag_over_the_limit_is_told_with_since_when() -> None:
    made = health()
    assert made.readiness(START + 300 * S) == []
    (reason,) = made.readiness(START + 301 * S)
    assert reason.code is Code.LAGGING
    assert reason.message == "5 min 1 s behind; the limit is 5 min"
    assert reason.since_ms == START + 300 * S


def test_being_behind_is_starting_within_the_grace_and_lagging_after_it() -> None:
    made = health(polled=False)
    assert codes(made.readiness(START)) == ["starting"]
    assert codes(made.readiness(START + 59 * S)) == ["starting"]
    assert codes(made.readiness(START + 60 * S)) == ["lagging"]
    made.begins_at("p", START - 36_000 * S)
    assert codes(made.readiness(START + 59 * S)) == ["starting"]
    made.window_done(window(to_ms=START - 200 * S), 5, Tally(), START)
    assert made.readiness(START + 59 * S) == [], "catching up has come near enough"


def test_once_caught_up_being_behind_is_lagging_even_within_the_grace() -> None:
    made = Health(["p"], HealthLimits(lag_ms=10 * S, grace_ms=600 * S), START)
    made.polled("p", START)
    assert codes(made.readiness(START + 60 * S)) == ["lagging"]


def test_being_behind_because_of_another_trouble_gives_no_advice_of_its_own() -> None:
    made = health(polled=False)
    made.poll_failed("p", SourceRefused("HTTP 401", 401), START)
    refused, behind = made.readiness(START + S)
    assert (refused.code, refused.follows) == (Code.SOURCE_REFUSED, False)
    assert (behind.code, behind.to_do) == (Code.STARTING, FOLLOWS), "to wait would not help"
    refused, behind = made.readiness(START + 900 * S)
    assert (behind.code, behind.to_do) == (Code.LAGGING, FOLLOWS)
    made.window_done(window(), 0, Tally(), START)
    (behind,) = made.readiness(START + 900 * S)
    assert behind.to_do == TO_DO[Code.LAGGING]


def test_what_was_missed_before_the_start_is_not_told_as_trouble_since_then() -> None:
    made = health(polled=False)
    made.begins_at("p", START - 36_000 * S)
    (reason,) = made.readiness(START + 20 * S)
    assert (reason.code, reason.since_ms) == (Code.STARTING, START)


def test_where_the_ledger_stood_does_not_take_back_what_was_heard() -> None:
    made = health()
    made.begins_at("p", START - 3_600 * S)
    assert made.lag_ms("p", START) == 0


def test_a_worker_that_ended_is_told_for_good() -> None:
    made = health()
    assert made.ended() == []
    made.worker_ended("p", "the worker ended with KeyError", START)
    made.polled("p", START + S)
    assert codes(made.ended()) == ["worker_ended"]
    assert codes(made.readiness(START + S)) == ["worker_ended"]


def test_every_code_says_what_to_do() -> None:
    assert set(TO_DO) == set(Code)


events = st.lists(
    st.tuples(
        st.sampled_from(["polled", "window", "delivered", "open", "close", *range(len(PASSING + LASTING))]),
        st.integers(-5 * S, 120 * S),
    ),
    max_size=30,
)


@given(events)
@settings(max_examples=150)
def test_whatever_happens_a_poll_with_closed_circuits_makes_it_ready_again(
    happened: list[tuple[str | int, int]],
) -> None:
    made, now_ms = Health(["p"], LIMITS, START), START
    for what, later_ms in happened:
        now_ms += later_ms
        if what == "polled":
            made.polled("p", now_ms)
        elif what == "window":
            made.window_done(window(to_ms=now_ms), 1, Tally(), now_ms)
        elif what == "delivered":
            made.delivered("p", Lane.LIVE, [], now_ms)
        elif what in {"open", "close"}:
            made.circuit_changed(circuit(is_open=False), circuit(is_open=what == "open", since_ms=now_ms))
        else:
            error = (PASSING + LASTING)[int(what)][0]
            made.poll_failed("p", error, now_ms)
            if isinstance(error, SourceRefused):
                assert "source_refused" in codes(made.readiness(now_ms))
            if isinstance(error, DestinationError):
                made.delivery_failed("p", error, now_ms)
        assert codes(made.readiness(now_ms)) == codes(made.readiness(now_ms)), "asking changes nothing"
    made.circuit_changed(circuit(is_open=True), circuit(is_open=False))
    made.polled("p", now_ms)
    assert made.readiness(now_ms) == []


@given(st.sampled_from(PASSING), st.integers(0, 290 * S))
def test_one_failed_poll_between_two_that_succeed_is_never_told(
    failure: tuple[BridgeError, Code], took_ms: int
) -> None:
    made = health()
    made.poll_failed("p", failure[0], START)
    assert made.readiness(START + took_ms) == []
    made.polled("p", START + took_ms)
    assert made.readiness(START + took_ms) == []
