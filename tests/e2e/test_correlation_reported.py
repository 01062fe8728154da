"""An application that sets `x-request-id` itself: the instrumentor tells the bridge instead."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, start
from correlated_traces import assert_stand_under_the_app, backend_of, log_ids_at, run_app
from recording_sink import RecordingSink
from vendor_sdk import ROOT, sdk_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow]
SCENARIOS = ROOT / "tests" / "sdk" / "scenarios.py"
TOKEN = "a-token-of-the-test"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def answers(url: str) -> None:
    """Wait until the bridge serves."""
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_what_is_reported_stands_under_the_application_too(tmp_path: Path) -> None:
    sdk_python("0.30")
    listen = f"127.0.0.1:{free_port()}"
    async with (
        RecordingSink() as sink,
        emulator("--logs", "0", folder=tmp_path) as base_url,
    ):
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_BRIDGE_TOKEN=TOKEN,
        )
        # The SDK sends this with every request, so the id says nothing about the single call.
        app = {
            **env,
            "COMPOSIO_CUSTOM_HEADERS": "x-request-id: one-for-all",
            "OTEL_BRIDGE_CORRELATION_ENDPOINT": f"http://{listen}",
        }
        settings = {
            **env,
            "OTEL_BRIDGE_LISTEN": listen,
            "OTEL_BRIDGE_SIGNALS": "traces,logs",
            "OTEL_BRIDGE_POLL_INTERVAL": "1s",
            "OTEL_BRIDGE_CORRELATION_WAIT": "5s",
        }
        bridge = await start("run", env=settings)
        try:
            await answers(f"http://{listen}/livez")
            done = await run_app("0.30", SCENARIOS, app)
            calls = sum(json.loads(line)["calls"] for line in done.out.splitlines())
            async with asyncio.timeout(60):
                while len(backend_of(sink).tool_calls) < calls:  # noqa: ASYNC110 - the sink counts all spans
                    await asyncio.sleep(0.2)
        finally:
            bridge.terminate()
            ended = await finish(bridge, 20)
        assert ended.status == 0, ended.err
        log_ids = await log_ids_at(base_url)
        assert len(log_ids) == calls
        assert_stand_under_the_app(backend_of(sink), log_ids)
