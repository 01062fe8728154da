"""What one record has become and why, in lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.exporter.sender import one_line
from otel_bridge.mapping.identity import Rule
from otel_bridge.times import format_length, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_bridge.mapping.identity import Identity
    from otel_bridge.receiver.models import Detail
    from otel_bridge.signals import Delivery, LogRecord, Span

_NS_PER_MS = 1_000_000


def explain(record: Detail, delivery: Delivery, identity: Identity) -> list[str]:
    """What a picture leaves out: ids, the rule that chose the trace and why, times, every attribute.

    Args:
        record: As the source has it.
        delivery: What it becomes.
        identity: Where it stands.
    """
    pairs: list[tuple[str, str]] = []
    if delivery.span is not None:
        pairs += [*_identity(identity), *_span(delivery.span)]
    else:
        pairs.append(("span", f"none: {_why_no_span(record, identity)}"))
        if delivery.log is not None:
            pairs += _log(delivery.log)
    if record.is_tool_execution:
        pairs += [("trace chosen by", identity.rule.text), ("because", because(record, identity))]
    signal = delivery.span or delivery.log
    attributes = [] if signal is None else [*delivery.resource.attributes, *signal.attributes.items()]
    return [*_table(pairs), "", *_table([(name, str(value)) for name, value in attributes])]


def because(record: Detail, identity: Identity) -> str:
    """Why the rule that chose the trace applied, with what the record says."""
    context = record.context
    trace_id = context.trace_id if context is not None else None
    request_id = context.request_id if context is not None else None
    reasons = {
        Rule.PARENT: f"it names the parent {record.parent_log_id}, which is known",
        Rule.CORRELATION: "the application reported the span that made this call",
        Rule.TRACEPARENT: f"its request id {request_id} is a traceparent",
        Rule.UNSAMPLED: "the span that made this call is marked as not sampled (OTEL_BRIDGE_UNSAMPLED)",
        Rule.TRACE_ID: f"its trace id {trace_id} is a W3C trace id",
        Rule.TRACE_ID_HASHED: f"its trace id {trace_id} is no W3C trace id (32 hexadecimal digits)",
        Rule.SESSION: "calls of one session share a trace (OTEL_BRIDGE_GROUP_BY)",
        Rule.LOG_ID: "nothing else places it: no correlation, no traceparent, no trace id",
    }
    why = reasons[identity.rule]
    if identity.looping:
        return f"its parents lead back to itself; {why}"
    if identity.parent_missing:
        return f"its parent {record.parent_log_id} can't be had; {why}"
    return why


def _identity(identity: Identity) -> Iterator[tuple[str, str]]:
    parent = identity.parent_span_id.hex() if identity.parent_span_id else "none"
    yield "trace id", identity.trace_id.hex()
    yield "span id", identity.span_id.hex()
    yield "parent span id", f"{parent}{' (its record can not be had)' if identity.parent_missing else ''}"
    for link in identity.links:
        yield "linked to", f"span {link.span_id.hex()} of trace {link.trace_id.hex()}"


def _span(span: Span) -> Iterator[tuple[str, str]]:
    yield "name", span.name
    yield "kind", span.kind.name.lower()
    yield "start", format_time(span.start_ns // _NS_PER_MS)
    length = format_length((span.end_ns - span.start_ns) / _NS_PER_MS)
    yield "end", f"{format_time(span.end_ns // _NS_PER_MS)}, {length} later"
    message = f": {span.status_message}" if span.status_message else ""
    yield "status", f"{span.status.name.lower()}{message}"


def _log(log: LogRecord) -> Iterator[tuple[str, str]]:
    if log.trace_id is not None:
        yield "trace id", f"{log.trace_id.hex()} (on the log record)"
    yield "event", log.event_name
    yield "time", format_time(log.time_ns // _NS_PER_MS)
    yield "severity", log.severity_text
    yield "body", log.body


def _why_no_span(record: Detail, identity: Identity) -> str:
    if not record.is_tool_execution:
        return f"an entry of type {record.type} becomes a log record only"
    if not identity.sampled:
        return "the application did not sample its trace (OTEL_BRIDGE_UNSAMPLED)"
    return "its trace is not kept (OTEL_BRIDGE_SAMPLE), or spans are not sent (OTEL_BRIDGE_SIGNALS)"


def _table(pairs: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{one_line(name):{width}}  {one_line(value)}" for name, value in pairs]
