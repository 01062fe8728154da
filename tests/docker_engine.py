"""Docker as the container tests use it: the engine, compose in either form, a project for each test."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_T = TypeVar("_T")
ROOT = Path(__file__).parents[1]
BASE = "python:3.11-slim-bookworm"
JAEGER = "jaegertracing/jaeger:2.20.0"
BRIDGE = "otel-bridge:local"
HOW = (
    "install Docker and docker compose, start the engine, and have the image there (.ci/images engine, base)"
)
NO_ENV = "tests/e2e/compose/none.env"
BUILD_S = 420


def docker(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run ``docker`` to its end, whatever that is."""
    return subprocess.run(
        ["docker", *arguments],  # noqa: S607 - the one on the path, as a user has it
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=environment(),
    )


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would steer the program or compose."""
    foreign = ("OTEL_", "COMPOSIO_", "COMPOSE_", "DD_", "JAEGER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **variables}


def has_image(name: str) -> bool:
    """Whether the engine has it."""
    return docker("image", "inspect", name).returncode == 0


def require_docker() -> None:
    """Skip the test where there is no engine, compose or base image; fail it where they are required."""
    if shutil.which("docker") is None:
        reason = "there is no docker"
    elif docker("info").returncode:
        reason = "no Docker engine runs"
    elif not compose_command():
        reason = "there is no docker compose"
    elif not has_image(BASE) and docker("pull", "--quiet", BASE, timeout_s=120).returncode:
        reason = f"the image {BASE} can't be had"
    else:
        return
    if os.environ.get("OTEL_BRIDGE_REQUIRE_DOCKER") == "1":
        pytest.fail(f"{reason}: {HOW}")
    pytest.skip(f"{reason}: {HOW}")


def compose_command() -> list[str]:
    """``docker compose`` or the older ``docker-compose``; empty where there is neither."""
    if docker("compose", "version").returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def have_jaeger() -> bool:
    """Whether an image of Jaeger is there, or can be made of ``JAEGER_BIN``, or pulled."""
    if has_image(JAEGER):
        return True
    binary = os.environ.get("JAEGER_BIN")
    if binary:
        build_from(
            f"FROM {BASE}\nCOPY {Path(binary).name} /jaeger\n"
            # As the real image: a user of its own, and a /tmp that it may write to.
            'USER 10001\nVOLUME /tmp\nENTRYPOINT ["/jaeger"]\n',
            JAEGER,
            Path(binary),
        )
        return True
    return docker("pull", "--quiet", JAEGER, timeout_s=180).returncode == 0


def build_from(dockerfile: str, tag: str, *files: Path) -> None:
    """Build a small image around files."""
    context = Path(tempfile.mkdtemp())
    try:
        for file in files:
            shutil.copy(file, context)
        (context / "Dockerfile").write_text(dockerfile)
        done = docker("build", "--quiet", "--tag", tag, str(context), timeout_s=BUILD_S)
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(context)


def build_bridge() -> None:
    """Build the real Dockerfile, as its first line says."""
    done = docker("build", "--quiet", "--tag", BRIDGE, str(ROOT), timeout_s=BUILD_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def free_port() -> int:
    """A port that was free a moment ago, below those that the system gives away by itself."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


@dataclass
class Compose:
    """One compose project.

    Attributes:
        files: The compose files, first the root's.
        ports: Where its published ports are, by their variable.
        root: The folder that the files are in.
        tag: The tag of the images that it builds.
    """

    files: Sequence[str]
    name: str = field(default_factory=lambda: f"otelbridge{uuid.uuid4().hex[:8]}")
    ports: dict[str, int] = field(default_factory=dict)
    root: Path = ROOT
    tag: str = "local"

    def __call__(
        self, *arguments: str, files: Sequence[str] = (), timeout_s: float = 180, check: bool = True
    ) -> str:
        """Run one command of compose; gives its standard output.

        Args:
            arguments: The command.
            files: Further compose files.
            timeout_s: What it may take.
            check: Whether a failure fails the test.
        """
        options = [part for each in (*self.files, *files) for part in ("-f", each)]
        # A person's own .env must not reach a test.
        command = [*compose_command(), "--env-file", NO_ENV, "-p", self.name, *options, *arguments]
        ports = {name: str(port) for name, port in self.ports.items()}
        done = subprocess.run(
            command,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment(VISITS_EVERY_S="2", OTEL_BRIDGE_TAG=self.tag, **ports),
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def container(self, service: str) -> str:
        """A service's container."""
        identity = self("ps", "-q", service).strip()
        if not identity:  # docker compose 2 lists what runs only
            identity = self("ps", "-a", "-q", service).strip()
        return identity

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        (found,) = json.loads(docker("inspect", self.container(service)).stdout)
        assert isinstance(found, dict)
        return found

    def log(self, service: str) -> list[str]:
        """The lines that a service has written."""
        done = docker("logs", self.container(service))
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]


@contextlib.contextmanager
def project(*files: str, root: Path = ROOT, tag: str = "local") -> Iterator[Compose]:
    """A project with ports of its own; everything it made, but for images, is removed at the end."""
    names = ("OTEL_BRIDGE_PORT", "JAEGER_UI_PORT", "JAEGER_OTLP_GRPC_PORT", "JAEGER_OTLP_HTTP_PORT")
    ports = {name: free_port() for name in names}
    compose = Compose(("docker-compose.yml", *files), ports=ports, root=root, tag=tag)
    try:
        yield compose
    finally:
        compose("down", "--volumes", "--timeout", "3", check=False)


def wait_until(what: Callable[[], _T], timeout_s: float, message: str) -> _T:
    """Ask twice a second until the answer is true; gives it."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = what()
            if found:
                return found
            last = found
        except OSError as error:
            last = error
        time.sleep(0.5)
    pytest.fail(f"{message}, not within {timeout_s:g} s: {last!r}")
