"""Deliveries for tests of everything that takes or makes them, and hypothesis' strategies for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from otel_bridge.signals import (
    Attributes,
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

NS_PER_MS = 1_000_000
START_NS = 1_776_421_500_000 * NS_PER_MS  # 2026-04-17T10:25:00Z
RESOURCE = Resource((("service.name", "composio"), ("composio.project", "default")))
SCOPE = Scope("otel_bridge", "0.1.0", "https://opentelemetry.io/schemas/1.45.0")


def a_span(number: int, **changes: Any) -> Span:
    """One span of a trace of its own."""
    values: dict[str, Any] = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": None,
        "name": "execute_tool GMAIL_SEND_EMAIL",
        "kind": SpanKind.INTERNAL,
        "start_ns": START_NS + number * NS_PER_MS,
        "end_ns": START_NS + (number + 200) * NS_PER_MS,
        "attributes": {"gen_ai.tool.name": "GMAIL_SEND_EMAIL", "composio.log.id": f"log_{number:04}"},
    }
    return Span(**(values | changes))


def a_log(number: int, **changes: Any) -> LogRecord:
    """The log record of `a_span`."""
    values: dict[str, Any] = {
        "time_ns": START_NS + (number + 200) * NS_PER_MS,
        "observed_ns": START_NS + number * NS_PER_MS,
        "severity": Severity.INFO,
        "severity_text": "info",
        "body": "GMAIL_SEND_EMAIL success",
        "event_name": "composio.tool.execution",
        "attributes": {"log.record.uid": f"log_{number:04}"},
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
    }
    return LogRecord(**(values | changes))


def a_delivery(number: int, *, logs: bool = True, **span: Any) -> Delivery:
    """One delivery, numbered from 1; keywords change its span."""
    log = a_log(number) if logs else None
    return Delivery(f"log_{number:04}", RESOURCE, SCOPE, a_span(number, **span), log)


def some_deliveries(count: int, *, logs: bool = True) -> list[Delivery]:
    """Deliveries 1 to ``count``."""
    return [a_delivery(number, logs=logs) for number in range(1, count + 1)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=6)
)
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
attributes: st.SearchStrategy[Attributes] = st.dictionaries(texts.filter(bool), values, max_size=5)
times = st.integers(0, 2**63 - 1)
trace_ids = st.integers(1, 2**128 - 1).map(lambda number: number.to_bytes(16, "big"))
span_ids = st.integers(1, 2**64 - 1).map(lambda number: number.to_bytes(8, "big"))
links = st.builds(Link, trace_id=trace_ids, span_id=span_ids, attributes=attributes)
spans = st.builds(
    Span,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.none() | span_ids,
    name=texts,
    kind=st.sampled_from(SpanKind),
    start_ns=times,
    end_ns=times,
    attributes=attributes,
    status=st.sampled_from(StatusCode),
    status_message=texts,
    links=st.lists(links, max_size=2).map(tuple),
)
log_records = st.builds(
    LogRecord,
    time_ns=times,
    observed_ns=times,
    severity=st.sampled_from(Severity),
    severity_text=texts,
    body=texts,
    event_name=texts,
    attributes=attributes,
    trace_id=trace_ids,
    span_id=span_ids,
)
resources = st.sampled_from(
    [
        RESOURCE,
        Resource((("service.name", "composio"), ("composio.project", "other"))),
        Resource((("flag", True), ("list", ("a", "b")))),
        Resource((("flag", 1),)),
    ]
)
scopes = st.sampled_from([SCOPE, Scope("otel_bridge", "0.2.0", "")])
deliveries = st.lists(
    st.builds(
        Delivery,
        key=st.uuids().map(str),
        resource=resources,
        scope=scopes,
        span=st.none() | spans,
        log=st.none() | log_records,
    ),
    max_size=8,
)
