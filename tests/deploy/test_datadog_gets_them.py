"""Tool calls through a real Collector with Datadog's files, as Datadog's intake gets them.

A Collector with Datadog's exporter and connector is taken from ``OTELCOL_BIN``; an intake of our own stands
where Datadog's is, so what it makes of them is not shown.
"""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from bridge_process import environment, run
from datadog_intake import datadog_intake
from docker_engine import free_port, wait_until
from emulator_thread import Surroundings, surroundings
from programs import collector_with_datadog
from query_names import DEPLOY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(150)]
KEY = "0123456789abcdef0123456789abcdef"
LOGS = 60


@dataclass(frozen=True)
class Collector:
    """A Collector that a test starts, as often as it likes, on one queue.

    Attributes:
        program: The binary.
        folder: Where its queue is.
        destination: The name of the destination's file.
        port: Where it takes OTLP over HTTP.
    """

    program: str
    folder: Path
    destination: str
    port: int

    @contextmanager
    def running(self, exporters: dict[str, Any]) -> Iterator[None]:
        """Run it for as long as the block lasts, with this said of its exporters besides."""
        health_port = free_port()
        own = self.folder / "test.yaml"
        own.write_text(yaml.safe_dump({"exporters": exporters, **self._places(health_port)}))
        files = [DEPLOY / "otel-collector" / f"{name}.yaml" for name in ("base", self.destination)]
        process = subprocess.Popen(
            [self.program, *(f"--config=file:{file}" for file in (*files, own))],
            env={"DD_API_KEY": KEY, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: is_there(health_port), 30, "the Collector is there")
            yield
        finally:
            process.terminate()
            process.wait(30)

    def _places(self, health_port: int) -> dict[str, Any]:
        """Where it listens, and where its queue is."""
        http, grpc = {"endpoint": f"127.0.0.1:{self.port}"}, {"endpoint": "127.0.0.1:0"}
        return {
            "receivers": {"otlp": {"protocols": {"http": http, "grpc": grpc}}},
            "extensions": {
                "health_check": {"endpoint": f"127.0.0.1:{health_port}"},
                "file_storage": {"directory": str(self.folder / "queue")},
            },
            "service": {"telemetry": {"metrics": {"level": "none", "readers": []}}},
        }

    async def collect(self, around: Surroundings) -> None:
        """Have the bridge deliver every log of the emulator's to it."""
        done = await run(
            "run",
            "--once",
            env=environment(
                self.folder,
                COMPOSIO_API_KEY="ak_demo",
                COMPOSIO_BASE_URL=around.base_url,
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{self.port}",
                OTEL_BRIDGE_SIGNALS="traces,logs",
            ),
        )
        assert f"{LOGS} records delivered" in done.out + done.err


async def test_each_call_is_one_span_counted_once_and_one_log_record(tmp_path: Path) -> None:
    collector = Collector(collector_with_datadog(), tmp_path, "datadog", free_port())
    with datadog_intake() as intake, surroundings(logs=LOGS) as around:
        where = {"endpoint": intake.url}
        with collector.running({"datadog": {"metrics": where, "traces": where, "logs": where}}):
            await collector.collect(around)
            calls = tool_calls(around.base_url)
            expected = (calls, calls, LOGS)
            wait_until(lambda: intake.counted() == expected, 60, f"{expected} at the intake")
            assert intake.others == 0


async def test_by_otlp_an_outage_and_a_restart_of_the_collector_lose_nothing(tmp_path: Path) -> None:
    collector = Collector(collector_with_datadog(), tmp_path, "datadog-otlp", free_port())
    with datadog_intake() as intake, surroundings(logs=LOGS) as around:
        own = {"metrics": {"endpoint": intake.url}}
        nobody = {"endpoint": f"http://127.0.0.1:{free_port()}"}
        with collector.running({"otlp_http/datadog": nobody, "datadog/metrics": own}):
            await collector.collect(around)
        there = {"endpoint": around.sink.http_endpoint}
        with collector.running({"otlp_http/datadog": there, "datadog/metrics": own}):
            calls = tool_calls(around.base_url)
            wait_until(lambda: len([*around.sink.spans()]) == calls, 60, f"{calls} spans at the intake")
            wait_until(lambda: len([*around.sink.logs()]) == LOGS, 60, f"{LOGS} log records at the intake")
        first = next(each for each in around.sink.received if each.signal == "traces")
        assert (first.headers["dd-api-key"], first.headers["compute_stats"]) == (KEY, "true")
        assert b"operation.name" in first.body


def is_there(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def tool_calls(base_url: str) -> int:
    """How many of the emulator's logs are calls of tools."""
    url = f"{base_url}/api/v3.1/logs/tool_execution"
    page = httpx.post(url, json={"limit": 100}, headers={"x-api-key": "ak_demo"}).json()
    return sum(each["type"] == "tool.execution" for each in page["logs"])
