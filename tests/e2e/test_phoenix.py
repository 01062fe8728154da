"""Arize Phoenix, a trace store that we did not write: the calls are in it, each once, with what they were."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, emulator, environment, run
from phoenix_process import running_phoenix

if TYPE_CHECKING:
    from pathlib import Path

    from phoenix_process import Phoenix

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(300)]
LIST = "/api/v3.1/logs/tool_execution"
CALLS = 100


async def calls_of(base_url: str) -> dict[str, dict[str, Any]]:
    """Every tool call as the source tells it, read without the bridge."""
    async with httpx.AsyncClient(base_url=base_url, headers={"x-api-key": "ak_other"}, timeout=60) as client:
        ids = (await client.get("/emulator/ids")).json()["ids"]
        records = [(await client.get(f"{LIST}/{log_id}")).json() for log_id in ids]
    return {record["id"]: record for record in records if record["type"] == "tool.execution"}


async def read_back(phoenix: Phoenix, count: int) -> dict[str, dict[str, Any]]:
    """Its spans by log id, once there are so many: it writes them a moment after it has taken them."""
    spans: list[dict[str, Any]] = []
    for _ in range(120):
        spans = await phoenix.spans()
        if len(spans) >= count:
            break
        await asyncio.sleep(0.5)
    found = {span["attributes"]["composio.log.id"]: span for span in spans}
    assert len(found) == len(spans), "shown twice"
    return found


async def test_every_call_is_read_back_once_whichever_way_it_came(tmp_path: Path) -> None:
    async with (
        running_phoenix(tmp_path) as phoenix,
        emulator("--logs", str(CALLS), folder=tmp_path) as base_url,
    ):
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=phoenix.url,
            OTEL_BRIDGE_SIGNALS="traces",
        )
        done = await run("run", "--once", env=env)
        assert done.status == 0, done.err
        calls = await calls_of(base_url)
        spans = await read_back(phoenix, len(calls))
        assert spans.keys() == calls.keys()
        for log_id, call in calls.items():
            span, attributes = spans[log_id], spans[log_id]["attributes"]
            slug = call["metadata"].get("tool_slug") or call["metadata"].get("tool")
            assert span["name"] == f"execute_tool {slug}"
            assert attributes["gen_ai.tool.name"] == slug
            assert attributes["user.id"] == call["metadata"]["user_id"]
            failed = call["status"] == "failed"
            assert (span["status_code"] == "ERROR") == failed
            if failed and call.get("message") and "@" not in call["message"]:
                assert span["status_message"] == call["message"]
            parent = (call.get("parent") or {}).get("log_id")
            wanted = spans[parent]["context"]["span_id"] if parent else None
            assert span["parent_id"] == wanted
            if parent:
                assert span["context"]["trace_id"] == spans[parent]["context"]["trace_id"]

        # The ledger is lost: the same spans go out again, now over gRPC, and there is none more.
        other = tmp_path / "other"
        other.mkdir()
        again_env = {
            **env,
            "OTEL_BRIDGE_STATE": f"sqlite:///{other}/ledger.db",
            "OTEL_EXPORTER_OTLP_ENDPOINT": phoenix.otlp_grpc,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
        done = await run("run", "--once", env=again_env)
        assert done.status == 0, done.err
        await asyncio.sleep(2)
        again = await read_back(phoenix, len(calls))
        assert {key: span["context"] for key, span in again.items()} == {
            key: span["context"] for key, span in spans.items()
        }
