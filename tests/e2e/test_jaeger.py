"""Jaeger v2 itself: what was exported to it, read back through its query API."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, emulator, environment, run
from expected_signals import times_of
from jaeger_process import running_jaeger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jaeger_process import Jaeger

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(300)]
LIST = "/api/v3.1/logs/tool_execution"
CALLS = 300


async def calls_of(base_url: str) -> dict[str, dict[str, Any]]:
    """Every tool call as the source tells it, read without the bridge."""
    async with httpx.AsyncClient(base_url=base_url, headers={"x-api-key": "ak_other"}, timeout=60) as client:
        ids = (await client.get("/emulator/ids")).json()["ids"]
        records = [(await client.get(f"{LIST}/{log_id}")).json() for log_id in ids]
    return {record["id"]: record for record in records if record["type"] == "tool.execution"}


@contextlib.asynccontextmanager
async def delivered(folder: Path, protocol: str) -> AsyncIterator[tuple[Jaeger, dict[str, str], str]]:
    """Jaeger with all of an emulator in it; also the bridge's environment and the emulator's address."""
    async with running_jaeger(folder) as jaeger, emulator("--logs", str(CALLS), folder=folder) as base_url:
        env = environment(
            folder,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_grpc if protocol == "grpc" else jaeger.otlp_http,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_BRIDGE_SIGNALS="traces",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        done = await run("run", "--once", env=env, timeout_s=120)
        assert done.status == 0, done.err
        yield jaeger, env, base_url


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    """A span's tags; one that is there twice fails."""
    found: dict[str, Any] = {}
    for tag in span["tags"]:
        assert tag["key"] not in found, tag["key"]
        found[tag["key"]] = tag["value"]
    return found


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_every_call_is_read_back_with_what_it_was(tmp_path: Path, protocol: str) -> None:
    async with delivered(tmp_path, protocol) as (jaeger, env, base_url):
        calls = await calls_of(base_url)
        assert await jaeger.ask("/api/services") == ["composio"]
        slugs = {call["metadata"].get("tool_slug") or call["metadata"].get("tool") for call in calls.values()}
        operations = await jaeger.ask("/api/services/composio/operations")
        assert set(operations) == {f"execute_tool {slug}" for slug in slugs}

        traces = await jaeger.traces("composio")
        spans = {tags_of(span)["composio.log.id"]: span for trace in traces for span in trace["spans"]}
        assert spans.keys() == calls.keys()
        for log_id, call in calls.items():
            assert_span(call, spans[log_id], spans)
        for trace in traces:
            assert all(span["warnings"] is None for span in trace["spans"])
            for process in trace["processes"].values():
                resource = {tag["key"]: tag["value"] for tag in process["tags"]}
                assert resource == {"composio.project": "default", "deployment.environment.name": "test"}

        # The ledger is lost: everything goes out again, and is there once.
        other = tmp_path / "other"
        other.mkdir()
        again = {**env, "OTEL_BRIDGE_STATE": f"sqlite:///{other}/ledger.db"}
        done = await run("run", "--once", env=again, timeout_s=120)
        assert done.status == 0, done.err
        second = await jaeger.traces("composio")
        assert sum(len(trace["spans"]) for trace in second) == len(calls)


def assert_span(call: dict[str, Any], span: dict[str, Any], spans: dict[str, dict[str, Any]]) -> None:
    tags = tags_of(span)
    start, end, _ = times_of(call)
    assert span["startTime"] == start // 1000
    # Jaeger keeps microseconds.
    assert abs(span["duration"] - (end - start) // 1000) <= 1
    assert tags["session.id"] == tags["gen_ai.conversation.id"] if "session.id" in tags else True
    assert tags["gen_ai.operation.name"] == "execute_tool"
    assert tags["composio.toolkit.slug"] == (
        call["metadata"].get("toolkit_slug") or call["metadata"].get("toolkit")
    )
    failed = call["status"] == "failed"
    assert (tags.get("error") is True) == failed
    assert ("error.type" in tags) == failed
    if failed and call.get("message") and "@" not in call["message"]:
        assert tags["otel.status_description"] == call["message"]
    parent = (call.get("parent") or {}).get("log_id")
    parents = [
        (each["traceID"], each["spanID"]) for each in span["references"] if each["refType"] == "CHILD_OF"
    ]
    if parent:
        assert parents == [(spans[parent]["traceID"], spans[parent]["spanID"])]
        assert span["traceID"] == spans[parent]["traceID"]
    else:
        assert parents == []


async def test_a_person_finds_a_failed_call_a_session_and_a_user(tmp_path: Path) -> None:
    async with delivered(tmp_path, "http/protobuf") as (jaeger, _, base_url):
        calls = await calls_of(base_url)
        failed = {log_id for log_id, call in calls.items() if call["status"] == "failed"}
        assert await found(jaeger, {"error": "true"}, "error", value=True) == failed

        by_user: dict[str, set[str]] = {}
        by_session: dict[str, set[str]] = {}
        for log_id, call in calls.items():
            by_user.setdefault(call["metadata"]["user_id"], set()).add(log_id)
            session = (call.get("context") or {}).get("session_id") or call["metadata"].get("session_id")
            if session:
                by_session.setdefault(session, set()).add(log_id)
        for key, groups in (("user.id", by_user), ("session.id", by_session)):
            for value, log_ids in list(groups.items())[:3]:
                assert await found(jaeger, {key: value}, key, value=value) == log_ids


async def found(jaeger: Jaeger, tags: dict[str, str], key: str, *, value: Any) -> set[str]:
    """The log ids of the spans that a search by tags brings; the traces that they stand in come whole."""
    traces = await jaeger.traces("composio", tags=json.dumps(tags))
    spans = [tags_of(span) for trace in traces for span in trace["spans"]]
    return {span["composio.log.id"] for span in spans if span.get(key) == value}


async def test_what_was_delivered_is_there_after_a_restart_of_jaeger(tmp_path: Path) -> None:
    async with delivered(tmp_path, "http/protobuf") as (jaeger, _, _):
        before = {trace["traceID"] for trace in await jaeger.traces("composio")}
    async with running_jaeger(tmp_path) as jaeger:
        assert {trace["traceID"] for trace in await jaeger.traces("composio")} == before


async def test_the_ui_has_its_links(tmp_path: Path) -> None:
    async with running_jaeger(tmp_path) as jaeger, httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{jaeger.query}/search")).text
    assert "dashboard.composio.dev" in page
    assert "session.id" in page
