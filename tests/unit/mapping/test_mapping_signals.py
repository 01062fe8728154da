"""What a record becomes: every field of the span, the log record, the resource and the measurement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from otel_bridge.mapping.attributes import MOST_KEYS
from otel_bridge.mapping.identity import Identity, MissingParent, Rule, identify
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.measurement import METRIC_BUCKETS, Measurement
from otel_bridge.mapping.options import ContentCapture, MappingOptions
from otel_bridge.mapping.sampling import is_kept, keep_below
from otel_bridge.mapping.values import size_of
from otel_bridge.receiver.models import Detail
from otel_bridge.signals import (
    Delivery,
    Link,
    LogRecord,
    Resource,
    Scope,
    Severity,
    Span,
    SpanKind,
    StatusCode,
)

FULL: dict[str, Any] = {
    "id": "log_-jRTWClpBoVo",
    "timestamp": "2026-04-17T10:25:00.000Z",
    "type": "tool.execution",
    "status": "failed",
    "level": "error",
    "message": "GMAIL_SEND_EMAIL failed: HTTP 429, no mail to ada@example.com",
    "metadata": {
        "tool_slug": "GMAIL_SEND_EMAIL",
        "toolkit_slug": "gmail",
        "user_id": "user_abc123",
        "connected_account_id": "ca_1",
        "auth_config_id": "ac_1",
        "session_id": "trs_1",
        "sandbox_id": "sb_1",
        "credential_source": "connected_account",
        "instant_charge": "0.00010",
        "tool_version": "20260401_00",
        "api_key": "hunter2",
    },
    "metrics": {"duration_ms": 202, "retries": 1},
    "parent": {"log_id": "log_parent", "tool_slug": "COMPOSIO_MULTI_EXECUTE_TOOL"},
    "timings": {"start_time": 1776421499798.5, "end_time": 1776421500000.5},
    "context": {"session_id": "trs_1", "trace_id": "trace_1", "request_id": "req_1"},
    "source": {"host": "mcp", "framework": "langchain", "language": "python"},
    "data": {
        "request": {"arguments": {"to": "ada@example.com", "password": "hunter2", "n": 2**70}},
        "response": {"ok": False, "items": [1, None]},
    },
}
OPTIONS = MappingOptions(project="default", server_address="backend.composio.dev", version="1.2.3")
IDENTITY = Identity(bytes(range(16)), b"spanspan", b"parentpa", Rule.PARENT, depth=1)


def detail(**changes: Any) -> Detail:
    return Detail.of_value({**FULL, **changes})


def bare(**fields: Any) -> Detail:
    return Detail.of_value({"id": "log_a", **fields})


def deliver(record: Detail, identity: Identity = IDENTITY, **options: Any) -> Delivery:
    return Mapper(replace(OPTIONS, **options)).delivery(record, identity)


def span_of(record: Detail, identity: Identity = IDENTITY, **options: Any) -> Span:
    span = deliver(record, identity, **options).span
    assert span is not None
    return span


def log_of(record: Detail, identity: Identity = IDENTITY, **options: Any) -> LogRecord:
    log = deliver(record, identity, **options).log
    assert log is not None
    return log


def test_a_whole_span() -> None:
    span = span_of(detail())
    assert list(span.attributes.items()) == snapshot(
        [
            ("gen_ai.operation.name", "execute_tool"),
            ("gen_ai.tool.name", "GMAIL_SEND_EMAIL"),
            ("gen_ai.tool.type", "extension"),
            ("gen_ai.conversation.id", "trs_1"),
            ("session.id", "trs_1"),
            ("user.id", "user_abc123"),
            ("error.type", "429"),
            ("composio.log.id", "log_-jRTWClpBoVo"),
            ("composio.toolkit.slug", "gmail"),
            ("composio.connected_account.id", "ca_1"),
            ("composio.auth_config.id", "ac_1"),
            ("composio.sandbox.id", "sb_1"),
            ("composio.request.id", "req_1"),
            ("composio.trace.id", "trace_1"),
            ("composio.parent.log.id", "log_parent"),
            ("composio.parent.tool.slug", "COMPOSIO_MULTI_EXECUTE_TOOL"),
            ("composio.source.host", "mcp"),
            ("composio.source.framework", "langchain"),
            ("composio.source.language", "python"),
            ("composio.credential.source", "connected_account"),
            ("composio.charge.usd", "0.00010"),
            ("composio.timing.source", "timings"),
            ("server.address", "backend.composio.dev"),
            ("composio.metadata.api_key", "[REDACTED]"),
            ("composio.metadata.tool_version", "20260401_00"),
            ("composio.metrics.duration_ms", 202),
            ("composio.metrics.retries", 1),
        ]
    )
    assert replace(span, attributes={}) == snapshot(
        Span(
            trace_id=b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f",
            span_id=b"spanspan",
            parent_span_id=b"parentpa",
            name="execute_tool GMAIL_SEND_EMAIL",
            kind=SpanKind.INTERNAL,
            start_ns=1776421499798500000,
            end_ns=1776421500000500000,
            attributes={},
            status=StatusCode.ERROR,
            status_message="GMAIL_SEND_EMAIL failed: HTTP 429, no mail to [REDACTED]",
        )
    )


def test_a_whole_log_record() -> None:
    log = log_of(detail())
    assert list(log.attributes.items()) == snapshot(
        [
            ("log.record.uid", "log_-jRTWClpBoVo"),
            ("gen_ai.operation.name", "execute_tool"),
            ("gen_ai.tool.name", "GMAIL_SEND_EMAIL"),
            ("gen_ai.conversation.id", "trs_1"),
            ("session.id", "trs_1"),
            ("user.id", "user_abc123"),
            ("error.type", "429"),
            ("composio.log.id", "log_-jRTWClpBoVo"),
            ("composio.toolkit.slug", "gmail"),
            ("composio.connected_account.id", "ca_1"),
            ("composio.auth_config.id", "ac_1"),
            ("composio.sandbox.id", "sb_1"),
            ("composio.request.id", "req_1"),
            ("composio.trace.id", "trace_1"),
            ("composio.parent.log.id", "log_parent"),
            ("composio.parent.tool.slug", "COMPOSIO_MULTI_EXECUTE_TOOL"),
            ("composio.charge.usd", "0.00010"),
        ]
    )
    assert replace(log, attributes={}) == snapshot(
        LogRecord(
            time_ns=1776421500000500000,
            observed_ns=1776421500000000000,
            severity=Severity.ERROR,
            severity_text="error",
            body="GMAIL_SEND_EMAIL failed: HTTP 429, no mail to [REDACTED]",
            event_name="composio.tool.execution",
            attributes={},
            trace_id=b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f",
            span_id=b"spanspan",
        )
    )


def test_resource_and_scope() -> None:
    delivery = deliver(detail(), resource=(("deployment.environment.name", "prod"), ("n", 2**70), ("n", 1)))
    assert delivery.key == "log_-jRTWClpBoVo"
    assert delivery.resource == Resource(
        (
            ("service.name", "composio"),
            ("composio.project", "default"),
            ("deployment.environment.name", "prod"),
            ("n", 1),
        )
    )
    assert delivery.scope == Scope("otel_bridge", "1.2.3", "https://opentelemetry.io/schemas/1.45.0")


@pytest.mark.parametrize(
    ("service_name", "metadata", "expected"),
    [
        ("tools-{toolkit}", {"toolkit_slug": "gmail"}, "tools-gmail"),
        ("tools-{toolkit}", {}, "tools-unknown"),
        ("{project}/{toolkit}", {"toolkit": {"slug": "{project}"}}, "default/{project}"),
        ("{x}{}{{toolkit", {}, "{x}{}{{toolkit"),
    ],
)
def test_service_name(service_name: str, metadata: dict[str, Any], expected: str) -> None:
    resource = deliver(bare(metadata=metadata), service_name=service_name).resource
    assert resource.attributes[0] == ("service.name", expected)


def test_what_is_added_to_the_resource_does_not_take_the_place_of_what_the_bridge_says() -> None:
    resource = deliver(bare(), resource=(("service.name", "other"), ("composio.project", "other"))).resource
    assert resource.attributes == (("service.name", "composio"), ("composio.project", "default"))


def test_records_of_one_toolkit_share_one_resource_and_the_cache_is_bounded() -> None:
    mapper = Mapper(replace(OPTIONS, service_name="{toolkit}"))
    made = [mapper.delivery(bare(metadata={"toolkit": f"t{n // 2}"}), IDENTITY).resource for n in range(1400)]
    assert made[0] is made[1]
    assert made[0] != made[2]
    assert len(mapper._resources._made) <= 256


# ── where a value is found ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"metadata": {"tool": "T"}}, "gen_ai.tool.name", "T"),
        ({"metadata": {"tool": {"slug": "T"}}}, "gen_ai.tool.name", "T"),
        ({"metadata": {"tool_slug": {"slug": "T"}}}, "gen_ai.tool.name", "T"),
        ({"metadata": {"tool_slug": None, "tool": "T"}}, "gen_ai.tool.name", "T"),
        ({"metadata": {"toolkit": "gmail"}}, "composio.toolkit.slug", "gmail"),
        ({"metadata": {"toolkit": {"slug": "gmail", "v": 1}}}, "composio.toolkit.slug", "gmail"),
        ({"metadata": {"toolkit": {"slug": "g", "v": 1}}}, "composio.metadata.toolkit", '{"slug":"g","v":1}'),
        ({"metadata": {"tool_slug": "T", "tool": "U"}}, "composio.metadata.tool", "U"),
        ({"metadata": {"session_id": "trs_m"}}, "session.id", "trs_m"),
        ({"metadata": {"session_id": "trs_m"}}, "gen_ai.conversation.id", "trs_m"),
        ({"metadata": {"session_id": "m"}, "context": {"session_id": "c"}}, "session.id", "c"),
        (
            {"metadata": {"session_id": "m"}, "context": {"session_id": "c"}},
            "composio.metadata.session_id",
            "m",
        ),
        ({"metadata": {"user_id": 17}}, "user.id", "17"),
        ({"metadata": {"user_id": {"a": 1}}}, "composio.metadata.user_id", '{"a":1}'),
        ({"metadata": {"user_id": 10**3000}}, "user.id", "1" + "0" * 2027 + "...[cut: 3001 bytes]"),
        (
            {"metadata": {"user_id": 10**5000}},
            "composio.metadata.user_id",
            "1" + "0" * 2027 + "...[cut: 5001 bytes]",
        ),
        ({"metadata": {"user_id": True}}, "composio.metadata.user_id", True),
        ({"metadata": {"instant_charge": 0.25}}, "composio.charge.usd", "0.25"),
        ({"metadata": {"a key": "v"}}, "composio.metadata.a_key", "v"),
        ({"metadata": {"big": 2**64}}, "composio.metadata.big", str(2**64)),
        (
            {"metadata": {"list": [1, {"password": "x"}]}},
            "composio.metadata.list",
            '[1,{"password":"[REDACTED]"}]',
        ),
        ({"metrics": {"retries": 2}}, "composio.metrics.retries", 2),
        ({"metrics": {"ratio": float("nan")}}, "composio.metrics.ratio", "NaN"),
        ({"timestamp": "2026-04-17T10:25:00Z"}, "composio.timing.source", "timestamp"),
        ({"context": {"trace_id": "trace_1"}}, "composio.trace.id", "trace_1"),
        ({"source": {"host": "sdk\x00"}}, "composio.source.host", "sdk\ufffd"),
        ({"parent": {"log_id": "log_p"}}, "composio.parent.log.id", "log_p"),
    ],
)
def test_attributes(fields: dict[str, Any], name: str, value: object) -> None:
    assert span_of(bare(**fields)).attributes[name] == value


def test_an_absent_value_is_an_absent_attribute() -> None:
    span = span_of(bare(metadata={"user_id": None, "x": None, "session_id": ""}, context={}, source=None))
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.type": "extension",
        "composio.log.id": "log_a",
        "composio.timing.source": "none",
        "server.address": "backend.composio.dev",
    }


def test_an_unknown_server_is_not_named() -> None:
    assert "server.address" not in span_of(detail(), server_address=None).attributes


def test_a_call_without_a_tool_has_a_name_all_the_same() -> None:
    assert span_of(bare()).name == "execute_tool"
    assert len(span_of(bare(metadata={"tool": "T" * 9000})).name) == 256


def test_a_client_span_names_its_peer() -> None:
    span = span_of(detail(), span_kind=SpanKind.CLIENT)
    assert span.kind is SpanKind.CLIENT
    assert span.attributes["service.peer.name"] == span.attributes["peer.service"] == "gmail"
    assert "peer.service" not in span_of(detail(), span_kind=SpanKind.SERVER).attributes


def test_a_missing_parent_and_links_are_said() -> None:
    record = detail()
    identity = replace(identify("default", record, MissingParent()), links=(Link(b"t" * 16, b"s" * 8),))
    span = span_of(record, identity)
    assert span.attributes["composio.parent.missing"] is True
    assert span.links == (Link(b"t" * 16, b"s" * 8),)
    assert "composio.parent.missing" not in span_of(record).attributes


@pytest.mark.parametrize(
    ("fields", "code", "error_type"),
    [
        ({"status": "success", "message": "all well"}, StatusCode.UNSET, None),
        ({"status": "success", "level": "error"}, StatusCode.UNSET, None),
        ({"status": "failed", "message": "boom"}, StatusCode.ERROR, "_OTHER"),
        ({"status": "FAILED", "message": "boom"}, StatusCode.ERROR, "_OTHER"),
        ({"level": "error", "message": "boom"}, StatusCode.ERROR, "_OTHER"),
        ({}, StatusCode.UNSET, None),
    ],
)
def test_status(fields: dict[str, Any], code: StatusCode, error_type: str | None) -> None:
    span = span_of(bare(**fields))
    assert span.status is code
    assert span.status_message == ("boom" if code is StatusCode.ERROR else "")
    assert span.attributes.get("error.type") == error_type


# ── log record ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "severity", "text"),
    [
        ({"level": "info"}, Severity.INFO, "info"),
        ({"level": "WARN"}, Severity.WARN, "WARN"),
        ({"level": "warning"}, Severity.WARN, "warning"),
        ({"level": "error"}, Severity.ERROR, "error"),
        ({"level": "odd", "status": "failed"}, Severity.ERROR, "odd"),
        ({"level": "odd", "status": "success"}, Severity.INFO, "odd"),
        ({"status": "failed"}, Severity.ERROR, "error"),
        ({}, Severity.INFO, "info"),
    ],
)
def test_severity(fields: dict[str, Any], severity: Severity, text: str) -> None:
    log = log_of(bare(**fields))
    assert (log.severity, log.severity_text) == (severity, text)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"message": "token=abc"}, "token=[REDACTED]"),
        ({"message": "x" * 3000}, "x" * 2028 + "...[cut: 3000 bytes]"),
        ({"message": "  ", "metadata": {"tool": "T"}, "status": "success"}, "T success"),
        ({"metadata": {"tool": "T"}}, "T"),
        ({"status": "failed"}, "tool.execution failed"),
        ({"type": "trigger.message", "status": "success"}, "trigger.message success"),
    ],
)
def test_body(fields: dict[str, Any], body: str) -> None:
    assert log_of(bare(**fields)).body == body


def test_times_of_a_log_record() -> None:
    log = log_of(bare(timings={"start_time": 1000, "end_time": 2000}, timestamp="1970-01-01T00:00:03Z"))
    assert (log.time_ns, log.observed_ns) == (2_000_000_000, 3_000_000_000)
    log = log_of(bare(timings={"start_time": 1000, "end_time": 2000}))
    assert (log.time_ns, log.observed_ns) == (2_000_000_000, 2_000_000_000)


def test_an_entry_that_is_no_tool_call_becomes_a_log_record_that_says_all() -> None:
    record = bare(
        type="trigger.message",
        metadata={"toolkit": "gmail", "trigger": "new mail"},
        metrics={"n": 1},
        source={"host": "api"},
        data={"token": "hunter2", "text": "hi"},
    )
    delivery = deliver(record, content=ContentCapture.SPAN_AND_EVENT)
    assert delivery.span is None
    assert Mapper(OPTIONS).measurement(record) is None
    log = delivery.log
    assert log is not None
    assert (log.trace_id, log.span_id, log.event_name) == (None, None, "composio.trigger.message")
    assert dict(log.attributes) == snapshot(
        {
            "log.record.uid": "log_a",
            "composio.log.id": "log_a",
            "composio.toolkit.slug": "gmail",
            "composio.source.host": "api",
            "composio.data": {"token": "[REDACTED]", "text": "hi"},
            "composio.metadata.trigger": "new mail",
            "composio.metrics.n": 1,
        }
    )


# ── content ──────────────────────────────────────────────────────────────────────────────────────────────
ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"


@pytest.mark.parametrize(
    ("capture", "on_span", "on_event"),
    [
        (ContentCapture.NO_CONTENT, False, False),
        (ContentCapture.SPAN_ONLY, True, False),
        (ContentCapture.EVENT_ONLY, False, True),
        (ContentCapture.SPAN_AND_EVENT, True, True),
    ],
)
def test_content_goes_where_the_setting_says(
    capture: ContentCapture,
    on_span: bool,
    on_event: bool,
) -> None:
    delivery = deliver(detail(), content=capture)
    assert delivery.span is not None
    assert delivery.log is not None
    assert (ARGUMENTS in delivery.span.attributes, RESULT in delivery.span.attributes) == (on_span, on_span)
    assert (ARGUMENTS in delivery.log.attributes, RESULT in delivery.log.attributes) == (on_event, on_event)
    assert "hunter2" not in repr(delivery)
    assert "ada@example.com" not in repr(delivery)


def test_content_is_text_on_a_span_and_structured_on_a_log_record() -> None:
    delivery = deliver(detail(), content=ContentCapture.SPAN_AND_EVENT)
    assert delivery.span is not None
    assert delivery.log is not None
    assert delivery.span.attributes[ARGUMENTS] == snapshot(
        '{"arguments":{"to":"[REDACTED]","password":"[REDACTED]","n":"1180591620717411303424"}}'
    )
    assert delivery.log.attributes[ARGUMENTS] == snapshot(
        {"arguments": {"to": "[REDACTED]", "password": "[REDACTED]", "n": "1180591620717411303424"}}
    )
    assert delivery.log.attributes[RESULT] == {"ok": False, "items": [1, None]}


@pytest.mark.parametrize(
    ("data", "arguments", "result"),
    [
        ({"request": {"a": 1}, "response": {"b": 2}}, {"a": 1}, {"b": 2}),
        ({"arguments": {"a": 1}, "result": "done"}, {"a": 1}, "done"),
        ({"request": None, "input": [1], "output": False}, [1], False),
        ({"params": '{"a": 1}'}, {"a": 1}, None),
        ({"params": "{broken"}, "{broken", None),
        ({"request": {"a": 1}, "error": {"code": 5}}, {"a": 1}, {"error": {"code": 5}}),
        ({"successful": True, "id": 5}, None, {"successful": True, "id": 5}),
        ([1, 2], None, [1, 2]),
        ("text", None, "text"),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_arguments_and_result_are_told_apart(data: object, arguments: object, result: object) -> None:
    log = log_of(bare(data=data), content=ContentCapture.EVENT_ONLY)
    assert log.attributes.get(ARGUMENTS) == arguments
    assert log.attributes.get(RESULT) == result


def test_extra_patterns_reach_the_content() -> None:
    log = log_of(bare(data={"iban": "DE1"}), content=ContentCapture.EVENT_ONLY, redact=("iban",))
    assert log.attributes[RESULT] == {"iban": "[REDACTED]"}


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────
def test_the_number_of_other_keys_is_bounded_and_said() -> None:
    many = {f"k{n:03}": n for n in range(100)}
    span = span_of(bare(metadata=many, metrics=dict(reversed(many.items()))))
    for prefix in ("composio.metadata.", "composio.metrics."):
        kept = [name for name in span.attributes if name.startswith(prefix)]
        assert kept == [f"{prefix}k{n:03}" for n in range(MOST_KEYS)]
    assert span.attributes["composio.truncated"] == 2 * (100 - MOST_KEYS)


def test_two_keys_that_differ_in_white_space_alone_are_one_attribute() -> None:
    span = span_of(bare(metadata={"a b": 1, "a_b": 2}))
    assert span.attributes["composio.metadata.a_b"] == 1
    assert span.attributes["composio.truncated"] == 1


def total(span: Span) -> int:
    return sum(len(name) + size_of(value) for name, value in span.attributes.items())


def test_a_whole_span_is_bounded_and_the_largest_goes_first() -> None:
    metadata = {"tool": "T", "large": "x" * 1500, "larger": "x" * 1600, "small": "x" * 10}
    data = {"request": "y" * 1900, "response": "z" * 100}
    record = bare(metadata=metadata, data=data)
    span = span_of(record, content=ContentCapture.SPAN_ONLY, span_bytes=3000)
    assert total(span) <= 3000
    assert ARGUMENTS not in span.attributes
    assert "composio.metadata.larger" not in span.attributes
    assert span.attributes.keys() >= {RESULT, "composio.metadata.large", "composio.metadata.small"}
    assert span.attributes["composio.truncated"] == 2


def test_what_must_stay_is_cut_where_even_that_is_too_large() -> None:
    record = bare(metadata=dict.fromkeys(("tool", "toolkit", "user_id", "sandbox_id"), "x" * 4000))
    span = span_of(record, span_bytes=4096)
    assert total(span) <= 4096
    assert "...[cut: " in str(span.attributes["user.id"])


def test_one_attribute_is_bounded() -> None:
    span = span_of(bare(metadata={"user_id": "é" * 2000, "other": {"a": "x" * 9000}}))
    assert str(span.attributes["user.id"]).endswith("...[cut: 4000 bytes]")
    assert str(span.attributes["composio.metadata.other"]).endswith("...[cut: 9008 bytes]")
    assert all(size_of(value) <= 2048 for value in span.attributes.values())


# ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────
@given(st.binary(min_size=16, max_size=16), st.floats(0, 1))
@settings(deadline=None)
def test_traces_are_kept_as_opentelemetrys_own_sampler_keeps_them(trace_id: bytes, share: float) -> None:
    decision = TraceIdRatioBased(share).should_sample(None, int.from_bytes(trace_id, "big"), "x").decision
    assert is_kept(trace_id, keep_below(share)) is (decision is Decision.RECORD_AND_SAMPLE)


def test_sampling_leaves_out_spans_but_no_failures_and_no_log_records() -> None:
    left = deliver(detail(status="success"), sample=0.0)
    assert left.span is None
    assert left.log is not None
    assert (left.log.trace_id, left.log.span_id) == (IDENTITY.trace_id, IDENTITY.span_id)
    assert deliver(detail(status="failed"), sample=0.0).span is not None
    assert deliver(detail(status="success"), sample=1.0).span is not None


def test_signals_that_are_not_wanted_are_not_made() -> None:
    assert deliver(detail(), traces=False).span is None
    assert deliver(detail(), logs=False).log is None


# ── measurements ─────────────────────────────────────────────────────────────────────────────────────────
def test_a_call_is_measured() -> None:
    assert Mapper(OPTIONS).measurement(detail()) == Measurement(
        0.202,
        {
            "gen_ai.tool.name": "GMAIL_SEND_EMAIL",
            "composio.toolkit.slug": "gmail",
            "error.type": "429",
            "composio.project": "default",
        },
    )
    assert (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    ) == METRIC_BUCKETS


def test_a_call_of_unknown_duration_is_not_measured_as_zero() -> None:
    assert Mapper(OPTIONS).measurement(bare(timestamp="2026-04-17T10:25:00Z")) is None


def test_reading_a_record_once_for_all_does_not_mix_up_records() -> None:
    mapper = Mapper(OPTIONS)
    one, other = detail(), detail(metadata={"tool": "OTHER"})
    mapper.delivery(one, IDENTITY)
    for record, tool in ((one, "GMAIL_SEND_EMAIL"), (other, "OTHER"), (one, "GMAIL_SEND_EMAIL")):
        measured = mapper.measurement(record)
        assert measured is not None
        assert measured.attributes["gen_ai.tool.name"] == tool


# ── any record at all ────────────────────────────────────────────────────────────────────────────────────
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.sampled_from(["failed", "success", "error", "trigger.message", "9" * 400, "2026-04-17T10:25:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(), max_size=8)
            | st.sampled_from(
                ["tool", "slug", "log_id", "password", "request", "response", "duration_ms", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
fields = [
    "timestamp",
    "type",
    "status",
    "level",
    "message",
    "metadata",
    "metrics",
    "parent",
    "timings",
    "context",
    "source",
    "data",
    "something_else",
]
records = st.fixed_dictionaries(
    {"id": st.text(min_size=1, max_size=20)}, optional=dict.fromkeys(fields, anything)
)


def check_sendable(value: object) -> None:
    if isinstance(value, str):
        assert "\x00" not in value
        value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            check_sendable(key)
            check_sendable(item)
    elif isinstance(value, list):
        for item in value:
            check_sendable(item)
    elif isinstance(value, int):
        assert -(2**63) <= value < 2**63
    else:
        assert value is None or isinstance(value, float)


@given(records, st.sampled_from(ContentCapture), st.sampled_from(SpanKind))
@settings(max_examples=250, deadline=None)
def test_no_record_raises_and_what_comes_out_can_be_sent(
    body: dict[str, Any], capture: ContentCapture, kind: SpanKind
) -> None:
    record = Detail.of_value(body)
    options = replace(OPTIONS, content=capture, span_kind=kind, service_name="{toolkit}", sample=0.5)
    delivery = Mapper(options).delivery(record, identify("default", record, None))
    again = Mapper(options).delivery(Detail.of_value(body), identify("default", record, None))
    assert repr(delivery) == repr(again), "the same record gives the same bytes"
    Mapper(options).measurement(record)
    check_sendable(dict(delivery.resource.attributes))
    if (span := delivery.span) is not None:
        check_sendable([span.name, span.status_message, dict(span.attributes)])
        assert all(span.attributes), "no attribute without a name"
    log = delivery.log
    assert log is not None
    check_sendable([log.body, log.event_name, log.severity_text, dict(log.attributes)])
    assert log.body
