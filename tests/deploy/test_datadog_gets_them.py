"""Tool calls through a real Collector with ``datadog.yaml``, as Datadog's intake gets them.

A Collector with Datadog's exporter and connector is taken from ``OTELCOL_BIN``; an intake of our own stands
where Datadog's is, so what it makes of them is not shown.
"""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from bridge_process import environment, run
from datadog_intake import DatadogIntake, datadog_intake
from docker_engine import free_port, wait_until
from emulator_thread import surroundings
from programs import collector_with_datadog
from query_names import DEPLOY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(120)]
KEY = "0123456789abcdef0123456789abcdef"
LOGS = 60


def overlay(folder: Path, intake: DatadogIntake, port: int, health_port: int) -> Path:
    """What a test changes: where it listens, where its queue is, and where Datadog is."""
    where = {"endpoint": intake.url}
    (folder / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "receivers": {
                    "otlp": {
                        "protocols": {
                            "http": {"endpoint": f"127.0.0.1:{port}"},
                            "grpc": {"endpoint": "127.0.0.1:0"},
                        }
                    }
                },
                "extensions": {
                    "health_check": {"endpoint": f"127.0.0.1:{health_port}"},
                    "file_storage": {"directory": str(folder / "queue")},
                },
                "exporters": {"datadog": {"metrics": where, "traces": where, "logs": where}},
                "service": {"telemetry": {"metrics": {"level": "none", "readers": []}}},
            }
        )
    )
    return folder / "test.yaml"


async def test_each_call_is_one_span_counted_once_and_one_log_record(tmp_path: Path) -> None:
    collector = collector_with_datadog()
    port, health_port = free_port(), free_port()
    with datadog_intake() as intake, surroundings(logs=LOGS) as around:
        files = [DEPLOY / "otel-collector" / f"{name}.yaml" for name in ("base", "datadog")]
        options = [f"--config=file:{file}" for file in (*files, overlay(tmp_path, intake, port, health_port))]
        process = subprocess.Popen(  # noqa: ASYNC220 - it is only started
            [collector, *options],
            env={"DD_API_KEY": KEY, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: is_there(health_port), 30, "the Collector is there")
            done = await run(
                "run",
                "--once",
                env=environment(
                    tmp_path,
                    COMPOSIO_API_KEY="ak_demo",
                    COMPOSIO_BASE_URL=around.base_url,
                    OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
                    OTEL_BRIDGE_SIGNALS="traces,logs",
                ),
            )
            assert f"{LOGS} records delivered" in done.out + done.err
            calls = tool_calls(around.base_url)
            expected = (calls, calls, LOGS)
            wait_until(lambda: intake.counted() == expected, 60, f"{expected} at the intake")
            assert intake.others == 0
        finally:
            process.terminate()
            process.wait(20)


def is_there(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def tool_calls(base_url: str) -> int:
    """How many of the emulator's logs are calls of tools."""
    url = f"{base_url}/api/v3.1/logs/tool_execution"
    page = httpx.post(url, json={"limit": 100}, headers={"x-api-key": "ak_demo"}).json()
    return sum(each["type"] == "tool.execution" for each in page["logs"])
