"""What comes out of an independent collector is what the exporter was given, field by field."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from recording_sink import RecordingSink
from rotel_process import Rotel, running_rotel
from signal_samples import RESOURCE, SCOPE, a_log, a_span

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.exporter.destination import Signal, destination_from
from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.retry import Backoff
from otel_bridge.signals import Delivery, Link, Resource, Severity, SpanKind, StatusCode
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.signals import Outcome

pytestmark = pytest.mark.backend

COUNT = 700  # more than one batch

EVERYTHING = Delivery(
    "log_everything",
    Resource((("service.name", "composio"), ("list", ("a", "b")), ("number", 7), ("flag", True))),
    SCOPE,
    a_span(
        9001,
        parent_span_id=b"\x01" * 8,
        kind=SpanKind.CLIENT,
        status=StatusCode.ERROR,
        status_message="invalid recipient — Ünïcode 💥",
        links=(Link(b"\x02" * 16, b"\x03" * 8, {"why": "set aside"}),),
        attributes={
            "text": "é\u0000\n\u202e",
            "true": True,
            "int": 2**63 - 1,
            "negative": -(2**63),
            "double": 0.1,
            "bytes": b"\x00\xff",
            "list": [1, "two", [3.0, None]],
            "object": {"a": {"b": [True, {}]}, "": []},
            "empty": "",
        },
    ),
    a_log(9001, severity=Severity.ERROR, severity_text="error", attributes={"object": {"k": ["v"]}}),
)


def _deliveries() -> list[Delivery]:
    plain = [
        Delivery(f"log_{number}", RESOURCE, SCOPE, a_span(number), a_log(number))
        for number in range(1, COUNT + 1)
    ]
    event = Delivery(
        "log_event", RESOURCE, SCOPE, None, a_log(9002, trace_id=None, span_id=None, event_name="composio.x")
    )
    return [*plain, EVERYTHING, event]


@pytest.fixture
async def sink() -> AsyncIterator[RecordingSink]:
    async with RecordingSink() as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
async def rotel(sink: RecordingSink, request: pytest.FixtureRequest) -> AsyncIterator[Rotel]:
    """Forwards over either protocol; how it is fed is each test's choice."""
    onward = sink.http_endpoint if request.param == "http" else sink.grpc_endpoint
    async with running_rotel(onward, protocol=request.param) as running:
        yield running


def _exporter(rotel: Rotel, protocol: str, *, compression: str = "gzip", **options: Any) -> OtlpExporter:
    variables = {
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": rotel.grpc_endpoint if protocol == "grpc" else rotel.http_endpoint,
    }
    destinations = {signal: destination_from(signal, variables) for signal in (Signal.TRACES, Signal.LOGS)}
    return OtlpExporter(destinations, clock=SystemClock(), **options)


async def _export(rotel: Rotel, protocol: str, deliveries: list[Delivery], **options: Any) -> Outcome:
    exporter = _exporter(rotel, protocol, **options)
    try:
        return await exporter.export(deliveries)
    finally:
        await exporter.aclose()


def _spans(deliveries: list[Delivery]) -> list[Any]:
    message = ExportTraceServiceRequest.FromString(encode_traces(deliveries))
    return sorted(
        repr([MessageToDict(r.resource), MessageToDict(s.scope), MessageToDict(span)])
        for r in message.resource_spans
        for s in r.scope_spans
        for span in s.spans
    )


def _logs(deliveries: list[Delivery]) -> list[Any]:
    message = ExportLogsServiceRequest.FromString(encode_logs(deliveries))
    return sorted(
        repr([MessageToDict(r.resource), MessageToDict(s.scope), MessageToDict(log)])
        for r in message.resource_logs
        for s in r.scope_logs
        for log in s.log_records
    )


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_what_goes_in_comes_out(rotel: Rotel, sink: RecordingSink, protocol: str) -> None:
    deliveries = _deliveries()

    outcome = await _export(rotel, protocol, deliveries)
    await sink.wait_for(spans=COUNT + 1, logs=COUNT + 2)

    assert outcome.delivered == [delivery.key for delivery in deliveries]
    assert (outcome.refused, outcome.warnings, outcome.resent) == ({}, [], 0)
    came_out = sorted(repr([MessageToDict(part) for part in parts]) for parts in sink.spans())
    assert came_out == _spans(deliveries)
    came_out = sorted(repr([MessageToDict(part) for part in parts]) for parts in sink.logs())
    assert came_out == _logs(deliveries)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_batch_over_the_collector_s_limit_is_split_and_arrives(
    rotel: Rotel, sink: RecordingSink, protocol: str
) -> None:
    large = [
        Delivery(f"log_{n}", RESOURCE, SCOPE, a_span(n, attributes={"text": "x" * 100_000}), None)
        for n in range(1, 61)
    ]

    # Uncompressed: its gRPC limit of 4 MiB is on what comes over the wire.
    outcome = await _export(rotel, protocol, large, max_bytes=100_000_000, compression="none")
    await sink.wait_for(spans=60)

    assert len(outcome.delivered) == 60
    assert sorted(int.from_bytes(span.span_id) for _, _, span in sink.spans()) == list(range(1, 61))


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_probe_finds_it_and_misses_it_once_it_is_gone(sink: RecordingSink, protocol: str) -> None:
    async with running_rotel(sink.http_endpoint) as rotel:
        exporter = _exporter(rotel, protocol)
        await exporter.probe(Signal.TRACES)
        await exporter.probe(Signal.LOGS)
    with pytest.raises(DestinationUnavailable):
        await exporter.probe(Signal.TRACES)
    await exporter.aclose()

    assert not list(sink.spans())


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_collector_that_comes_back_is_given_what_waited(sink: RecordingSink, protocol: str) -> None:
    async with running_rotel(sink.http_endpoint) as gone:
        pass
    down = asyncio.Event()
    exporter = _exporter(
        gone, protocol, backoff=Backoff(first_s=0.05, attempts=4), on_retry=lambda *_: down.set()
    )
    with pytest.raises(DestinationUnavailable):
        await exporter.export(_deliveries()[:3])
    await exporter.aclose()
    assert down.is_set()

    async with running_rotel(sink.http_endpoint) as back:
        await _export(back, protocol, _deliveries()[:3])
        await sink.wait_for(spans=3, logs=3)
