"""OTLP/JSON as the specification says, where it differs from protobuf's own JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from signal_samples import a_delivery, deliveries

from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.exporter.json_format import to_otlp_json
from otel_bridge.exporter.key_values import EncodingError
from otel_bridge.signals import Delivery, Link, SpanKind, StatusCode


def test_one_record_as_the_specification_writes_it() -> None:
    delivery = a_delivery(
        1,
        trace_id=bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"),
        span_id=bytes.fromhex("00f067aa0ba902b7"),
        parent_span_id=bytes.fromhex("00000000000000ff"),
        kind=SpanKind.CLIENT,
        status=StatusCode.ERROR,
        status_message="é",
        start_ns=1_776_421_500_000_000_000,
        attributes={"traceId": "mine", "n": 7, "d": 0.5, "b": b"\xff", "o": {"spanId": ["x"]}},
        links=(Link(b"\x01" * 16, b"\x02" * 8),),
    )

    document = json.loads(to_otlp_json([delivery]))

    [of_resource] = document["resourceSpans"]
    assert of_resource["resource"]["attributes"][0] == {
        "key": "service.name",
        "value": {"stringValue": "composio"},
    }
    [of_scope] = of_resource["scopeSpans"]
    assert of_scope["schemaUrl"].startswith("https://opentelemetry.io/schemas/")
    [span] = of_scope["spans"]
    assert span["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert span["spanId"] == "00f067aa0ba902b7"
    assert span["parentSpanId"] == "00000000000000ff"
    assert span["kind"] == 3
    assert span["status"] == {"code": 2, "message": "é"}
    assert span["startTimeUnixNano"] == "1776421500000000000"
    assert span["links"][0]["traceId"] == "01" * 16
    assert {pair["key"]: pair["value"] for pair in span["attributes"]} == {
        "traceId": {"stringValue": "mine"},
        "n": {"intValue": "7"},
        "d": {"doubleValue": 0.5},
        "b": {"bytesValue": "/w=="},
        "o": {"kvlistValue": {"values": [
            {"key": "spanId", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}}
        ]}},
    }  # fmt: skip
    [log] = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert log["severityNumber"] == 9
    assert log["body"] == {"stringValue": "GMAIL_SEND_EMAIL success"}
    assert log["spanId"] == "0000000000000001"


def _with_base64_ids(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: base64.b64encode(bytes.fromhex(value)).decode()
            if name in ("traceId", "spanId", "parentSpanId")
            else _with_base64_ids(value)
            for name, value in node.items()
        }
    return [_with_base64_ids(inner) for inner in node] if isinstance(node, list) else node


@given(deliveries)
@settings(max_examples=60, deadline=None)
def test_it_says_the_same_as_the_bytes(batch: list[Delivery]) -> None:
    document = _with_base64_ids(json.loads(to_otlp_json(batch)))

    spans = ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    logs = ParseDict(document, ExportLogsServiceRequest(), ignore_unknown_fields=True)

    assert spans == ExportTraceServiceRequest.FromString(encode_traces(batch))
    assert logs == ExportLogsServiceRequest.FromString(encode_logs(batch))


def test_a_record_that_can_not_be_written_says_so() -> None:
    with pytest.raises(EncodingError):
        to_otlp_json([a_delivery(1, end_ns=-1)])
