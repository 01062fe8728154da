"""Which failed call a later one tries again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.attempts import Attempt, FailedAttempts, attempt_keys, attempts_in
from otel_bridge.receiver.models import Detail

if TYPE_CHECKING:
    import random


def call(log_id: str, start_ms: int, end_ms: int, *, status: str = "failed", **fields: Any) -> Detail:
    body = {
        "id": log_id,
        "status": status,
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL"},
        "timings": {"start_time": start_ms, "end_time": end_ms},
        "context": {"request_id": "r"},
        **fields,
    }
    return Detail.of_value(body)


def before(record: Detail, *others: Detail) -> str | None:
    records = [*others, record]
    keys = {each.id: attempt_keys(each) for each in records}
    assert keys[record.id]
    attempts = {each.log_id: each for each in attempts_in(records, keys, ())}
    if record.id not in attempts:
        return None
    found = FailedAttempts(attempts.values()).before(attempts[record.id])
    return found.log_id if found else None


def test_a_call_tries_again_what_failed_last_before_it() -> None:
    first, second = call("a", 10, 20), call("b", 30, 40)
    assert before(call("c", 50, 60, status="success"), first, second) == "b"
    assert before(second, first) == "a"
    assert before(first, second) is None


@pytest.mark.parametrize(
    "other",
    [
        call("a", 10, 20, status="success"),
        call("a", 10, 31),
        call("a", 10, 20, metadata={"tool_slug": "GMAIL_LIST"}),
        call("a", 10, 20, context={"request_id": "s"}),
        call("a", 10, 20, context={}),
        call("a", 10, 20, metadata={}),
        call("a", 10, 20, type="trigger.message"),
    ],
    ids=[
        "succeeded",
        "ran at the same time",
        "other tool",
        "other request",
        "no request",
        "no tool",
        "no call",
    ],
)
def test_what_is_no_earlier_failed_try_of_the_same_is_not_linked(other: Detail) -> None:
    assert before(call("c", 30, 40), other) is None


def test_calls_under_one_parent_are_tries_of_the_same_as_well() -> None:
    first = call("a", 10, 20, context={}, parent={"log_id": "p"})
    assert before(call("c", 30, 40, parent={"log_id": "p"}), first) == "a"
    assert before(call("c", 30, 40, parent={"log_id": "q"}), first) is None


def test_a_parent_and_a_request_of_the_same_name_are_two_things() -> None:
    first = call("a", 10, 20, context={}, parent={"log_id": "r"})
    assert before(call("c", 30, 40), first) is None


def test_what_may_follow_a_failed_try_that_is_in_no_batch_counts_as_a_try() -> None:
    record = call("c", 30, 40, status="success")
    (key,) = attempt_keys(record)
    assert attempts_in([record], {"c": (key,)}, [b"other"]) == []
    assert attempts_in([record], {"c": (key,)}, [key]) == [
        Attempt("c", (key,), 30_000_000, 40_000_000, failed=False)
    ]


def test_points_in_time_that_fall_together_are_told_apart() -> None:
    assert before(call("b", 10, 10), call("a", 10, 10), call("c", 10, 10)) == "a"
    assert before(call("a", 10, 10), call("b", 10, 10)) is None


TIMES = st.tuples(st.integers(1, 12), st.integers(0, 6))


@given(st.lists(st.tuples(TIMES, st.booleans(), st.sampled_from([b"k", b"l"])), max_size=12), st.randoms())
@settings(max_examples=150)
def test_it_is_the_last_of_those_that_ended_before_in_whatever_order_they_come(
    drawn: list[tuple[tuple[int, int], bool, bytes]], rng: random.Random
) -> None:
    attempts = [
        Attempt(f"log_{n}", (key, b"m") if n % 3 else (key,), start, start + length, failed)
        for n, ((start, length), failed, key) in enumerate(drawn)
    ]
    shuffled = list(attempts)
    rng.shuffle(shuffled)
    for each in attempts:
        expected = max(
            (
                other
                for other in attempts
                if other.failed
                and other.end_ns <= each.start_ns
                and other.moment < each.moment
                and set(other.keys) & set(each.keys)
            ),
            key=lambda other: other.moment,
            default=None,
        )
        assert FailedAttempts(shuffled).before(each) == expected
