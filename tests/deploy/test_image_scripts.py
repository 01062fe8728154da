"""What the image runs beside the bridge: the shell for Docker's restart policy, and the health check."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_bridge.listening import listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "deploy" / "docker"
BRIDGE = """#!/bin/sh
trap 'echo stopped >> {folder}/asked; exit {on_stop}' TERM
echo "$@" > {folder}/asked
{body}
"""


@contextmanager
def service(folder: Path, body: str, on_stop: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """The script with a bridge that does this; both are gone after the block."""
    bridge = folder / "otel-bridge"
    bridge.write_text(BRIDGE.format(folder=folder, body=body, on_stop=on_stop))
    bridge.chmod(0o755)
    # A suite that a shell runs in the background ignores interrupts, and so would all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            ["/bin/sh", str(FOLDER / "service.sh"), "run", "--config", "x.yaml"],
            env={"PATH": f"{folder}:{os.environ['PATH']}"},
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(("ends_with", "told"), [(0, 0), (1, 1), (2, 0), (137, 137)])
def test_docker_is_told_of_a_failure_but_not_of_wrong_settings(
    tmp_path: Path, ends_with: int, told: int
) -> None:
    with service(tmp_path, f"exit {ends_with}") as process:
        assert process.wait(10) == told
    assert (tmp_path / "asked").read_text() == "run --config x.yaml\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("on_stop", "told"), [(0, 143), (1, 1), (2, 0)])
def test_a_stop_reaches_the_bridge_and_is_waited_for(
    tmp_path: Path, number: signal.Signals, on_stop: int, told: int
) -> None:
    with service(tmp_path, "while :; do sleep 0.1; done", on_stop) as process:
        deadline = time.monotonic() + 10
        while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(10) == told
    assert (tmp_path / "asked").read_text().endswith("stopped\n")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /livez so; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def health(listen: str) -> int:
    return subprocess.run(
        [sys.executable, "-IS", str(FOLDER / "healthcheck.py")],
        env={"OTEL_BRIDGE_LISTEN": listen},
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


@pytest.mark.parametrize(("status", "outcome"), [(200, 0), (503, 1), (404, 1)])
def test_health_is_what_livez_says(status: int, outcome: int) -> None:
    with answering(status) as port:
        # It asks this machine whatever is listened on.
        assert health(f"0.0.0.0:{port}") == outcome
        assert health(f"127.0.0.1:{port}") == outcome
        assert health(f"[::]:{port}") == outcome
        assert health(f"'[::]:{port}'\r") == outcome


def test_nobody_there_is_not_healthy() -> None:
    with answering(200) as port:
        pass
    assert health(f"127.0.0.1:{port}") == 1


def test_health_is_asked_over_ipv6_where_that_is_all_there_is() -> None:
    with listener("::1", 0, 1) as there:
        port = there.getsockname()[1]
        answering_there = threading.Thread(target=_answer_once, args=(there,))
        answering_there.start()
        assert health(f"[::]:{port}") == 0
        answering_there.join()


def _answer_once(there: socket.socket) -> None:
    connection, _ = there.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def test_with_the_endpoints_off_there_is_nothing_to_ask() -> None:
    assert health("") == 0


def test_requirements_are_those_of_the_project_and_of_the_extras_named() -> None:
    root = FOLDER.parents[1]

    def listed(*extras: str) -> list[str]:
        command = [sys.executable, str(FOLDER / "requirements.py"), str(root / "pyproject.toml"), *extras]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    plain = listed()
    assert any(each.startswith("httpx") for each in plain)
    assert not any(each.startswith("psycopg") for each in plain)
    assert any(each.startswith("psycopg") for each in listed("postgres"))


def test_a_checkout_on_windows_starts_too(tmp_path: Path) -> None:
    root, program = FOLDER.parents[1], shutil.which("git")

    def git(*words: str) -> None:
        assert program is not None
        subprocess.run([program, "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init", "-q")
    git("config", "core.autocrlf", "true")
    (tmp_path / ".gitattributes").write_bytes((root / ".gitattributes").read_bytes())
    script = tmp_path / "service.sh"
    script.write_bytes((FOLDER / "service.sh").read_bytes())
    git("add", ".")
    git("-c", "user.email=a@b.example", "-c", "user.name=a", "commit", "-qm", "one")
    script.unlink()
    git("checkout", "-q", "--", ".")
    assert b"\r" not in script.read_bytes()


def test_the_image_takes_carriage_returns_out_of_what_a_shell_reads() -> None:
    # A checkout that was packed on Windows, or an editor, may put them there all the same.
    built = (FOLDER.parents[1] / "Dockerfile").read_text()
    command = next(line for line in built.splitlines() if "service.sh" in line and "sed" in line)
    assert command.strip(" \\&") == r"sed -i 's/\r$//' docker/service.sh"
