"""A whole service at debug level, with secrets and payloads that can be told from everything else.

Whatever the process writes is searched for them: standard output and error, ``/metrics``, the page and the
status, the ledger's files, and the bridge's own spans, log records and metrics.
"""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import environment, finish, start
from recording_sink import HttpAnswer, RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore, record_of
from otel_bridge.emulator.faults import Fault
from otel_bridge.times import SystemClock, format_time

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow]

KEY = "ak_canary_key_5d1f"
TOKEN = "token_canary_77aa"
HEADER = "header_canary_90bc"
PASSWORD = "password_canary_21ef"
SECRETS = (KEY, TOKEN, HEADER, PASSWORD)
ARGUMENT = "argument_canary_0a3c"
RESULT = "result_canary_4e5f"
MESSAGE = "message_canary_6b7d"
METADATA = "metadata_canary_8c9e"
PAYLOADS = (ARGUMENT, RESULT, MESSAGE, METADATA)
PAGES = ("/metrics", "/", "/api/status", "/readyz", "/livez")
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


def stored(records: int) -> LogStore:
    """Records whose payload is canaries, every third one failed, one that nobody can read."""
    now_ms = SystemClock().now_ms()
    found = []
    for number in range(records):
        at_ms = now_ms - 60_000 + number
        failed = number % 3 == 0
        entry: dict[str, Any] = {
            "id": f"log_canary{number:04}",
            "timestamp": format_time(at_ms),
            "type": "tool.execution",
            "status": "failed" if failed else "success",
            "level": "error" if failed else "info",
            "message": f"failed: {MESSAGE} {KEY}",
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail", "note": METADATA},
            "metrics": {"duration_ms": 12},
            "parent": None,
            "context": {"trace_id": "trace_1"},
            "data": {"request": {"body": ARGUMENT, "password": PASSWORD}, "response": {"text": RESULT}},
        }
        if number == 1:
            entry["level"] = {"odd": MESSAGE}
        found.append(record_of(entry, at_ms))
    return LogStore(found)


def fault(path: str, number: int) -> Fault | None:
    """Some requests go wrong, so that the words for it are searched too."""
    if path.endswith("canary0004"):
        return Fault(status=500)
    return Fault(cut_json=True) if number in {0, 3} else None


async def test_nothing_that_the_service_writes_holds_a_secret_or_a_payload(tmp_path: Path) -> None:
    options = EmulatorOptions(fault=fault, api_keys=(KEY,))
    async with EmulatorServer(options, stored(30)) as server, RecordingSink() as sink:
        echoed = json.dumps({"message": "busy"}).encode()
        sink.http_answers.append(HttpAnswer(503, echoed, {"content-type": "application/json"}))
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=server.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint.replace("//", f"//user:{PASSWORD}@"),
            OTEL_EXPORTER_OTLP_HEADERS=f"x-api-token={HEADER}",
            OTEL_BRIDGE_LISTEN="127.0.0.1:0",
            OTEL_BRIDGE_TOKEN=TOKEN,
            OTEL_BRIDGE_TELEMETRY="traces,logs,metrics",
            OTEL_METRIC_EXPORT_INTERVAL="500",
            OTEL_BRIDGE_LOG_LEVEL="debug",
            OTEL_BRIDGE_LOG_FORMAT="json",
            OTEL_BRIDGE_PARENT_WAIT="0s",
            PYTHONWARNINGS="default",
        )
        process = await start("run", env=env)
        assert process.stderr is not None
        first = await process.stderr.readuntil(b'"endpoints"')
        (url,) = set(_URL.findall(first.decode()))
        await sink.wait_for(spans=25, timeout_s=60)
        shown = await read_all(url)
        process.send_signal(signal.SIGTERM)
        done = await finish(process, 30)
    assert done.status == 0
    assert "window_collected" in done.err
    own = [one for one in (*sink.spans(), *sink.logs()) if "otel-bridge" in str(one[0])]
    written = {
        "standard output": done.out,
        "standard error": first.decode() + done.err,
        **shown,
        **ledger_files(tmp_path),
        "own spans and log records": str(own),
        "own metrics": str([each.body for each in sink.received if each.signal == "metrics"]),
    }
    assert "otel_bridge_records_delivered_total" in shown["/metrics"]
    assert "ledger.db" in written
    assert {"window", "otel_bridge.window_collected"} <= {getattr(each, "name", "") for _, _, each in own} | {
        getattr(each, "event_name", "") for _, _, each in own
    }
    canaries = (*SECRETS, *PAYLOADS)
    found = {(where, canary) for where, text in written.items() for canary in canaries if canary in text}
    # The page shows a failed call as a backend would, with the words of its failure.
    assert found <= {("/", MESSAGE)}
    # What is delivered is the person's own, but a key or an argument is in none of it.
    bodies = str([each.body for each in sink.received])
    assert [canary for canary in (*SECRETS, ARGUMENT, RESULT) if canary in bodies] == []


def ledger_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode("latin-1") for path in folder.glob("ledger.db*")}


async def read_all(url: str) -> dict[str, str]:
    """What the endpoints answer, with the token and without, and to what they refuse."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        answers = {path: (await client.get(path)).text for path in PAGES}
        body = {"log_id": "log_x", "traceparent": MESSAGE}
        for number, headers in enumerate(({}, {"authorization": f"Bearer {TOKEN}"}, {"authorization": KEY})):
            answer = await client.post("/v1/correlations", json=body, headers=headers)
            answers[f"/v1/correlations {number}"] = answer.text
        return answers
