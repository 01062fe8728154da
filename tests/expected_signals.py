"""What a record must become, restated from the documentation: none of the bridge's mapping is used here."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

_IDENTIFYING = {
    "gen_ai.conversation.id": ("metadata", "session_id"),
    "session.id": ("metadata", "session_id"),
    "user.id": ("metadata", "user_id"),
    "composio.toolkit.slug": ("metadata", "toolkit_slug"),
    "composio.connected_account.id": ("metadata", "connected_account_id"),
    "composio.auth_config.id": ("metadata", "auth_config_id"),
    "composio.sandbox.id": ("metadata", "sandbox_id"),
    "composio.credential.source": ("metadata", "credential_source"),
    "composio.charge.usd": ("metadata", "instant_charge"),
    "composio.request.id": ("context", "request_id"),
    "composio.trace.id": ("context", "trace_id"),
    "composio.source.host": ("source", "host"),
    "composio.source.framework": ("source", "framework"),
    "composio.source.language": ("source", "language"),
    "composio.parent.log.id": ("parent", "log_id"),
    "composio.parent.tool.slug": ("parent", "tool_slug"),
}


def attributes_of(pairs: Any) -> dict[str, Any]:
    """OTLP's list of keys and values as a dict; a key that is there twice fails."""
    found: dict[str, Any] = {}
    for pair in pairs:
        assert isinstance(pair, KeyValue)
        assert pair.key not in found, pair.key
        found[pair.key] = _value(pair.value)
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def timestamp_ns(text: str) -> int:
    """An ISO time in ns since the epoch."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def times_of(record: dict[str, Any]) -> tuple[int, int, str]:
    """Start and end in ns, and where they come from."""
    timings = record.get("timings") or {}
    if "start_time" in timings and "end_time" in timings:
        start, end = (int(Decimal(str(timings[name])) * 10**6) for name in ("start_time", "end_time"))
        return start, end, "timings"
    end = timestamp_ns(record["timestamp"])
    duration = record["metrics"].get("duration_ms")
    if duration is not None:
        return end - int(Decimal(str(duration)) * 10**6), end, "metrics"
    return end, end, "timestamp"


def assert_span(record: dict[str, Any], span: Span, by_id: dict[str, Span]) -> None:
    """Hold a span against the record it came from, field by field."""
    metadata = record["metadata"]
    slug = metadata.get("tool_slug") or metadata.get("tool")
    failed = record["status"] == "failed"
    start, end, source = times_of(record)
    attributes = attributes_of(span.attributes)
    assert span.name == f"execute_tool {slug}"
    assert span.kind == Span.SPAN_KIND_INTERNAL
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (start, end)
    assert attributes["composio.timing.source"] == source
    assert span.status.code == (Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET)
    assert attributes["gen_ai.operation.name"] == "execute_tool"
    assert attributes["gen_ai.tool.name"] == slug
    assert attributes["gen_ai.tool.type"] == "extension"
    assert attributes["composio.log.id"] == record["id"]
    assert attributes["server.address"] == "127.0.0.1"
    assert ("error.type" in attributes) == failed
    if failed and record.get("message") and "@" not in record["message"]:
        assert span.status.message == record["message"]
    context = {**metadata, **{k: v for k, v in (record.get("context") or {}).items() if k == "session_id"}}
    for name, (part, key) in _IDENTIFYING.items():
        wanted = context.get(key) if part == "metadata" else (record.get(part) or {}).get(key)
        assert attributes.get(name) == wanted, name
    assert not any(name.startswith("gen_ai.tool.call.") for name in attributes)
    assert_identity(record, span, by_id)


def assert_identity(record: dict[str, Any], span: Span, by_id: dict[str, Span]) -> None:
    """The rules that decide the trace, in their order."""
    parent = (record.get("parent") or {}).get("log_id")
    trace_id = (record.get("context") or {}).get("trace_id")
    if parent:
        assert span.trace_id == by_id[parent].trace_id
        assert span.parent_span_id == by_id[parent].span_id
        return
    assert span.parent_span_id == b""
    if trace_id and re.fullmatch(r"[0-9a-f]{32}", trace_id.replace("-", "")):
        assert span.trace_id.hex() == trace_id.replace("-", "")
    assert len(span.trace_id) == 16
    assert any(span.trace_id)


def fingerprint(spans: dict[str, Span]) -> str:
    """One text that changes when any byte of any span does."""
    whole = hashlib.sha256()
    for key in sorted(spans):
        whole.update(spans[key].SerializeToString(deterministic=True))
    return whole.hexdigest()


def assert_log(record: dict[str, Any], log: LogRecord, span: Span | None) -> None:
    """Hold a log record against the record it came from."""
    attributes = attributes_of(log.attributes)
    _, end, _ = times_of(record)
    slug = record["metadata"].get("tool_slug") or record["metadata"].get("tool")
    assert log.time_unix_nano == end
    assert log.observed_time_unix_nano == timestamp_ns(record["timestamp"])
    assert log.event_name == f"composio.{record['type']}"
    assert log.severity_number == {"info": 9, "warn": 13, "error": 17}[record["level"]]
    if span is not None:
        assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    message = record.get("message")
    if message and "@" not in message:
        assert log.body.string_value == message
    elif not message and slug:
        assert log.body.string_value == f"{slug} {record['status']}"
    assert attributes["log.record.uid"] == record["id"]
    assert attributes.get("user.id") == record["metadata"].get("user_id")
    assert not any(name.startswith("gen_ai.tool.call.") for name in attributes)
