"""Jaeger v2 as a process: from ``JAEGER_BIN``, from the path, or from its image where Docker runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from docker_engine import JAEGER, docker, has_image
from jaeger_query import SERVICES, StoredSpan, operations_path, search_path, spans_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

CONFIG = Path(__file__).parents[1] / "deploy" / "jaeger"
HOW = "set JAEGER_BIN to a Jaeger v2 (jaegertracing.io/download), or have its image: docker pull " + JAEGER
_START_S = 60.0
_PORTS = ("QUERY", "QUERY_GRPC", "OTLP_HTTP", "OTLP_GRPC", "HEALTH", "METRICS", "SPANMETRICS")


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger.

    Attributes:
        query: The base URL of its query API and UI.
        otlp_http: The endpoint for OTLP over HTTP.
        otlp_grpc: The endpoint for OTLP over gRPC.
    """

    query: str
    otlp_http: str
    otlp_grpc: str

    async def ask(self, path: str) -> Any:
        """What its API answers; nothing where it says that it found nothing."""
        async with httpx.AsyncClient(base_url=self.query, timeout=60, trust_env=False) as client:
            answer = await client.get(path)
            if answer.status_code == httpx.codes.NOT_FOUND and "No traces found" in answer.text:
                return {"result": {}}
            answer.raise_for_status()
            return answer.json()

    async def services(self) -> set[str]:
        """The services that it has spans of."""
        return set((await self.ask(SERVICES))["services"])

    async def operations(self, service: str) -> set[str]:
        """The names of a service's spans."""
        return {each["name"] for each in (await self.ask(operations_path(service)))["operations"]}

    async def spans(self, service: str, **attributes: str) -> list[StoredSpan]:
        """Every span of the traces in which a span of the service has these attributes."""
        return spans_of(await self.ask(search_path(service, **attributes)))


def _command(folder: Path) -> tuple[list[str], str]:
    """How to start it, and where it finds its configuration."""
    binary = os.environ.get("JAEGER_BIN") or shutil.which("jaeger")
    if binary:
        return [binary], str(CONFIG)
    if shutil.which("docker") and docker("info").returncode == 0 and has_image(JAEGER):
        name = f"otel-bridge-jaeger-{os.getpid()}-{folder.name}"
        data = folder / "jaeger"
        data.mkdir(exist_ok=True)
        # Its data outlasts the container, and belongs to whoever runs the test.
        options = ["--rm", "--name", name, "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        options += ["--volume", f"{CONFIG}:/etc/jaeger:ro", "--volume", f"{data}:/tmp"]
        passed = [part for port in _PORTS for part in ("--env", f"JAEGER_{port}_PORT")]
        return ["docker", "run", *options, *passed, "--env", "JAEGER_LISTEN_HOST", JAEGER], "/etc/jaeger"
    pytest.skip(f"there is no Jaeger: {HOW}")


@contextlib.asynccontextmanager
async def running_jaeger(folder: Path, configs: Sequence[str] = ("config.yaml",)) -> AsyncIterator[Jaeger]:
    """Run Jaeger with the configuration in deploy/, on ports of its own, with its data in ``folder``."""
    command, config = _command(folder)
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    environment = {f"JAEGER_{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {"JAEGER_LISTEN_HOST": "127.0.0.1"}
    if command[0] != "docker":
        environment |= {"JAEGER_DATA": str(folder / "jaeger"), "JAEGER_UI_CONFIG": f"{config}/ui.json"}
    options = [part for each in configs for part in ("--config", f"file:{config}/{each}")]
    output = folder / "jaeger.log"
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - to start it takes no time
            [*command, *options], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        if not await _healthy(process, ports["HEALTH"]):
            pytest.fail(f"Jaeger did not start: {output.read_text()[-2000:]}")
        yield Jaeger(*(f"http://127.0.0.1:{ports[name]}" for name in ("QUERY", "OTLP_HTTP", "OTLP_GRPC")))
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _healthy(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = asyncio.get_running_loop().time() + _START_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get(f"http://127.0.0.1:{port}/status")
                if answer.status_code == httpx.codes.OK and answer.json().get("healthy"):
                    return True
            await asyncio.sleep(0.1)
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
