"""The encoder, held against the SDK's and against protobuf itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry._logs import LogRecord as ApiLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as sdk_encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as sdk_encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from signal_samples import (
    a_delivery,
    a_log,
    attributes,
    deliveries,
    log_records,
    some_deliveries,
    span_ids,
    spans,
)

from otel_bridge import signals
from otel_bridge.exporter.encoding import Encoder, encode_logs, encode_traces, request
from otel_bridge.exporter.key_values import EncodingError

_KINDS = {
    signals.SpanKind.INTERNAL: SpanKind.INTERNAL,
    signals.SpanKind.SERVER: SpanKind.SERVER,
    signals.SpanKind.CLIENT: SpanKind.CLIENT,
}


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=False)


def _sdk_resource(resource: signals.Resource) -> SdkResource:
    return SdkResource(dict(resource.attributes))


def _sdk_scope(scope: signals.Scope) -> InstrumentationScope:
    return InstrumentationScope(scope.name, scope.version, scope.schema_url)


def _sdk_span(delivery: signals.Delivery) -> ReadableSpan:
    span = delivery.span
    assert span is not None
    given: dict[str, Any] = {
        # Set after the fact: the SDK's own checks would drop what OTLP can hold, such as a list of objects.
        "links": [Link(_context(link.trace_id, link.span_id)) for link in span.links],
        "status": Status(StatusCode(span.status.value)),
    }
    made = ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_span_id) if span.parent_span_id else None,
        resource=_sdk_resource(delivery.resource),
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_sdk_scope(delivery.scope),
        **given,
    )
    given["status"]._description = span.status_message
    for link, ours in zip(given["links"], span.links, strict=True):
        link._attributes = ours.attributes
    return made


def _sdk_log(delivery: signals.Delivery) -> ReadableLogRecord:
    log = delivery.log
    assert log is not None
    # A context would be the newer way, and would bring trace flags of its own.
    record = ApiLogRecord(
        timestamp=log.time_ns,
        observed_timestamp=log.observed_ns,
        trace_id=int.from_bytes(log.trace_id or b""),
        span_id=int.from_bytes(log.span_id or b""),
        trace_flags=TraceFlags(0),
        severity_text=log.severity_text,
        severity_number=SeverityNumber(log.severity.value),
        body=log.body,
        attributes=log.attributes,
    )
    record.event_name = log.event_name
    return ReadableLogRecord(record, _sdk_resource(delivery.resource), _sdk_scope(delivery.scope))


def _without_flags(message: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    # The SDK says of each parent and link that it is local. The bridge does not know, and says nothing.
    for of_resource in message.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                span.flags = 0
                for link in span.links:
                    link.flags = 0
    return message


@given(deliveries)
@settings(max_examples=120, deadline=None)
def test_spans_are_encoded_as_the_sdk_encodes_them(batch: list[signals.Delivery]) -> None:
    batch = [delivery for delivery in batch if delivery.span is not None]

    ours = ExportTraceServiceRequest.FromString(encode_traces(batch))

    assert ours == _without_flags(sdk_encode_spans([_sdk_span(delivery) for delivery in batch]))


@given(deliveries)
@settings(max_examples=120, deadline=None)
def test_log_records_are_encoded_as_the_sdk_encodes_them(batch: list[signals.Delivery]) -> None:
    batch = [delivery for delivery in batch if delivery.log is not None]

    ours = ExportLogsServiceRequest.FromString(encode_logs(batch))

    assert ours == sdk_encode_logs([_sdk_log(delivery) for delivery in batch])


@given(deliveries)
@settings(max_examples=100, deadline=None)
def test_the_joined_bytes_are_the_ones_that_protobuf_itself_would_write(
    batch: list[signals.Delivery],
) -> None:
    traces, logs = encode_traces(batch), encode_logs(batch)

    assert ExportTraceServiceRequest.FromString(traces).SerializeToString() == traces
    assert ExportLogsServiceRequest.FromString(logs).SerializeToString() == logs


@given(deliveries)
@settings(max_examples=100, deadline=None)
def test_the_size_that_is_counted_is_never_less_than_the_size_that_is_sent(
    batch: list[signals.Delivery],
) -> None:
    encoder = Encoder()
    records = [record for delivery in batch if (record := encoder.span(delivery)) is not None]

    counted = sum(record.size for record in records) + sum(group.size for group in {r.group for r in records})

    assert len(request(records)) <= counted


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_are_right_at_every_size_of_their_own(size: int) -> None:
    delivery = a_delivery(1, attributes={"a": "x" * size})

    [of_resource] = ExportTraceServiceRequest.FromString(encode_traces([delivery])).resource_spans

    assert of_resource.scope_spans[0].spans[0].attributes[0].value.string_value == "x" * size


def test_records_keep_their_order_inside_their_resource_and_scope() -> None:
    other = signals.Resource((("service.name", "other"),))
    batch = some_deliveries(6)
    batch[1::2] = [dataclasses.replace(delivery, resource=other) for delivery in batch[1::2]]

    message = ExportTraceServiceRequest.FromString(encode_traces(batch))

    order = [
        [int.from_bytes(span.span_id) for span in of_resource.scope_spans[0].spans]
        for of_resource in message.resource_spans
    ]
    assert order == [[1, 3, 5], [2, 4, 6]]


def test_equal_resources_from_different_objects_are_sent_once() -> None:
    batch = [
        dataclasses.replace(delivery, resource=signals.Resource((("list", ["a", "b"]),)))
        for delivery in some_deliveries(3)
    ]

    assert len(ExportTraceServiceRequest.FromString(encode_traces(batch)).resource_spans) == 1


def test_a_log_record_without_a_span_has_no_ids() -> None:
    delivery = dataclasses.replace(a_delivery(1), span=None, log=a_log(1, trace_id=None, span_id=None))

    [of_resource] = ExportLogsServiceRequest.FromString(encode_logs([delivery])).resource_logs

    record = of_resource.scope_logs[0].log_records[0]
    assert (record.trace_id, record.span_id) == (b"", b"")
    assert encode_traces([delivery]) == b""


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = {"deeper": value}
    return value


class _Odd:
    pass


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trace_id": b"short"}, "the trace id has 5 bytes: takes 16"),
        ({"trace_id": bytes(16)}, "the trace id is all zeros"),
        ({"span_id": b"123456789"}, "the span id has 9 bytes: takes 8"),
        ({"parent_span_id": b""}, "the parent span id has 0 bytes: takes 8"),
        ({"links": (signals.Link(b"x", b"y"),)}, "the trace id of a link has 1 bytes: takes 16"),
        ({"start_ns": -1}, "a number or a time is outside its 64 bits"),
        ({"end_ns": 2**64}, "a number or a time is outside its 64 bits"),
        ({"attributes": {"secret": 2**63}}, "a number or a time is outside its 64 bits"),
        ({"name": "secret \ud800"}, "a text holds a lone surrogate, which UTF-8 can't hold"),
        ({"attributes": {"a": ["secret \udfff"]}}, "a text holds a lone surrogate, which UTF-8 can't hold"),
        ({"attributes": {"a": _Odd()}}, "an attribute holds something that OTLP has no type for"),
        ({"attributes": {"a": {1: "secret"}}}, "a field holds a value of the wrong type"),
        ({"attributes": {"a": _nested(31)}}, "an attribute is nested more than 30 deep"),
    ],
)
def test_a_record_that_can_not_be_encoded_says_why_and_nothing_of_itself(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(EncodingError) as caught:
        Encoder().span(a_delivery(1, **changes))

    assert str(caught.value) == reason


def test_a_log_record_that_can_not_be_encoded_says_why() -> None:
    with pytest.raises(EncodingError, match="outside its 64 bits"):
        Encoder().log(dataclasses.replace(a_delivery(1), log=a_log(1, time_ns=-1)))


def test_the_deepest_attribute_that_is_encoded_can_be_read_by_others() -> None:
    body = encode_traces([a_delivery(1, attributes={"a": _nested(29), "b": [[[[None]]]]})])

    assert len(ExportTraceServiceRequest.FromString(body).resource_spans) == 1


@given(spans, log_records, attributes, span_ids)
@settings(max_examples=20, deadline=None)
def test_the_same_delivery_is_the_same_bytes(
    span: signals.Span, log: signals.LogRecord, extra: signals.Attributes, span_id: bytes
) -> None:
    span = dataclasses.replace(span, attributes=extra, span_id=span_id)
    delivery = dataclasses.replace(a_delivery(1), span=span, log=log)

    assert encode_traces([delivery]) == encode_traces([dataclasses.replace(delivery)])
    assert encode_logs([delivery]) == encode_logs([dataclasses.replace(delivery)])
