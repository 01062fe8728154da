"""The bridge's own spans and log records: their shape, what they leave out, and how they end."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from otel_bridge.errors import DestinationRefused, DestinationUnavailable, SourceFailed
from otel_bridge.service import logs
from otel_bridge.telemetry.log_records import OWN_EXPORT, OwnLogRecords
from otel_bridge.telemetry.resource import own_resource, tool_call_resource
from otel_bridge.telemetry.tracing import OwnSpans, Spans, current_ids
from otel_bridge.telemetry.watched import Watch, ended_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

OWN = Resource({"service.name": "otel-bridge"})


class KeptSpans(SpanExporter):
    def __init__(self, *results: SpanExportResult) -> None:
        self.sent: list[ReadableSpan] = []
        self.results = list(results)
        self.ended = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sent.extend(spans)
        return self.results.pop(0) if self.results else SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 0) -> bool:
        del timeout_millis
        return True

    def shutdown(self) -> None:
        self.ended += 1


class KeptLogs(LogRecordExporter):
    def __init__(self) -> None:
        self.sent: list[ReadableLogRecord] = []
        self.result = LogRecordExportResult.SUCCESS

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.sent.extend(batch)
        return self.result

    def force_flush(self, timeout_millis: int = 0) -> bool:
        del timeout_millis
        return True

    def shutdown(self) -> None:
        pass


def test_spans_nest_and_carry_facts() -> None:
    kept = KeptSpans()
    spans = OwnSpans(OWN, kept)
    with spans.span("window", lane="live"), spans.span("list") as span:
        span.set_attribute("otel_bridge.listed", 3)
        assert current_ids() is not None
    assert current_ids() is None
    spans.close()
    inner, outer = kept.sent
    assert inner.name == "list"
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {"otel_bridge.lane": "live"}
    assert outer.resource.attributes["service.name"] == "otel-bridge"
    assert kept.ended == 1


def test_a_failure_is_told_and_one_nobody_foresaw_without_its_words() -> None:
    kept = KeptSpans()
    spans = OwnSpans(OWN, kept)
    with pytest.raises(SourceFailed), spans.span("list"):
        raise SourceFailed("POST /x was answered with 502")
    with pytest.raises(ZeroDivisionError), spans.span("list"):
        raise ZeroDivisionError("payload")
    spans.close()
    known, unknown = kept.sent
    assert (known.status.status_code, known.status.description) == (
        StatusCode.ERROR,
        "POST /x was answered with 502",
    )
    assert (unknown.status.status_code, unknown.status.description) == (StatusCode.ERROR, None)
    assert dict(unknown.attributes or {}) == {"error.type": "ZeroDivisionError"}
    assert not unknown.events


def test_the_environment_meant_for_others_does_not_switch_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    kept = KeptSpans()
    spans = OwnSpans(OWN, kept)
    with spans.span("window"):
        pass
    spans.close()
    assert len(kept.sent) == 1


def test_without_tracing_nothing_is_made() -> None:
    with Spans().span("window", lane="live") as span:
        span.set_attribute("x", 1)
        assert current_ids() is None
    Spans().close()


def test_events_become_log_records_with_the_span_around_them() -> None:
    kept, traced = KeptLogs(), KeptSpans()
    spans, records = OwnSpans(OWN, traced), OwnLogRecords(OWN, kept)
    stream = io.StringIO()
    logs.set_up("info", "json", stream)
    with logs.also_to(records), spans.span("window"):
        logs.event(logging.WARNING, "rate_limited", "wait", wait_s=1.5, odd={"a": 1})
        logs.event(logging.WARNING, OWN_EXPORT, "they are not taken")
        logging.getLogger("otel_bridge").error("no event")
    logs.event(logging.WARNING, "rate_limited", "after")
    records.close()
    spans.close()
    first, second = (each.log_record for each in kept.sent)
    (window,) = traced.sent
    assert window.context is not None
    assert first.event_name == "otel_bridge.rate_limited"
    assert (first.body, first.severity_text) == ("wait", "WARNING")
    assert dict(first.attributes or {}) == {"otel_bridge.wait_s": 1.5, "otel_bridge.odd": "{'a': 1}"}
    assert (first.trace_id, first.span_id) == (window.context.trace_id, window.context.span_id)
    assert (second.event_name, second.body) == (None, "no event")
    line = json.loads(stream.getvalue().splitlines()[0])
    assert line["trace_id"] == f"{window.context.trace_id:032x}"
    assert line["span_id"] == f"{window.context.span_id:016x}"


def test_a_destination_that_takes_nothing_is_said_once_and_when_it_does_again() -> None:
    said: list[str] = []
    watch = Watch("spans", "http://x", said.append)
    error = DestinationUnavailable("POST http://x: connection refused")
    for each in (error, error, None, None, error):
        watch.ended(each)
    failing = "spans are not taken, tool calls go on: POST http://x: connection refused"
    assert said == [failing, "spans: http://x takes them again", failing]
    watch = Watch("spans", "http://x", said.append)
    watch.ended(DestinationRefused("400 Bad Request"))
    assert said[3] == "spans are not taken by http://x, tool calls go on: 400 Bad Request"


def test_an_end_that_takes_too_long_is_given_up() -> None:
    gave_up = threading.Event()
    began = time.monotonic()
    ended_within(0.05, lambda: gave_up.wait(10), gave_up.set)
    assert gave_up.is_set()
    assert time.monotonic() - began < 5
    ended_within(5, lambda: None, lambda: pytest.fail("it had ended"))


def test_who_the_bridge_is() -> None:
    given: dict[str, Any] = {"deployment.environment.name": "test", "service.name": "theirs"}
    one, other = own_resource(given).attributes, own_resource(given).attributes
    assert one["service.name"] == "otel-bridge"
    assert one["deployment.environment.name"] == "test"
    assert one["service.instance.id"] != other["service.instance.id"]
    assert own_resource({}, "me").attributes["service.instance.id"] == "me"
    assert tool_call_resource("tools-{toolkit}", {}).attributes == {"service.name": "tools"}
    assert tool_call_resource("{project}", {"a": "b"}).attributes == {"service.name": "composio", "a": "b"}
