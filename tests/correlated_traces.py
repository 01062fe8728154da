"""What a backend has after an application and the bridge exported to it, and whether it fits together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from bridge_process import Finished, finish
from expected_signals import attributes_of
from vendor_sdk import GUARDED, sdk_python

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from recording_sink import RecordingSink

BRIDGE_SCOPE = "otel_bridge"
APP_SCOPE = "otel_bridge.instrumentation"


@dataclass(frozen=True)
class Backend:
    """Spans by what made them; tool calls by their log id."""

    app: dict[str, Span]
    tool_calls: dict[str, Span]
    others: list[Span]


def backend_of(sink: RecordingSink) -> Backend:
    """Sort what was received; a log id that came twice fails."""
    app, tool_calls, others = {}, {}, []
    for _, scope, span in sink.spans():
        log_id = attributes_of(span.attributes).get("composio.log.id")
        if scope.name == BRIDGE_SCOPE:
            assert log_id not in tool_calls, "delivered twice"
            tool_calls[str(log_id)] = span
        elif scope.name == APP_SCOPE and log_id:
            app[str(log_id)] = span
        else:
            others.append(span)
    return Backend(app, tool_calls, others)


def assert_stand_under_the_app(backend: Backend, log_ids: list[str]) -> None:
    """Every log is a span under the application's span for it, a nested one under its parent's."""
    assert sorted(backend.tool_calls) == sorted(log_ids)
    for log_id, span in backend.tool_calls.items():
        parent_log = attributes_of(span.attributes).get("composio.parent.log.id")
        above = backend.tool_calls[str(parent_log)] if parent_log else backend.app[log_id]
        assert span.trace_id == above.trace_id, log_id
        assert span.parent_span_id == above.span_id, log_id
        assert attributes_of(above.attributes)["gen_ai.tool.name"] or parent_log


async def log_ids_at(base_url: str) -> list[str]:
    """Every log that the emulator has."""
    async with httpx.AsyncClient() as client:
        ids: list[str] = (await client.get(f"{base_url}/emulator/ids")).json()["ids"]
        return ids


async def start_app(version: str, program: Path, env: dict[str, str]) -> asyncio.subprocess.Process:
    """Start a program where the vendor's SDK is, on loopback alone."""
    return await asyncio.create_subprocess_exec(
        sdk_python(version),
        str(GUARDED),
        str(program),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_app(version: str, program: Path, env: dict[str, str]) -> Finished:
    """Run a program to its end, which has to be a good one."""
    done = await finish(await start_app(version, program, env))
    assert done.status == 0, done.err
    return done
