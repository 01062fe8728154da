"""What becomes of long-lived connections in real networks, and that it costs no record and few seconds."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from fault_stage import Service, Stage, service, stage
from recording_sink import RecordingSink
from relays import Relay

from otel_bridge.emulator.records import TOOL_EXECUTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)
PROTOCOLS = ("http/protobuf", "grpc")
RETRIES = re.compile(r'otel_bridge_export_retries_total\{otel_bridge_signal="traces"\} (\d+)')
UNANSWERED = re.compile(r'otel_bridge_source_request_duration_seconds_count\{(?!.*status_code="\d).*')


@dataclass
class Playing:
    """A service whose source and destination are reached through relays."""

    on: Stage
    running: Service
    sink: RecordingSink
    to_source: Relay
    to_sink: Relay
    port: int

    @property
    def spans(self) -> int:
        return sum(1 for _ in self.sink.spans())

    async def metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text

    async def end(self) -> None:
        """Every tool call is there, and the service stops as it should."""
        await self.on.end_feed()
        await self.running.terminate()
        done = await self.on.once()
        assert done.status == 0, done.err
        store = self.on.source.store
        records = [store.get(log_id) for log_id in self.on.ids]
        calls = [each for each in records if each and each.type == TOOL_EXECUTION]
        assert len({span.span_id for _, _, span in self.sink.spans()}) == len(calls)


@asynccontextmanager
async def playing(folder: Path, protocol: str, **variables: str) -> AsyncIterator[Playing]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with RecordingSink() as sink, stage(folder, logs=3, settings=variables) as on:
        to_port = sink.grpc_port if protocol == "grpc" else sink.http_port
        source_port = int(on.source.base_url.rpartition(":")[2])
        async with Relay(to_port) as to_sink, Relay(source_port) as to_source:
            on.env |= {
                "COMPOSIO_BASE_URL": f"http://127.0.0.1:{to_source.port}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{to_sink.port}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_BRIDGE_SIGNALS": "traces",
                "OTEL_BRIDGE_POLL_INTERVAL": "1s",
                "OTEL_BRIDGE_SOURCE_TIMEOUT": "2s",
                "OTEL_BRIDGE_PARENT_WAIT": "1s",
                "OTEL_BRIDGE_LISTEN": f"127.0.0.1:{port}",
            }
            async with service(on) as running:
                await sink.wait_for(spans=3)
                on.go_live(5, seed=1)
                yield Playing(on, running, sink, to_source, to_sink, port)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_connections_that_are_closed_while_they_are_idle(tmp_path: Path, protocol: str) -> None:
    async with playing(tmp_path, protocol) as made:
        for _ in range(4):
            await asyncio.sleep(0.3)  # the last answer has come back by then, and the next poll is not due
            before = made.spans
            made.to_sink.cut()
            made.to_source.cut()
            await made.sink.wait_for(spans=before + 1)
        metrics = await made.metrics()
        assert RETRIES.findall(metrics) == ["0"], (
            "a connection that was closed before says nothing of the sink"
        )
        assert UNANSWERED.findall(metrics) == []
        assert made.to_sink.opened > 2
        await made.end()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_connections_that_fall_silent(tmp_path: Path, protocol: str) -> None:
    async with playing(tmp_path, protocol, OTEL_EXPORTER_OTLP_TIMEOUT="1500") as made:
        before = made.spans
        made.to_sink.forget()
        made.to_source.forget()
        await made.sink.wait_for(spans=before + 3, timeout_s=40)
        await made.end()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_connections_that_are_bounded_in_age(tmp_path: Path, protocol: str) -> None:
    async with playing(tmp_path, protocol, OTEL_BRIDGE_CONNECTION_AGE="2s") as made:
        async with asyncio.timeout(40):
            while made.to_sink.opened < 4:  # noqa: ASYNC110 - the bridge opens them
                await asyncio.sleep(0.1)
        assert RETRIES.findall(await made.metrics()) == ["0"]
        await made.end()
