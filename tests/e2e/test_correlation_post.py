"""An application reports where its calls belong, and their spans come out there: the service as a process."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, environment, finish, start
from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, record_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
_PAGE = re.compile(r"http://127\.0\.0\.1:\d+")


async def listening(process: asyncio.subprocess.Process) -> str:
    """Where the service's endpoints are, as its log says."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := (await process.stderr.readline()).decode():
            found = _PAGE.search(line)
            if found and '"endpoints"' in line:
                return found.group()
    raise AssertionError("the service said nothing of its endpoints")


async def test_a_call_stands_under_the_span_that_was_reported_for_it(tmp_path: Path) -> None:
    async with (
        RecordingSink() as sink,
        EmulatorServer(EmulatorOptions(logs=0)) as source,
    ):
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=source.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces",
            OTEL_BRIDGE_LISTEN="127.0.0.1:0",
            OTEL_BRIDGE_TOKEN="tok_e2e",
            OTEL_BRIDGE_POLL_INTERVAL="500ms",
            OTEL_BRIDGE_LOG_FORMAT="json",
        )
        process = await start("run", env=env)
        try:
            async with httpx.AsyncClient(base_url=await listening(process), timeout=10) as client:
                item = {"log_id": "log_reported0", "traceparent": PARENT}
                assert (await client.post("/v1/correlations", json=item)).status_code == 401
                client.headers["authorization"] = "Bearer tok_e2e"
                by_request = {"request_id": "req_1", "traceparent": PARENT.replace(SPAN, "1" * 16)}
                both = [item, by_request]
                # The endpoints come before the ledger is open.
                while (answer := await client.post("/v1/correlations", json=both)).status_code == 503:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
                assert answer.status_code == 202
                assert answer.json() == {"results": [{"status": "registered"}] * 2}
                now = datetime.now(UTC)
                for log_id, request_id in (
                    ("log_reported0", "a"),
                    ("log_requested", "req_1"),
                    ("log_w3c", PARENT),
                ):
                    entry = {
                        "id": log_id,
                        "timestamp": now.isoformat(),
                        "type": "tool.execution",
                        "status": "success",
                        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL"},
                        "context": {"request_id": request_id},
                    }
                    source.store.add(record_of(entry, round(now.timestamp() * 1000)))
                await sink.wait_for(spans=3, timeout_s=30)
                late = {"log_id": "log_w3c", "traceparent": PARENT.replace(SPAN, "2" * 16)}
                answer = await client.post("/v1/correlations", json=late)
                assert answer.json()["status"] == "late"
        finally:
            process.terminate()
            done = await finish(process, 20)
        assert done.status == 0, done.err
        assert "tok_e2e" not in done.err
        spans = {span.trace_id.hex() + span.parent_span_id.hex() for _, _, span in sink.spans()}
        assert spans == {TRACE + SPAN, TRACE + "1" * 16}
