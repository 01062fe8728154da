"""Metrics, spans and log records of the bridge's own go where the settings say, however that is reached."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import grpc
import pytest
from certificates import make_certificates
from opentelemetry.sdk.resources import Resource
from recording_sink import RecordingSink

from otel_bridge.exporter.destination import Signal, destination_from
from otel_bridge.telemetry import catalogue as c
from otel_bridge.telemetry.exporters import log_exporter, metric_exporter, span_exporter
from otel_bridge.telemetry.log_records import OwnLogRecords
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.tracing import OwnSpans

if TYPE_CHECKING:
    from pathlib import Path

OWN = Resource({"service.name": "otel-bridge"})


def send(variables: dict[str, str]) -> None:
    """One metric, one span, one log record; blocks until they are sent."""
    meters = Meters(OWN, OWN, exporter=metric_exporter(destination_from(Signal.METRICS, variables)))
    meters.add(c.DELIVERED, 1, "p", "live")
    spans = OwnSpans(OWN, span_exporter(destination_from(Signal.TRACES, variables)))
    with spans.span("window"):
        pass
    records = OwnLogRecords(OWN, log_exporter(destination_from(Signal.LOGS, variables)))
    records.handle(logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO}))
    for end in (meters.close, spans.close, records.close):
        end()


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
        await asyncio.to_thread(send, {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert {each.signal for each in sink.received} == {"metrics", "traces", "logs"}
    assert {each.headers["x-token"] for each in sink.received} == {"abc"}
    assert all("x-other" not in each.headers for each in sink.received)
