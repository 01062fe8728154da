"""Whatever stands in a record, the bridge asks the source's routes and the destinations, and nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore, record_of
from otel_bridge.service.runner import run_once
from otel_bridge.settings import load
from otel_bridge.times import SystemClock, format_time

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = ("http://{}/x", "//{}/x", "{}", "../../../{}", "file:///proc/self/environ", "\\\\{}\\share", "@{}/")


def record(number: int, shape: str, trap: str, at_ms: int) -> dict[str, Any]:
    """One whose every text is an address."""
    text = shape.format(trap)
    return {
        "id": f"log_{number}@{text}" if number % 2 else f"{text}?n={number}",
        "timestamp": format_time(at_ms),
        "type": "tool.execution",
        "status": "failed" if number % 3 else "success",
        "level": "error" if number % 3 else "info",
        "message": f"see {text}",
        "metadata": {"tool_slug": text, "toolkit_slug": text, "logo": text, "webhook": text},
        "metrics": {"duration_ms": 12},
        "parent": {"id": f"{text}#{number - 1}", "type": "tool.execution"},
        "context": {"trace_id": text, "session_id": text, "user_id": text, "callback_url": text},
        "data": {"request": {"url": text, "file": text}, "response": {"$ref": text, "next": text}},
    }


@pytest.mark.parametrize("far", [False, True], ids=["loopback", "elsewhere"])
async def test_nothing_of_a_record_is_asked(tmp_path: Path, loopback_only: list[str], far: bool) -> None:
    asked: list[bytes] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    listener = await asyncio.start_server(trap, "127.0.0.1", 0)
    # A place on this machine that would notice, and the one where clouds keep their machines' credentials.
    place = "169.254.169.254" if far else f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    now_ms = SystemClock().now_ms()
    store = LogStore(
        record_of(record(number, shape, place, at_ms := now_ms - 60_000 + number), at_ms)
        for number, shape in enumerate(SHAPES * 2)
    )
    async with listener, EmulatorServer(EmulatorOptions(), store) as server, RecordingSink() as sink:
        settings = load(
            None,
            {
                "COMPOSIO_API_KEY": "ak_x",
                "COMPOSIO_BASE_URL": server.base_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
                "OTEL_BRIDGE_STATE": f"sqlite:///{tmp_path}/ledger.db",
                "OTEL_BRIDGE_PARENT_WAIT": "0s",
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
            },
        )
        report = await run_once(settings, SystemClock())
        stats = server.api.stats()
    assert report.delivered == len(store)
    assert asked == []
    assert loopback_only == []
    assert stats["requests"]["other"] == 0
    assert stats["requests"]["detail"] >= len(store)
