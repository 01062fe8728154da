"""Arize Phoenix as a process: a trace store with an API and a page that this project did not write.

It has a virtual environment of its own, for it brings half of PyPI: ``make phoenix``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAM = Path(__file__).parents[1] / ".venv-phoenix" / "bin" / "phoenix"
HOW = "make phoenix"
_START_S = 90.0


@dataclass(frozen=True)
class Phoenix:
    """A running Phoenix.

    Attributes:
        url: Its page, its API, and the endpoint for OTLP over HTTP.
        otlp_grpc: The endpoint for OTLP over gRPC.
    """

    url: str
    otlp_grpc: str

    async def spans(self, project: str = "default") -> list[dict[str, Any]]:
        """Every span of a project."""
        found: list[dict[str, Any]] = []
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            cursor: str | None = None
            while True:
                parameters = {"limit": "500", **({"cursor": cursor} if cursor else {})}
                answer = await client.get(f"/v1/projects/{project}/spans", params=parameters)
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return []
                answer.raise_for_status()
                page = answer.json()
                found += page["data"]
                cursor = page.get("next_cursor")
                if not cursor:
                    return found


def phoenix_program() -> Path:
    """Find it; skip the test where there is none, or fail it where backends are required."""
    program = Path(os.environ.get("PHOENIX_BIN", PROGRAM))
    if program.exists():
        return program
    reason = f"Phoenix is not installed: {HOW}"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.asynccontextmanager
async def running_phoenix(folder: Path) -> AsyncIterator[Phoenix]:
    """Run Phoenix on ports of its own, with its data in ``folder``."""
    program = phoenix_program()
    http_port, grpc_port = _free_ports()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(http_port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    output = folder / "phoenix.log"
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - to start it takes no time
            [str(program), "serve"], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{http_port}"
        if not await _answers(process, url):
            pytest.fail(f"Phoenix did not start: {output.read_text()[-2000:]}")
        yield Phoenix(url, f"http://127.0.0.1:{grpc_port}")
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = asyncio.get_running_loop().time() + _START_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/healthz")).status_code == httpx.codes.OK:
                    return True
            await asyncio.sleep(0.2)
    return False


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
