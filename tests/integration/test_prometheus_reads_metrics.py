"""Prometheus itself reads ``/metrics``: its linter finds nothing, and its server scrapes what was counted."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from own_telemetry_world import world
from recording_sink import HttpAnswer, read_request, reply

from otel_bridge.telemetry.prometheus import CONTENT_TYPE

if TYPE_CHECKING:
    from pathlib import Path

    from own_telemetry_world import World

pytestmark = pytest.mark.backend
_CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: otel-bridge
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def program(name: str) -> str:
    """A program of Prometheus; where there is none the test is skipped, or fails if backends are required."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed: apt-get install prometheus"
        if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


async def test_the_linter_of_prometheus_has_nothing_to_say(tmp_path: Path) -> None:
    promtool = program("promtool")
    async with world(tmp_path) as made:
        await made.worker.run_once()
        await made.looked()
        text = made.telemetry.prometheus_text()
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert done.stdout.decode() + done.stderr.decode() == ""
    assert done.returncode == 0


async def test_prometheus_scrapes_what_was_counted(tmp_path: Path) -> None:
    prometheus = program("prometheus")
    async with world(tmp_path) as made:
        await made.worker.run_once()
        total = len(made.server.store.log_ids())
        served = await serve(made)
        config = tmp_path / "prometheus.yml"
        config.write_text(_CONFIG.format(port=served.sockets[0].getsockname()[1]))
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                delivered = await asked(
                    client, 'otel_bridge_records_delivered_total{otel_bridge_lane="live"}'
                )
                calls = await asked(client, "sum(gen_ai_execute_tool_duration_seconds_count)")
                who = await asked(client, 'count(target_info{service_name="otel-bridge"})')
        finally:
            process.terminate()
            await process.wait()
            served.close()
    assert delivered == total
    assert 0 < calls <= total
    assert who == 1


async def serve(made: World) -> asyncio.Server:
    """Answer every request with the metrics."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await read_request(reader)
            headers = {"content-type": CONTENT_TYPE}
            await reply(writer, HttpAnswer(body=made.telemetry.prometheus_text(), headers=headers))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def asked(client: httpx.AsyncClient, query: str) -> float:
    """What a query gives, as soon as it gives anything."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await client.get("/api/v1/query", params={"query": query})
                found = answer.json()["data"]["result"] if answer.status_code == 200 else []
            except httpx.TransportError:
                found = []
            if found:
                return float(found[0]["value"][1])
            await asyncio.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
