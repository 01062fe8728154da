"""An application reports where its calls belong, and their spans come out there: the service as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, environment, finish, start
from expected_signals import attributes_of
from recording_sink import RecordingSink
from vendor_sdk import ROOT

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
PATH, TOKEN = "/v1/correlations", "tok_e2e"
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


@dataclass(frozen=True)
class Stage:
    """The service as a process, its source and its destination.

    Attributes:
        client: Knows where the endpoints are, and no token.
    """

    source: EmulatorServer
    sink: RecordingSink
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    def call(self, log_id: str, request_id: str, status: str = "success", session_id: str = "") -> None:
        """A tool call that ends now."""
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        entry = {
            "id": log_id,
            "timestamp": datetime.now(UTC).isoformat(),
            "type": "tool.execution",
            "status": status,
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL"},
            "timings": {"start_time": now_ms - 1, "end_time": now_ms},
            "context": {"request_id": request_id, "session_id": session_id},
        }
        self.source.store.add(record_of(entry, now_ms))

    async def post(self, body: Any) -> httpx.Response:
        """Post, as soon as the ledger is open: the endpoints come before it."""
        while (answer := await self.client.post(PATH, json=body)).status_code == 503:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        return answer

    def spans(self) -> dict[str, Span]:
        """What was delivered, by log id."""
        spans = (span for _, _, span in self.sink.spans())
        return {str(attributes_of(span.attributes)["composio.log.id"]): span for span in spans}


@asynccontextmanager
async def stage(folder: Path, **settings: str) -> AsyncIterator[Stage]:
    async with (
        RecordingSink() as sink,
        EmulatorServer(EmulatorOptions(logs=0)) as source,
    ):
        env = environment(
            folder,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=source.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces",
            OTEL_BRIDGE_LISTEN="127.0.0.1:0",
            OTEL_BRIDGE_TOKEN=TOKEN,
            OTEL_BRIDGE_POLL_INTERVAL="500ms",
            OTEL_BRIDGE_LOG_FORMAT="json",
            **settings,
        )
        process = await start("run", env=env)
        try:
            async with httpx.AsyncClient(base_url=await listening(process), timeout=10) as client:
                yield Stage(source, sink, process, client)
        finally:
            process.terminate()
            done = await finish(process, 20)
        assert done.status == 0, done.err
        assert TOKEN not in done.err


async def test_a_call_stands_under_the_span_that_was_reported_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        item = {"log_id": "log_reported0", "traceparent": PARENT}
        assert (await on.client.post(PATH, json=item)).status_code == 401
        on.client.headers["authorization"] = f"Bearer {TOKEN}"
        by_request = {"request_id": "req_1", "traceparent": PARENT.replace(SPAN, "1" * 16)}
        answer = await on.post([item, by_request])
        assert answer.status_code == 202
        assert answer.json() == {"results": [{"status": "registered"}] * 2}
        for log_id, request_id in (("log_reported0", "a"), ("log_requested", "req_1"), ("log_w3c", PARENT)):
            on.call(log_id, request_id)
        await on.sink.wait_for(spans=3, timeout_s=30)
        late = {"log_id": "log_w3c", "traceparent": PARENT.replace(SPAN, "2" * 16)}
        assert (await on.post(late)).json()["status"] == "late"
        metrics = (await on.client.get("/metrics")).text
        assert re.search(r'otel_bridge_correlations_total{.*outcome="late".*} 1', metrics)
        places = {span.trace_id.hex() + span.parent_span_id.hex() for span in on.spans().values()}
        assert places == {TRACE + SPAN, TRACE + "1" * 16}


async def test_any_language_can_post_as_the_documentation_shows(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = (ROOT / "docs" / "correlation.md").read_text()
    (command,) = re.findall(r"^curl .*?/v1/correlations.*?^```", page, re.DOTALL | re.MULTILINE)
    async with stage(tmp_path) as on:
        on.client.headers["authorization"] = f"Bearer {TOKEN}"
        await on.post([])
        here = str(on.client.base_url).rstrip("/")
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command.removesuffix("```").replace("http://otel-bridge:8790", here),
            env={**os.environ, "OTEL_BRIDGE_TOKEN": TOKEN},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        done = await finish(process, 30)
    assert json.loads(done.out) == {"status": "registered"}, done.err


async def test_a_retry_is_linked_to_the_try_before_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.call("log_first", PARENT, "failed")
        await on.sink.wait_for(spans=1, timeout_s=30)
        on.call("log_again", PARENT)
        await on.sink.wait_for(spans=2, timeout_s=30)
        first, again = (on.spans()[name] for name in ("log_first", "log_again"))
    (link,) = again.links
    assert (link.trace_id, link.span_id) == (first.trace_id, first.span_id)
    assert attributes_of(link.attributes) == {"composio.link.type": "previous_attempt"}
    assert not first.links


async def test_a_session_can_be_a_trace_where_no_application_placed_its_calls(tmp_path: Path) -> None:
    async with stage(tmp_path, OTEL_BRIDGE_GROUP_BY="session") as on:
        on.call("log_a", "a", session_id="trs_1")
        on.call("log_b", "b", session_id="trs_1")
        on.call("log_c", "c", session_id="trs_2")
        on.call("log_d", PARENT, session_id="trs_1")
        await on.sink.wait_for(spans=4, timeout_s=30)
        traces = {name: span.trace_id.hex() for name, span in on.spans().items()}
    assert traces["log_a"] == traces["log_b"]
    assert traces["log_d"] == TRACE
    assert len(set(traces.values())) == 3


async def test_a_flood_of_bad_correlations_disturbs_nothing_else(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        right = {"authorization": f"Bearer {TOKEN}"}
        on.client.headers.update(right)
        await on.post([])
        before = resident_bytes(on.process.pid)
        statuses: Counter[int] = Counter()
        calling = True

        async def flood(n: int) -> None:
            unknown = [{"log_id": f"log_{n}_{i}", "traceparent": PARENT} for i in range(1_000)]
            bad = {"request_id": "r" * 10_240, "traceparent": PARENT.replace(TRACE, "0" * 32)}
            while calling:
                for body, headers in (
                    (json.dumps(unknown), right),
                    (json.dumps(bad), right),
                    (b" " * 10_485_760, right),
                    (json.dumps(unknown), {"authorization": "Bearer wrong"}),
                ):
                    as_json = {**headers, "content-type": "application/json"}
                    answer = await on.client.post(PATH, content=body, headers=as_json)
                    statuses[answer.status_code] += 1
                    assert answer.status_code == 202 or set(answer.json()) == {"error"}

        floods = [asyncio.create_task(flood(n)) for n in range(4)]
        for n in range(10):
            on.call(f"log_{n}", PARENT)
            await asyncio.sleep(0.2)
        await on.sink.wait_for(spans=10, timeout_s=30)
        assert (await on.client.get("/readyz")).status_code == 200
        calling = False
        await asyncio.gather(*floods)
        grown = resident_bytes(on.process.pid) - before
        assert {span.trace_id.hex() for span in on.spans().values()} == {TRACE}
    assert set(statuses) == {202, 401, 413, 422, 429}
    assert grown < 100 * 2**20, (grown, statuses)


def resident_bytes(pid: int) -> int:
    """How much memory a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
