"""rotel as a process: an independent OTLP collector, from its wheel's binary.

Its own telemetry is off unless asked for, and here it is not. What it receives it forwards to an endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_STARTS = 3
_START_S = 15.0


@dataclass(frozen=True)
class Rotel:
    """Where it listens."""

    http_endpoint: str
    grpc_endpoint: str


def rotel_binary() -> Path:
    """Find the binary; skip the test where there is none, or fail it where backends are required."""
    spec = importlib.util.find_spec("rotel")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "rotel-agent"
        if binary.exists():
            return binary
    reason = "rotel is not installed: pip install 'otel-bridge[test]' on Linux"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.asynccontextmanager
async def running_rotel(forward_to: str, *, protocol: str = "http") -> AsyncIterator[Rotel]:
    """Run rotel for as long as the context lasts.

    Args:
        forward_to: The base endpoint that it forwards to.
        protocol: How it forwards: ``http`` or ``grpc``.
    """
    binary = rotel_binary()
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(1, _STARTS + 1):
            http_port, grpc_port = _free_ports()
            process = _start(binary, Path(folder), http_port, grpc_port, forward_to, protocol)
            try:
                if await _listens(process, http_port) and await _listens(process, grpc_port):
                    yield Rotel(f"http://127.0.0.1:{http_port}", f"http://127.0.0.1:{grpc_port}")
                    return
            finally:
                process.terminate()
                try:
                    await asyncio.to_thread(process.wait, 10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if attempt == _STARTS:
                pytest.fail(f"rotel did not start: {(Path(folder) / 'output').read_text()[-2000:]}")


def _free_ports() -> tuple[int, int]:
    # rotel can't tell which port it was given, so it is told one that was free a moment ago.
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _start(  # noqa: PLR0917 - what a process is told
    binary: Path, folder: Path, http_port: int, grpc_port: int, forward_to: str, protocol: str
) -> subprocess.Popen[bytes]:
    options = {
        "--otlp-http-endpoint": f"127.0.0.1:{http_port}",
        "--otlp-grpc-endpoint": f"127.0.0.1:{grpc_port}",
        "--exporter": "otlp",
        "--otlp-exporter-endpoint": forward_to,
        "--otlp-exporter-protocol": protocol,
        "--batch-timeout": "50ms",
        "--pid-file": str(folder / "pid"),
        "--log-file": str(folder / "log"),
    }
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [str(binary), "start", *(part for option in options.items() for part in option)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
        )


async def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = asyncio.get_running_loop().time() + _START_S
    while process.poll() is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return True
    return False
