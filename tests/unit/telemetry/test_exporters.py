"""Metrics, spans and log records of the bridge's own go where the settings say, however that is reached."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import grpc
import pytest
from certificates import make_certificates
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.resources import Resource
from recording_sink import GrpcAnswer, HttpAnswer, RecordingSink
from relays import Relay

from otel_bridge.exporter.destination import Signal, destination_from
from otel_bridge.exporter.otlp import sender_for
from otel_bridge.telemetry import catalogue as c
from otel_bridge.telemetry.exporters import OwnLogExporter, OwnMetricExporter, OwnSpanExporter
from otel_bridge.telemetry.log_records import OwnLogRecords
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.sending import Sending
from otel_bridge.telemetry.tracing import OwnSpans
from otel_bridge.telemetry.watched import Watch

if TYPE_CHECKING:
    from pathlib import Path

OWN = Resource({"service.name": "otel-bridge"})


def sending(signal: Signal, variables: dict[str, str], said: list[str] | None = None) -> Sending:
    """To be made on the event loop."""
    to = destination_from(signal, variables)
    watch = Watch(signal.value, to.where, (said if said is not None else []).append)
    return Sending(sender_for(to), to.timeout_ms / 1000, watch)


async def send(variables: dict[str, str]) -> None:
    """One metric, one span, one log record, from a thread of the SDK's."""
    ways = {signal: sending(signal, variables) for signal in Signal}

    def all_three() -> None:
        meters = Meters(OWN, OWN, exporter=OwnMetricExporter(ways[Signal.METRICS]))
        meters.add(c.DELIVERED, 1, "p", "live")
        spans = OwnSpans(OWN, OwnSpanExporter(ways[Signal.TRACES]))
        with spans.span("window"):
            pass
        records = OwnLogRecords(OWN, OwnLogExporter(ways[Signal.LOGS]))
        records.handle(logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO}))
        for end in (meters.close, spans.close, records.close):
            end()

    await asyncio.to_thread(all_three)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_all_three_arrive(
    tmp_path: Path, protocol: str, *, encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The exporters' own reading of the environment must not come into it.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1")
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_HEADERS": "x-token=abc"}
    http_tls, grpc_tls = None, None
    if encrypted:
        made = await asyncio.to_thread(make_certificates, tmp_path)
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(made.authority)
        http_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        http_tls.load_cert_chain(made.server, made.server_key)
        pair = (made.server_key.read_bytes(), made.server.read_bytes())
        grpc_tls = grpc.ssl_server_credentials([pair])
    async with RecordingSink(http_tls, grpc_tls) as sink:
        endpoint = sink.grpc_endpoint if protocol == "grpc" else sink.http_endpoint
        await send({**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert {each.signal for each in sink.received} == {"metrics", "traces", "logs"}
    assert {each.headers["x-token"] for each in sink.received} == {"abc"}
    assert all("x-other" not in each.headers for each in sink.received)


def variables_for(port: int, protocol: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1500",
    }


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("fault", ["closed", "silent"])
async def test_a_connection_that_has_gone_costs_nothing(protocol: str, fault: str) -> None:
    said: list[str] = []
    async with RecordingSink() as sink:
        port = sink.grpc_port if protocol == "grpc" else sink.http_port
        async with Relay(port) as relay:
            way = sending(Signal.TRACES, variables_for(relay.port, protocol), said)
            assert await asyncio.to_thread(way.send, b"")
            relay.cut() if fault == "closed" else relay.forget()
            assert await asyncio.to_thread(way.send, b"")
            await asyncio.to_thread(way.close)
    assert len(sink.received) == 2
    assert said == []


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_what_may_pass_is_tried_again_and_what_is_refused_is_not(protocol: str) -> None:
    said: list[str] = []
    async with RecordingSink() as sink:
        port = sink.grpc_port if protocol == "grpc" else sink.http_port
        way = sending(
            Signal.METRICS, {**variables_for(port, protocol), "OTEL_EXPORTER_OTLP_TIMEOUT": "5000"}, said
        )
        sink.http_answers.extend([HttpAnswer(503), HttpAnswer(), HttpAnswer(400)])
        sink.grpc_answers.extend(
            GrpcAnswer(code)
            for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
        )
        assert await asyncio.to_thread(way.send, b"")
        assert len(sink.received) == 2
        assert not await asyncio.to_thread(way.send, b"")
        assert len(sink.received) == 3
        assert await asyncio.to_thread(way.send, b"")
        await asyncio.to_thread(way.close)
    assert len(said) == 2, said
    assert said[0].startswith(f"metrics are not taken by http://localhost:{port}")
    assert said[1].endswith("takes them again")


async def test_an_end_cuts_short_what_is_being_sent_and_comes_last() -> None:
    async with RecordingSink() as sink:
        way = sending(
            Signal.TRACES,
            {**variables_for(sink.http_port, "http/protobuf"), "OTEL_EXPORTER_OTLP_TIMEOUT": "60000"},
        )
        sink.http_answers.append(HttpAnswer(delay_s=60))
        hanging = asyncio.create_task(asyncio.to_thread(way.send, b""))
        while not sink.received:  # noqa: ASYNC110 - another program's view
            await asyncio.sleep(0.01)
        await asyncio.to_thread(way.close)
        async with asyncio.timeout(5):
            assert not await hanging
        assert not await asyncio.to_thread(way.send, b"")
        await asyncio.to_thread(way.close)
        assert len(sink.received) == 1


def test_a_loop_that_has_ended_takes_nothing() -> None:
    async def make() -> Sending:
        return sending(Signal.TRACES, {})

    way = asyncio.run(make())
    assert not way.send(b"")
    way.close()


@pytest.mark.parametrize(
    ("preference", "delta"),
    [
        (None, set()),
        ("cumulative", set()),
        ("nonsense", set()),
        ("DELTA", {Counter, ObservableCounter, Histogram}),
        ("lowmemory", {Counter, Histogram}),
    ],
)
async def test_metrics_are_since_the_start_unless_the_standard_variable_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, preference: str | None, delta: set[type]
) -> None:
    name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    monkeypatch.delenv(name, raising=False)
    if preference is not None:
        monkeypatch.setenv(name, preference)
    way = sending(Signal.METRICS, {})
    exporter = OwnMetricExporter(way)
    found = {
        kind
        for kind in (Counter, ObservableCounter, Histogram, UpDownCounter)
        if (exporter._preferred_temporality or {}).get(kind) is AggregationTemporality.DELTA
    }
    assert found == delta
    await asyncio.to_thread(way.close)
