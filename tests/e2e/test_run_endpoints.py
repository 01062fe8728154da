"""``run`` and its endpoints as an operator meets them: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, run, start
from recording_sink import RecordingSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.slow
RECORDS = 60


@asynccontextmanager
async def running(**variables: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """``run`` as a process, and a client of its endpoints as soon as it says where they are."""
    process = await start("run", env=variables)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while line := await process.stderr.readline():
                said = json.loads(line)
                if said["action"] == "endpoints":
                    break
        async with httpx.AsyncClient(base_url=said["url"], timeout=20) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def until(client: httpx.AsyncClient, status: int, seconds: float = 60) -> Any:
    """The body of ``/readyz`` once it answers with this status."""
    async with asyncio.timeout(seconds):
        while True:
            answer = await client.get("/readyz")
            if answer.status_code == status:
                return answer.json()
            await asyncio.sleep(0.1)


async def test_a_bridge_gets_ready_shows_what_it_delivered_and_stops_cleanly(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", str(RECORDS), folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_START="2h",
            OTEL_BRIDGE_LISTEN="127.0.0.1:0",
            OTEL_BRIDGE_TRACE_LINKS="Jaeger=http://localhost:16686/trace/{trace_id}",
        )
        async with running(**env) as (process, client):
            assert (await client.get("/livez")).status_code == 200
            assert await until(client, 200) == {"status": "ready", "reasons": []}
            await asyncio.sleep(1.1)  # the status may be a second old
            (project,) = (await client.get("/api/status")).json()["projects"]
            assert project["delivered"] == project["delivered_last_hour"] == RECORDS
            assert project["set_aside"] == {}
            page = (await client.get("/")).text
            assert "Everything is delivered as it happens." in page
            assert 'href="http://localhost:16686/trace/' in page
            metrics = (await client.get("/metrics")).text
            assert "otel_bridge_" in metrics
            assert "# TYPE " in metrics
            everything = page + metrics + str(project)
            assert KEY not in everything
            began_s = time.monotonic()
            process.terminate()
            done = await finish(process, 20)
            assert done.status == 0
            assert time.monotonic() - began_s < 10
            assert KEY not in done.err


async def test_a_refused_key_is_told_at_once_by_where_it_comes_from(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("ak_forbidden\n")
    said = f"the key from COMPOSIO_API_KEY_FILE ({key}) may not read this"
    async with RecordingSink() as sink, emulator(folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY_FILE=str(key),
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_LISTEN="127.0.0.1:0",
        )
        async with running(**env) as (process, client):
            async with asyncio.timeout(60):
                codes: list[str] = []
                while "source_refused" not in codes:
                    body = await until(client, 503)
                    codes = [reason["reason"] for reason in body["reasons"]]
                    await asyncio.sleep(0.1)
            assert body["status"] == "not_ready"
            assert (await client.get("/livez")).status_code == 200
            page = (await client.get("/")).text
            assert "Composio refuses the bridge." in page
            assert "Observability: Read" in page
            assert said in page
            assert said in str(body["reasons"])
            process.terminate()
            done = await finish(process, 20)
    assert said in done.err
    assert "ak_forbidden" not in f"{page}{body}{done.err}"


async def test_an_address_that_is_taken_leaves_nothing_half_started(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL="http://127.0.0.1:9",
            OTEL_BRIDGE_LISTEN=where,
        )
        done = await run("run", env=env, timeout_s=60)
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert f"OTEL_BRIDGE_LISTEN is '{where}': another program listens there" in done.err
    assert not (tmp_path / "ledger.db").exists()


async def test_run_once_serves_nothing(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "3", folder=tmp_path) as base_url:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            env = environment(
                tmp_path,
                COMPOSIO_API_KEY=KEY,
                COMPOSIO_BASE_URL=base_url,
                OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
                OTEL_BRIDGE_START="2h",
                OTEL_BRIDGE_LISTEN=f"127.0.0.1:{listener.getsockname()[1]}",
            )
            done = await run("run", "--once", env=env)
    assert done.status == 0, done.err
