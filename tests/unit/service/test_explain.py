"""``show`` says what a record becomes and why, and nothing that it does not have."""

from __future__ import annotations

from typing import Any

import pytest

from otel_bridge.mapping.identity import (
    Identity,
    KnownParent,
    LoopingParent,
    MissingParent,
    RemoteContext,
    Rule,
    identify,
)
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import GroupBy, MappingOptions, TraceOptions
from otel_bridge.receiver.models import Detail
from otel_bridge.service.explain import because, explain

TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))
TRACEPARENT = f"00-{TRACE.hex()}-{SPAN.hex()}-01"


def record(**members: Any) -> Detail:
    return Detail.of_value(
        {
            "id": "log_1",
            "type": "tool.execution",
            "timestamp": "2026-04-17T10:00:02Z",
            "status": "failed",
            "message": "it\nfailed",
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
            "timings": {"start_time": 1_776_420_000_000, "end_time": 1_776_420_001_500},
            **members,
        }
    )


def shown(of: Detail, identity: Identity, **options: Any) -> dict[str, str]:
    delivery = Mapper(MappingOptions("p", **options)).delivery(of, identity)
    lines = explain(of, delivery, identity)
    assert all(line.isprintable() for line in lines)
    return {line.split("  ", 1)[0]: line.split("  ", 1)[1].strip() for line in lines if line}


def test_a_span_with_its_times_kind_and_status() -> None:
    of = record()
    found = shown(of, identify("p", of, None))
    assert found["name"] == "execute_tool GMAIL_SEND_EMAIL"
    assert (found["kind"], found["status"]) == ("internal", "error: it failed")
    assert found["start"] == "2026-04-17T10:00:00.000Z"
    assert found["end"] == "2026-04-17T10:00:01.500Z, 1.50 s later"
    assert found["parent span id"] == "none"
    assert found["trace chosen by"] == Rule.LOG_ID.text
    assert found["composio.log.id"] == "log_1"


@pytest.mark.parametrize(
    ("of", "options", "words"),
    [
        (record(type="trigger.message"), {}, "an entry of type trigger.message becomes a log record only"),
        (record(status="success"), {"sample": 0.0}, "OTEL_BRIDGE_SAMPLE"),
        (record(), {"traces": False}, "OTEL_BRIDGE_SIGNALS"),
    ],
)
def test_without_a_span_there_is_no_span_id(of: Detail, options: dict[str, Any], words: str) -> None:
    identity = identify("p", of, None)
    found = shown(of, identity, **options)
    assert words in found["span"]
    assert "span id" not in found
    assert "parent span id" not in found
    assert identity.span_id.hex() not in found.values()
    assert {"event", "time", "severity", "body"} <= found.keys()
    assert ("trace chosen by" in found) is of.is_tool_execution


def test_neither_signal_is_no_table() -> None:
    of = record()
    assert set(shown(of, identify("p", of, None), traces=False, logs=False)) == {
        "span",
        "trace chosen by",
        "because",
    }


CONTEXT = {"context": {"trace_id": "trace_1"}}
PARENT = {"parent": {"log_id": "log_0"}}
REGISTERED = RemoteContext(TRACE, SPAN, Rule.CORRELATION)
UNSAMPLED = RemoteContext(TRACE, SPAN, Rule.CORRELATION, sampled=False)


@pytest.mark.parametrize(
    ("of", "parent", "remote", "rule", "words"),
    [
        (
            record(**PARENT),
            KnownParent(TRACE, 0),
            None,
            Rule.PARENT,
            "the parent log_0, which is known",
        ),
        (record(), None, REGISTERED, Rule.CORRELATION, "the application reported"),
        (record(context={"request_id": TRACEPARENT}), None, None, Rule.TRACEPARENT, TRACEPARENT),
        (record(), None, UNSAMPLED, Rule.UNSAMPLED, "OTEL_BRIDGE_UNSAMPLED"),
        (record(context={"trace_id": TRACE.hex()}), None, None, Rule.TRACE_ID, "is a W3C trace id"),
        (record(**CONTEXT), None, None, Rule.TRACE_ID_HASHED, "trace_1 is no W3C trace id"),
        (record(), None, None, Rule.LOG_ID, "nothing else places it"),
        (record(**PARENT), MissingParent(), None, Rule.LOG_ID, "log_0 can't be had; nothing else"),
        (record(**PARENT), LoopingParent(), None, Rule.LOG_ID, "lead back to itself; nothing else"),
    ],
)
def test_why_each_rule_applied(
    of: Detail, parent: Any, remote: RemoteContext | None, rule: Rule, words: str
) -> None:
    identity = identify("p", of, parent, remote)
    assert identity.rule is rule
    assert words in because(of, identity)
    found = shown(of, identity)
    assert found["trace chosen by"] == rule.text
    assert ("linked to" in found) is bool(identity.links)


def test_a_trace_that_a_session_shares() -> None:
    of = record(context={"session_id": "trs_1"})
    identity = identify("p", of, None, options=TraceOptions(group_by=GroupBy.SESSION))
    assert identity.rule is Rule.SESSION
    assert "OTEL_BRIDGE_GROUP_BY" in because(of, identity)


def test_every_rule_has_a_reason() -> None:
    of = record()
    for rule in Rule:
        assert because(of, Identity(TRACE, SPAN, None, rule))


def test_a_span_that_the_application_did_not_sample_is_said() -> None:
    of = record(status="success")
    found = shown(of, Identity(TRACE, SPAN, None, Rule.CORRELATION, sampled=False))
    assert "the application did not sample its trace" in found["span"]
