"""A destination that takes nothing as it is set up, or no large request: nothing is lost or set aside."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, run, start
from judging_sink import JudgingSink, Verdict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from recording_sink import GrpcAnswer, HttpAnswer, logs_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LOGS = 60
PLAIN = {"content-type": "text/plain"}
REASON = "structured metadata is not allowed here"
REJECTS_ALL = ExportLogsServiceResponse(
    partial_success=ExportLogsPartialSuccess(rejected_log_records=10**6, error_message=REASON)
).SerializeToString()

pytestmark = pytest.mark.timeout(180)


@dataclass
class Bridge:
    """The service as a process, with its endpoints."""

    env: dict[str, str]

    async def ready(self) -> tuple[int, str]:
        """What ``/readyz`` answers."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(f"http://{self.env['OTEL_BRIDGE_LISTEN']}/readyz")
            except httpx.ConnectError:
                return 0, ""  # not started yet
        return answer.status_code, answer.text

    async def ready_with(self, code: int, words: str = "", timeout_s: float = 60) -> str:
        """Wait until ``/readyz`` answers so; gives all that it says."""
        async with asyncio.timeout(timeout_s):
            while True:
                status, said = await self.ready()
                if status == code and words in said:
                    return said
                await asyncio.sleep(0.2)

    async def status(self) -> dict[str, Any]:
        """What ``status`` says."""
        (status,) = json.loads((await run("status", "--json", env=self.env)).out)
        return dict(status)


@asynccontextmanager
async def bridge(folder: Path, base_url: str, sink: JudgingSink, protocol: str) -> AsyncIterator[Bridge]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(
        folder,
        COMPOSIO_API_KEY=KEY,
        COMPOSIO_BASE_URL=base_url,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.grpc_endpoint if protocol == "grpc" else sink.http_endpoint,
        OTEL_EXPORTER_OTLP_TIMEOUT="1000",
        OTEL_BRIDGE_SIGNALS="logs",
        OTEL_BRIDGE_LISTEN=f"127.0.0.1:{port}",
        OTEL_BRIDGE_POLL_INTERVAL="1s",
    )
    service = await start("run", env=env)
    try:
        yield Bridge(env)
    finally:
        service.terminate()
        assert (await finish(service, 15)).status == 0


async def until(condition: Callable[[], bool], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("protocol", "verdict"),
    [
        ("http/protobuf", HttpAnswer(400, REASON.encode(), PLAIN)),
        ("http/protobuf", HttpAnswer(200, REJECTS_ALL)),
        ("grpc", GrpcAnswer(grpc.StatusCode.INVALID_ARGUMENT, REASON)),
    ],
    ids=["400", "partial success", "INVALID_ARGUMENT"],
)
@pytest.mark.parametrize("logs", [2, LOGS])
async def test_nothing_is_set_aside_and_all_arrives_once_it_is_mended(
    tmp_path: Path, protocol: str, verdict: Verdict, logs: int
) -> None:
    async with JudgingSink() as sink, emulator("--logs", str(logs), folder=tmp_path) as base_url:
        sink.judge = lambda _: verdict
        async with bridge(tmp_path, base_url, sink, protocol) as on:
            said = await on.ready_with(503, REASON)
            assert "it refuses every record" in said
            status = await on.status()
            assert REASON in status["last_error"]
            assert (status["delivered"], status["set_aside"]) == (0, {})
            assert len(sink.received) <= 40
            sink.judge = lambda _: None
            await until(lambda: len(sink.taken) == logs, 70)
            await on.ready_with(200)
            assert (await on.status())["set_aside"] == {}
        assert set(sink.taken.values()) == {1}


SIZE = "batch size (9 bytes) exceeds ingestion limit (local: 5 bytes)"


@pytest.mark.parametrize(
    ("protocol", "verdict"),
    [
        ("http/protobuf", HttpAnswer(413, headers=PLAIN)),
        ("http/protobuf", HttpAnswer(429, SIZE.encode(), PLAIN)),
        ("http/protobuf", HttpAnswer(429, headers=PLAIN)),
        ("http/protobuf", HttpAnswer(delay_s=2)),
        ("http/protobuf", HttpAnswer(hangs_up=True)),
        ("grpc", GrpcAnswer(grpc.StatusCode.RESOURCE_EXHAUSTED, SIZE)),
        ("grpc", GrpcAnswer(grpc.StatusCode.OUT_OF_RANGE)),
        ("grpc", GrpcAnswer(delay_s=2)),
    ],
    ids=["413", "429 size", "429", "slow", "hangs up", "exhausted", "out of range", "slow grpc"],
)
async def test_a_batch_that_is_too_much_arrives_in_parts(
    tmp_path: Path, protocol: str, verdict: Verdict
) -> None:
    async with JudgingSink() as sink, emulator("--logs", str(LOGS), folder=tmp_path) as base_url:
        sink.judge = lambda received: verdict if len(list(logs_in(received.body))) > 8 else None
        async with bridge(tmp_path, base_url, sink, protocol) as on:
            await until(lambda: len(sink.taken) == LOGS, 60)
            assert (await on.status())["set_aside"] == {}
        assert set(sink.taken.values()) == {1}
