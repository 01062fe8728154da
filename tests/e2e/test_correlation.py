"""An application with the vendor's SDK, and the bridge: in the backend their spans are one trace."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, run
from correlated_traces import (
    Backend,
    assert_stand_under_the_app,
    backend_of,
    log_ids_at,
    run_app,
    start_app,
)
from expected_signals import attributes_of
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from recording_sink import RecordingSink
from vendor_sdk import ROOT, VERSIONS, sdk_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow]
SCENARIOS = ROOT / "tests" / "sdk" / "scenarios.py"
EXAMPLE = ROOT / "examples" / "agent_app" / "app.py"


@dataclass
class World:
    """A source, a backend, and the settings that the application and the bridge share."""

    base_url: str
    sink: RecordingSink
    env: dict[str, str]

    async def deliver(self) -> None:
        """The bridge collects everything and delivers it."""
        done = await run("run", "--once", env=self.env)
        assert done.status == 0, done.err


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(RecordingSink())
        base_url = await stack.enter_async_context(emulator("--logs", "0", folder=tmp_path))
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_BRIDGE_SIGNALS="traces,logs",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        yield World(base_url, sink, env)


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_tool_call_stands_under_the_span_that_made_it(world: World, version: str) -> None:
    sdk_python(version)
    done = await run_app(version, SCENARIOS, world.env)
    made = {line["scenario"]: line for line in map(json.loads, done.out.splitlines())}
    log_ids = await log_ids_at(world.base_url)
    assert len(log_ids) == sum(line["calls"] for line in made.values())
    await world.deliver()
    backend = backend_of(world.sink)
    assert_stand_under_the_app(backend, log_ids)
    for name, line in made.items():
        calls = [span for span in backend.tool_calls.values() if span.trace_id.hex() == line["trace_id"]]
        assert len(calls) == line["calls"], name
    assert_failed_on_both_sides(backend)


def assert_failed_on_both_sides(backend: Backend) -> None:
    """What failed has failed in the application's span and in the bridge's; the former has no text of it."""
    failed = [log_id for log_id, span in backend.app.items() if has_failed(span)]
    assert len(failed) == 2
    assert failed == [log_id for log_id in backend.app if has_failed(backend.tool_calls[log_id])]
    for span in backend.app.values():
        assert ("error.type" in attributes_of(span.attributes)) == has_failed(span)
        assert span.status.message == ""


def has_failed(span: Span) -> bool:
    return span.status.code == Status.STATUS_CODE_ERROR


async def test_the_example_is_one_trace_from_the_caller_to_the_tools(world: World) -> None:
    sdk_python("0.30")
    caller = "0af7651916cd43dd8448eb211c80319c"
    app = await start_app("0.30", EXAMPLE, {**world.env, "PORT": "0"})
    try:
        assert app.stdout is not None
        url = (await app.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(timeout=30) as client:
            headers = {"traceparent": f"00-{caller}-b7ad6b7169203331-01"}
            answer = await client.post(f"{url}?user=user_ada", headers=headers)
            answer.raise_for_status()
        await world.sink.wait_for(spans=6)
    finally:
        app.terminate()
        await finish(app, 15)
    await world.deliver()
    log_ids = await log_ids_at(world.base_url)
    backend = backend_of(world.sink)
    assert_stand_under_the_app(backend, log_ids)
    assert len(log_ids) == 6
    spans = [span for _, _, span in world.sink.spans()]
    assert {span.trace_id.hex() for span in spans} == {caller}
    assert [span.name for span in spans if span.kind == Span.SPAN_KIND_SERVER] == ["POST /triage"]
    assert set(answer.json()["log_ids"]) <= set(log_ids)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80
