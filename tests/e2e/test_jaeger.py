"""Jaeger v2 itself: what was exported to it, read back through its query API."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, emulator, environment, run
from correlated_traces import log_ids_at, run_app
from expected_signals import times_of
from jaeger_process import running_jaeger
from vendor_sdk import ROOT, sdk_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jaeger_process import Jaeger
    from jaeger_query import StoredSpan

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(300)]
LIST = "/api/v3.1/logs/tool_execution"
CALLS = 300
SCENARIOS = ROOT / "tests" / "sdk" / "scenarios.py"


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


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_every_call_is_read_back_with_what_it_was(tmp_path: Path, protocol: str) -> None:
    async with delivered(tmp_path, protocol) as (jaeger, env, base_url):
        calls = await calls_of(base_url)
        assert await jaeger.services() == {"composio"}
        slugs = {call["metadata"].get("tool_slug") or call["metadata"].get("tool") for call in calls.values()}
        assert await jaeger.operations("composio") == {f"execute_tool {slug}" for slug in slugs}

        found = await jaeger.spans("composio")
        spans = {str(span.log_id): span for span in found}
        assert spans.keys() == calls.keys()
        assert len(found) == len(calls)
        for log_id, call in calls.items():
            assert_span(call, spans[log_id], spans)

        # The ledger is lost: everything goes out again, and is there once.
        other = tmp_path / "other"
        other.mkdir()
        again = {**env, "OTEL_BRIDGE_STATE": f"sqlite:///{other}/ledger.db"}
        done = await run("run", "--once", env=again, timeout_s=120)
        assert done.status == 0, done.err
        assert len(await jaeger.spans("composio")) == len(calls)


def assert_span(call: dict[str, Any], span: StoredSpan, spans: dict[str, StoredSpan]) -> None:
    start, end, _ = times_of(call)
    # Its storage keeps microseconds.
    assert span.start_ns // 1000 == start // 1000
    assert abs((span.end_ns - span.start_ns) // 1000 - (end - start) // 1000) <= 1
    resource = {"composio.project": "default", "deployment.environment.name": "test"}
    assert span.resource == {"service.name": "composio", **resource}
    attributes = span.attributes
    assert not [name for name in attributes if name.startswith("@jaeger@warnings")]
    # Jaeger's logs of a span are its events: a tool call has none, its log record is one of its own.
    assert span.events == []
    assert attributes.get("session.id") == attributes.get("gen_ai.conversation.id")
    assert attributes["user.id"] == call["metadata"]["user_id"]
    assert attributes["gen_ai.operation.name"] == "execute_tool"
    assert attributes["composio.toolkit.slug"] == (
        call["metadata"].get("toolkit_slug") or call["metadata"].get("toolkit")
    )
    failed = call["status"] == "failed"
    assert span.failed == failed
    assert ("error.type" in attributes) == failed
    if failed and call.get("message") and "@" not in call["message"]:
        assert span.message == call["message"]
    parent = (call.get("parent") or {}).get("log_id")
    above = (spans[parent].trace_id, spans[parent].span_id) if parent else (span.trace_id, "")
    assert (span.trace_id, span.parent_id) == above


async def test_an_applications_spans_and_its_tool_calls_are_one_trace(tmp_path: Path) -> None:
    sdk_python("0.30")
    async with running_jaeger(tmp_path) as jaeger, emulator("--logs", "0", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_BRIDGE_SIGNALS="traces",
        )
        made = await run_app("0.30", SCENARIOS, env)
        done = await run("run", "--once", env=env, timeout_s=120)
        assert done.status == 0, done.err
        log_ids = await log_ids_at(base_url)

        assert await jaeger.services() == {"composio", "scenarios"}
        spans = await jaeger.spans("scenarios")
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    assert len(by_id) == len(spans)
    calls = {str(span.log_id): span for span in spans if span.service == "composio"}
    assert sorted(calls) == sorted(log_ids)
    for span in calls.values():
        above = by_id[span.trace_id, span.parent_id]
        if "composio.parent.log.id" not in span.attributes:
            assert (above.service, above.log_id) == ("scenarios", span.log_id)
            assert above.failed == span.failed
    for line in map(json.loads, made.out.splitlines()):
        (root,) = [
            span for span in spans if span.trace_id == line["trace_id"] and span.name.startswith("POST")
        ]
        assert root.events == [("answered", {"calls": line["calls"]})]
        assert sum(span.trace_id == line["trace_id"] for span in calls.values()) == line["calls"]


async def test_a_person_finds_a_failed_call_a_session_and_a_user(tmp_path: Path) -> None:
    async with delivered(tmp_path, "http/protobuf") as (jaeger, _, base_url):
        calls = await calls_of(base_url)
        failed = {log_id for log_id, call in calls.items() if call["status"] == "failed"}
        assert {span.log_id for span in await jaeger.spans("composio", error="true") if span.failed} == failed

        groups: dict[tuple[str, str], set[str]] = {}
        for log_id, call in calls.items():
            groups.setdefault(("user.id", call["metadata"]["user_id"]), set()).add(log_id)
            session = (call.get("context") or {}).get("session_id") or call["metadata"].get("session_id")
            if session:
                groups.setdefault(("session.id", session), set()).add(log_id)
        for key in ("user.id", "session.id"):
            for (name, value), log_ids in [each for each in groups.items() if each[0][0] == key][:3]:
                # The traces that they stand in come whole.
                found = await jaeger.spans("composio", **{name: value})
                assert {span.log_id for span in found if span.attributes.get(name) == value} == log_ids


async def test_what_was_delivered_is_there_after_a_restart_of_jaeger(tmp_path: Path) -> None:
    async with delivered(tmp_path, "http/protobuf") as (jaeger, _, _):
        before = await jaeger.spans("composio")
    async with running_jaeger(tmp_path) as jaeger:
        after = await jaeger.spans("composio")
    assert {span.span_id for span in after} == {span.span_id for span in before}
    assert len(after) == len(before) > 0


async def test_the_ui_has_its_links(tmp_path: Path) -> None:
    async with running_jaeger(tmp_path) as jaeger, httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{jaeger.query}/search")).text
    assert "dashboard.composio.dev" in page
    assert "session.id" in page
