"""Calls inside the application's own trace: rules 2 and 3, what is linked, and what is not sampled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.identity import (
    Identity,
    KnownParent,
    LoopingParent,
    MissingParent,
    ParentState,
    RemoteContext,
    Rule,
    identify,
    span_id_of,
)
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import GroupBy, MappingOptions, TraceOptions, Unsampled
from otel_bridge.receiver.models import Detail
from otel_bridge.signals import Link

APP_TRACE, APP_SPAN = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"), bytes.fromhex("00f067aa0ba902b7")
SAMPLED = f"00-{APP_TRACE.hex()}-{APP_SPAN.hex()}-01"
UNSAMPLED = f"00-{APP_TRACE.hex()}-{APP_SPAN.hex()}-00"
APP = Link(APP_TRACE, APP_SPAN)
REMOTE = RemoteContext(b"r" * 16, b"remote..", Rule.CORRELATION)
W3C = "11111111111111111111111111111111"


def record(log_id: str = "log_a", parent: str | None = None, **fields: Any) -> Detail:
    return Detail.of_value({"id": log_id, "parent": parent and {"log_id": parent}, **fields})


def called(request_id: str, **context: Any) -> Detail:
    return record(context={"request_id": request_id, **context})


def place(identity: Identity) -> tuple[Rule, bytes, bytes | None, tuple[Link, ...]]:
    return identity.rule, identity.trace_id, identity.parent_span_id, identity.links


# ── the order of the rules ───────────────────────────────────────────────────────────────────────────────
def test_a_traceparent_in_the_request_id_gives_trace_and_parent() -> None:
    found = identify("p", called(SAMPLED), None)
    assert place(found) == (Rule.TRACEPARENT, APP_TRACE, APP_SPAN, ())
    assert found.span_id == span_id_of("p", "log_a")


def test_it_comes_before_the_trace_id_which_can_not_be_linked_without_a_span_id() -> None:
    assert place(identify("p", called(SAMPLED, trace_id=W3C), None)) == (
        Rule.TRACEPARENT,
        APP_TRACE,
        APP_SPAN,
        (),
    )


def test_a_registered_span_comes_before_it_and_it_is_linked() -> None:
    found = identify("p", called(SAMPLED, trace_id=W3C), None, REMOTE)
    assert place(found) == (Rule.CORRELATION, b"r" * 16, b"remote..", (APP,))


def test_the_same_span_registered_and_in_the_request_id_is_no_link() -> None:
    remote = RemoteContext(APP_TRACE, APP_SPAN, Rule.CORRELATION)
    assert place(identify("p", called(SAMPLED), None, remote)) == (
        Rule.CORRELATION,
        APP_TRACE,
        APP_SPAN,
        (),
    )


def test_a_parent_comes_first_and_the_application_is_linked() -> None:
    child = record("log_b", "log_a", context={"request_id": SAMPLED})
    found = identify("p", child, KnownParent(b"t" * 16, 0), REMOTE)
    links = (Link(b"r" * 16, b"remote.."), APP)
    assert place(found) == (Rule.PARENT, b"t" * 16, span_id_of("p", "log_a"), links)


def test_a_missing_parent_leaves_the_trace_to_the_application() -> None:
    child = record("log_b", "log_a", context={"request_id": SAMPLED})
    found = identify("p", child, MissingParent())
    assert place(found) == (Rule.TRACEPARENT, APP_TRACE, span_id_of("p", "log_a"), (APP,))
    assert found.parent_missing


def test_a_loop_stands_under_the_application() -> None:
    found = identify("p", record("log_b", "log_a", context={"request_id": SAMPLED}), LoopingParent())
    assert place(found) == (Rule.TRACEPARENT, APP_TRACE, APP_SPAN, ())
    assert (found.looping, found.parent_missing) == (True, True)


@pytest.mark.parametrize("text", ["", "x" * 10_240, SAMPLED.upper(), SAMPLED + " ", SAMPLED[:-3], "5b2d" * 8])
def test_any_other_request_id_says_nothing(text: str) -> None:
    assert identify("p", called(text), None) == identify("p", record(), None)


# ── traces that the application did not sample ───────────────────────────────────────────────────────────
def test_an_unsampled_trace_is_left_alone_and_linked() -> None:
    found = identify("p", called(UNSAMPLED, trace_id=W3C), None)
    own = identify("p", record(), None).trace_id
    assert place(found) == (Rule.UNSAMPLED, own, None, (APP,))
    assert found.sampled


def test_an_unsampled_span_that_was_registered_is_left_alone_as_well() -> None:
    remote = RemoteContext(b"r" * 16, b"remote..", Rule.CORRELATION, sampled=False)
    found = identify("p", called(SAMPLED), None, remote)
    assert (found.rule, found.parent_span_id) == (Rule.UNSAMPLED, None)
    assert found.links == (Link(b"r" * 16, b"remote.."), APP)


@pytest.mark.parametrize(("unsampled", "sampled"), [(Unsampled.JOIN, True), (Unsampled.DROP, False)])
def test_an_unsampled_trace_can_be_joined_or_its_spans_left_out(unsampled: Unsampled, sampled: bool) -> None:
    found = identify("p", called(UNSAMPLED), None, options=TraceOptions(unsampled=unsampled))
    assert place(found) == (Rule.TRACEPARENT, APP_TRACE, APP_SPAN, ())
    assert found.sampled is sampled


def test_what_hangs_below_a_span_that_is_left_out_is_left_out_with_it() -> None:
    child = record("log_b", "log_a")
    assert not identify("p", child, KnownParent(APP_TRACE, 0, sampled=False)).sampled
    assert identify("p", child, KnownParent(APP_TRACE, 0)).sampled


@pytest.mark.parametrize(
    ("status", "share", "request_id", "spans"),
    [
        ("success", 1.0, SAMPLED, 1),
        ("success", 1.0, UNSAMPLED, 0),
        ("failed", 1.0, UNSAMPLED, 1),
        ("success", 0.0, SAMPLED, 0),
        ("failed", 0.0, UNSAMPLED, 1),
    ],
)
def test_a_span_is_sent_where_both_sides_sample_it_or_the_call_failed_and_a_log_record_always(
    status: str, share: float, request_id: str, spans: int
) -> None:
    one = record(status=status, context={"request_id": request_id})
    identity = identify("p", one, None, options=TraceOptions(unsampled=Unsampled.DROP))
    delivery = Mapper(MappingOptions("p", sample=share)).delivery(one, identity)
    assert (delivery.span is not None) == bool(spans)
    assert delivery.log is not None
    assert delivery.log.trace_id == APP_TRACE


def test_a_trace_of_its_own_is_sampled_by_its_own_id_and_not_by_the_one_that_was_not_sampled() -> None:
    # The low 64 bits decide: those of the application's trace lie in the upper half.
    identity = identify("p", called(UNSAMPLED), None)
    kept = int.from_bytes(identity.trace_id[8:], "big") < 2**63
    delivery = Mapper(MappingOptions("p", sample=0.5)).delivery(called(UNSAMPLED), identity)
    assert (delivery.span is not None) is kept


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────
BY_SESSION = TraceOptions(group_by=GroupBy.SESSION)


def test_calls_of_one_session_can_share_a_trace() -> None:
    one = identify("p", record("log_a", context={"session_id": "trs_1"}), None, options=BY_SESSION)
    same = identify("p", record("log_b", metadata={"session_id": "trs_1"}), None, options=BY_SESSION)
    other = identify("p", record("log_a", context={"session_id": "trs_2"}), None, options=BY_SESSION)
    elsewhere = identify("q", record("log_a", context={"session_id": "trs_1"}), None, options=BY_SESSION)
    assert one.rule is Rule.SESSION
    assert one.trace_id == same.trace_id
    assert len({one.trace_id, other.trace_id, elsewhere.trace_id}) == 3
    assert one.parent_span_id is None


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"context": {"session_id": ""}, "metadata": {"session_id": 7}}, Rule.LOG_ID),
        ({}, Rule.LOG_ID),
        ({"context": {"session_id": "trs_1", "trace_id": "trace_1"}}, Rule.TRACE_ID_HASHED),
        ({"context": {"session_id": "trs_1", "trace_id": W3C}}, Rule.TRACE_ID),
        ({"context": {"session_id": "trs_1", "request_id": SAMPLED}}, Rule.TRACEPARENT),
        ({"context": {"session_id": "trs_1", "request_id": UNSAMPLED}}, Rule.UNSAMPLED),
    ],
)
def test_a_session_is_the_last_thing_asked_for(fields: dict[str, Any], rule: Rule) -> None:
    assert identify("p", record(**fields), None, options=BY_SESSION).rule is rule


def test_an_unsampled_call_goes_to_its_session() -> None:
    options = TraceOptions(group_by=GroupBy.SESSION)
    one = identify("p", called(UNSAMPLED, session_id="trs_1"), None, options=options)
    assert one.trace_id == identify("p", called("", session_id="trs_1"), None, options=options).trace_id


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────
STATES = st.sampled_from([None, MissingParent(), LoopingParent(), KnownParent(b"t" * 16, 3)])
IDS = st.none() | st.text(max_size=60) | st.sampled_from([SAMPLED, UNSAMPLED, W3C, "trace_1"])


@given(
    parent=st.sampled_from([None, "log_a", "log_p"]),
    request_id=IDS,
    trace_id=IDS,
    session_id=IDS,
    state=STATES,
    remote=st.sampled_from(
        [None, REMOTE, RemoteContext(APP_TRACE, APP_SPAN, Rule.CORRELATION, sampled=False)]
    ),
    options=st.builds(TraceOptions, st.sampled_from(Unsampled), st.sampled_from(GroupBy)),
)
@settings(max_examples=300)
def test_whatever_a_record_says_it_has_valid_ids_and_every_context_is_its_parent_or_linked(
    *,
    parent: str | None,
    request_id: str | None,
    trace_id: str | None,
    session_id: str | None,
    state: ParentState | None,
    remote: RemoteContext | None,
    options: TraceOptions,
) -> None:
    context = {"request_id": request_id, "trace_id": trace_id, "session_id": session_id}
    one = record("log_a", parent, context=context)
    found = identify("p", one, state, remote, options)
    assert found == identify("p", one, state, remote, options)
    assert found.span_id == span_id_of("p", "log_a")
    assert len(found.trace_id) == 16
    assert any(found.trace_id)
    contexts = {(remote.trace_id, remote.span_id)} if remote else set()
    contexts |= {(APP_TRACE, APP_SPAN)} if request_id in {SAMPLED, UNSAMPLED} else set()
    linked = {(each.trace_id, each.span_id) for each in found.links}
    joined = {(found.trace_id, found.parent_span_id)} & contexts
    assert linked | joined == contexts
    assert not linked & joined
    assert len(linked) == len(found.links)
