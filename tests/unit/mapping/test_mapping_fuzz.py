"""Whatever the source answers: an entry that is mapped and encoded, or one clear word; never a surprise."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.mapping.identity import identify
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import ContentCapture, MappingOptions
from otel_bridge.receiver.decoding import UndecodableBody, WrongShape
from otel_bridge.receiver.models import Detail, UsageSummary
from otel_bridge.receiver.page import read_page

KEYS = (
    *("id", "timestamp", "type", "status", "level", "message", "metadata", "metrics", "parent", "timings"),
    *("context", "source", "data", "logs", "next_cursor", "tool_slug", "tool", "toolkit_slug", "slug"),
    *("user_id", "session_id", "trace_id", "request_id", "log_id", "start_time", "end_time", "duration_ms"),
    *("instant_charge", "password", "authorization", "error", "statusCode", "http_error", "successful"),
)
TEXTS = ("tool.execution", "failed", "success", "2026-04-17T10:00:00Z", "0" * 32, "00-1-2-01", "1e400")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=30),
    st.text(st.characters(codec=None, categories=["Cs", "Cc"]), max_size=5),
    st.sampled_from(TEXTS),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), inner, max_size=5),
    ),
    max_leaves=20,
)
records = st.builds(
    lambda log_id, rest: {**rest, "id": log_id},
    st.text(min_size=1, max_size=40),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=10),
)
ALL = ContentCapture.SPAN_AND_EVENT
MAPPERS = [
    Mapper(MappingOptions("fuzz", content=ALL, span_bytes=4096, attribute_bytes=64)),
    Mapper(MappingOptions("fuzz", service_name="x-{toolkit}", sample=0.5)),
]


@settings(max_examples=80)
@given(record=records)
def test_any_record_is_delivered_or_set_aside(record: dict[str, Any]) -> None:
    try:
        detail = Detail.read(json.dumps(record).encode())
    except WrongShape as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        return
    identity = identify("fuzz", detail, None)
    for mapper in MAPPERS:
        delivery = mapper.delivery(detail, identity)
        assert delivery == mapper.delivery(detail, identity)
        assert ExportTraceServiceRequest.FromString(encode_traces([delivery])) is not None
        (resource,) = ExportLogsServiceRequest.FromString(encode_logs([delivery])).resource_logs
        assert len(resource.scope_logs[0].log_records) == 1
        mapper.measurement(detail)


@settings(max_examples=80)
@given(body=st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode())))
def test_any_answer_is_read_or_refused_in_one_line(body: bytes) -> None:
    for read in (read_page, partial(read_page, whole=False), Detail.read, UsageSummary.read):
        try:
            read(body)
        except (UndecodableBody, WrongShape) as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right


@settings(max_examples=50)
@given(entries=st.lists(st.one_of(records, values), max_size=6))
def test_no_entry_of_a_page_is_lost(entries: list[Any]) -> None:
    body = json.dumps({"logs": entries, "next_cursor": None}).encode()
    for whole in (True, False):
        page = read_page(body, whole=whole)
        assert len(page.entries) + len(page.unreadable) == len(entries)
