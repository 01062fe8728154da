"""Which trace, which span, whose child."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping import identity as identity_module
from otel_bridge.mapping.identity import (
    MAX_DEPTH,
    KnownParent,
    LoopingParent,
    MissingParent,
    ParentState,
    RemoteContext,
    Rule,
    identify,
    span_id_of,
)
from otel_bridge.receiver.models import Detail
from otel_bridge.signals import Link

TRACE = bytes(range(1, 17))


def record(log_id: str = "log_a", parent: str | None = None, **fields: Any) -> Detail:
    body: dict[str, Any] = {"id": log_id, **fields}
    if parent is not None:
        body["parent"] = {"log_id": parent, "tool_slug": "COMPOSIO_MULTI_EXECUTE_TOOL"}
    return Detail.of_value(body)


def test_a_record_by_itself_is_the_root_of_a_trace_of_its_own() -> None:
    one, other = identify("p", record("log_a"), None), identify("p", record("log_b"), None)
    assert (one.rule, one.parent_span_id, one.depth, one.parent_missing) == (Rule.LOG_ID, None, 0, False)
    assert (len(one.trace_id), len(one.span_id)) == (16, 8)
    assert one.trace_id != other.trace_id
    assert one.span_id != other.span_id


def test_ids_stay_as_they_are_from_version_to_version() -> None:
    # A change here makes every span that is sent again a second span.
    text = b"otel-bridge:1" + b"7:default," + b"4:span," + b"16:log_-jRTWClpBoVo,"
    assert span_id_of("default", "log_-jRTWClpBoVo") == sha256(text).digest()[:8]
    text = b"otel-bridge:1" + b"7:default," + b"9:trace:log," + b"16:log_-jRTWClpBoVo,"
    assert identify("default", record("log_-jRTWClpBoVo"), None).trace_id == sha256(text).digest()[:16]


@pytest.mark.parametrize(
    "trace_id",
    [
        "4BF92F3577B34DA6A3CE929D0E0E4736",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    ],
)
def test_a_w3c_trace_id_is_used_as_it_is(trace_id: str) -> None:
    found = identify("p", record(context={"trace_id": trace_id}), None)
    assert found.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (found.rule, found.parent_span_id) == (Rule.TRACE_ID, None)


@pytest.mark.parametrize(
    "trace_id",
    [
        "trace_1",
        "0" * 32,
        "00000000-0000-0000-0000-000000000000",
        "4bf92f3577b34da6a3ce929d0e0e473",
        "4bf92f3577b34da6a3ce929d0e0e47366",
        "4bf92f3577b34da6a3ce929d0e0e4736\n",
        "4bf92f35-77b34da6-a3ce-929d-0e0e4736",
        "4bf9 2f3577b34da6a3ce929d0e0e473",
        "\ud800",
    ],
)
def test_any_other_trace_id_gives_one_trace_in_its_project(trace_id: str) -> None:
    one = identify("p", record("log_a", context={"trace_id": trace_id}), None)
    same = identify("p", record("log_b", context={"trace_id": trace_id}), None)
    elsewhere = identify("q", record("log_a", context={"trace_id": trace_id}), None)
    assert one.rule is Rule.TRACE_ID_HASHED
    assert any(one.trace_id[8:])
    assert one.trace_id == same.trace_id != elsewhere.trace_id


def test_an_empty_trace_id_is_none() -> None:
    assert identify("p", record(context={"trace_id": ""}), None).rule is Rule.LOG_ID


def test_a_known_parent_gives_its_trace_before_the_records_own_trace_id() -> None:
    child = record("log_b", parent="log_a", context={"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    found = identify("p", child, KnownParent(TRACE, 3))
    assert found.trace_id == TRACE
    assert found.parent_span_id == span_id_of("p", "log_a")
    assert (found.rule, found.depth, found.parent_missing) == (Rule.PARENT, 4, False)


@pytest.mark.parametrize("state", [MissingParent(), None])
def test_a_missing_parent_is_still_the_parent_span(state: ParentState | None) -> None:
    found = identify("p", record("log_b", parent="log_a", context={"trace_id": "trace_1"}), state)
    assert found.parent_span_id == span_id_of("p", "log_a")
    assert (found.rule, found.parent_missing, found.depth) == (Rule.TRACE_ID_HASHED, True, 0)
    assert found.trace_id == identify("p", record(context={"trace_id": "trace_1"}), None).trace_id


@pytest.mark.parametrize(
    ("parent", "state"),
    [("log_z", LoopingParent()), ("log_a", KnownParent(TRACE, 0)), ("log_a", None)],
)
def test_a_circle_of_parents_is_not_drawn(parent: str, state: ParentState | None) -> None:
    found = identify("p", record("log_a", parent=parent), state)
    assert (found.parent_span_id, found.parent_missing, found.rule) == (None, True, Rule.LOG_ID)


def test_an_empty_parent_id_is_no_parent() -> None:
    found = identify("p", record(parent=""), KnownParent(TRACE, 0))
    assert (found.parent_span_id, found.parent_missing, found.rule) == (None, False, Rule.LOG_ID)


def test_what_is_too_deep_is_missing_and_so_is_everything_below() -> None:
    depth, trace = 0, identify("p", record("log_0"), None).trace_id
    for level in range(1, MAX_DEPTH + 4):
        found = identify("p", record(f"log_{level}", parent=f"log_{level - 1}"), KnownParent(trace, depth))
        assert found.parent_missing is (level > MAX_DEPTH)
        assert (found.trace_id == trace) is (level <= MAX_DEPTH)
        assert found.parent_span_id == span_id_of("p", f"log_{level - 1}")
        depth, trace = found.depth, found.trace_id
    assert depth == MAX_DEPTH + 1


def test_a_remote_span_is_the_parent_where_no_rule_before_it_applies() -> None:
    remote = RemoteContext(TRACE, b"abcdefgh", Rule.CORRELATION)
    found = identify("p", record(context={"trace_id": "trace_1"}), None, remote)
    assert (found.trace_id, found.parent_span_id, found.rule) == (TRACE, b"abcdefgh", Rule.CORRELATION)


@pytest.mark.parametrize("state", [KnownParent(b"t" * 16, 0), MissingParent()])
def test_a_remote_span_that_a_parent_sets_aside_is_linked(state: ParentState) -> None:
    found = identify(
        "p", record("log_b", parent="log_a"), state, RemoteContext(TRACE, b"abcdefgh", Rule.CORRELATION)
    )
    assert found.parent_span_id == span_id_of("p", "log_a")
    assert found.links == (Link(TRACE, b"abcdefgh"),)


def test_a_hash_of_zero_is_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Digest:
        def __init__(self, text: bytes) -> None:
            self._text = text

        def digest(self) -> bytes:
            return b"x" * 8 + bytes(24) if not self._text.endswith(b"1:2,") else sha256(self._text).digest()

    monkeypatch.setattr(identity_module, "sha256", Digest)
    trace = identify("p", record(), None).trace_id
    assert any(trace[8:]), "the low 64 bits of a trace id are an id of their own to some backends"


def test_every_rule_has_words_for_people() -> None:
    assert all(rule.text for rule in Rule)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=2, max_size=2, unique=True))
@settings(max_examples=200, deadline=None)
def test_no_two_projects_and_logs_share_a_span_id(pairs: list[tuple[str, str]]) -> None:
    (project, log), (other_project, other_log) = pairs
    assert span_id_of(project, log) != span_id_of(other_project, other_log)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b:c"), ("a:b", "c")),
        (("a", "4:span,1:b,"), ("a4:span,1:", "b,")),
        (("a,", "b"), ("a", ",b")),
        (("", "ab"), ("ab", "")),
        (("p\ud800", "x"), ("p\udc00", "x")),
    ],
)
def test_delimiters_inside_names_do_not_join_two_records(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert span_id_of(*one) != span_id_of(*other)


def test_domains_are_apart() -> None:
    by_log = identify("p", record("x"), None).trace_id
    by_trace = identify("p", record("y", context={"trace_id": "x"}), None).trace_id
    assert by_log != by_trace
    assert by_log[:8] != span_id_of("p", "x")
