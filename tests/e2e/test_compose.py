"""``docker-compose up`` as a user has it: the real Dockerfile and compose files, traces in the backend."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from composed_demo import ask, joined, services, spans
from docker_engine import (
    BASE,
    BRIDGE,
    Compose,
    build_bridge,
    docker,
    have_jaeger,
    project,
    require_docker,
    wait_until,
)

from otel_bridge import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(900)]
DEMO = "deploy/compose/demo.yml"
RECORDER = "tests/e2e/compose/recorder.yml"
WRONG_KEY = "tests/e2e/compose/wrong_key.yml"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def backend() -> list[str]:
    """Builds the image; gives the files that the backend needs besides: none where there is a Jaeger."""
    require_docker()
    build_bridge()
    return [] if have_jaeger() else [RECORDER]


@pytest.fixture
def demo(backend: list[str]) -> Iterator[Compose]:
    with project(DEMO, *backend) as compose:
        compose("build", "emulator", "app", timeout_s=420)
        yield compose


def test_the_image_is_small_and_runs_as_nobody_on_a_file_system_that_it_can_not_write(
    backend: list[str],
) -> None:
    del backend  # it builds the image
    (image,), (base,) = (json.loads(docker("image", "inspect", name).stdout) for name in (BRIDGE, BASE))
    # The base, python:3.11-slim-bookworm, has 130 MB; a stand-in for it may have more.
    assert image["Size"] - base["Size"] < 70_000_000
    config = image["Config"]
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert config["Healthcheck"]["Test"][-1].endswith("healthcheck.py")
    assert list(config["Volumes"]) == ["/var/lib/otel-bridge"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"

    locked = ("run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none")
    assert docker(*locked, BRIDGE, "--version").stdout == f"otel-bridge {__version__}\n"
    tools = "command -v pip pip3 gcc cc make; id -u; touch /opt/x /var/lib/otel-bridge/x; echo $?"
    done = docker(*locked, "--entrypoint", "sh", BRIDGE, "-c", tools)
    assert done.stdout.split() == ["10001", "1"]
    assert "/opt/x" in done.stderr
    assert "/var/lib/otel-bridge/x" not in done.stderr


def test_docker_stop_ends_it_with_0(backend: list[str]) -> None:
    del backend
    started = docker("run", "--detach", "--network", "none", "--env", "COMPOSIO_API_KEY=ak_made_up", BRIDGE)
    container = started.stdout.strip()
    try:

        def is_alive() -> bool:
            check = ("python", "-IS", "/opt/otel-bridge/lib/healthcheck.py")
            return docker("exec", container, *check).returncode == 0

        wait_until(is_alive, WITHIN_S, "healthy by its own check")
        began = time.monotonic()
        docker("stop", container)
        assert time.monotonic() - began < 10
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0"
    finally:
        docker("rm", "--force", "--volumes", container)


def test_without_a_key_one_line_says_so_and_the_rest_stays_up(backend: list[str]) -> None:
    with project(*backend) as compose:
        compose("up", "-d", "--no-build")

        def has_stopped() -> bool:
            state = compose.state("bridge")["State"]
            return (state["Status"], state["ExitCode"]) == ("exited", 0)

        wait_until(has_stopped, WITHIN_S, "the bridge stops")
        time.sleep(3)  # a restart would come within a second
        assert has_stopped()
        assert compose.state("bridge")["RestartCount"] == 0
        (line,) = compose.log("bridge")
        assert "COMPOSIO_API_KEY" in line
        assert compose.state("jaeger")["State"]["Status"] == "running"


def test_who_has_seen_enough_of_the_demo_keeps_ledger_and_traces() -> None:
    require_docker()
    with project(DEMO) as compose:
        mine = {f"{compose.name}_bridge-state", f"{compose.name}_jaeger-data"}
        try:
            for name in (*mine, f"{compose.name}_demo-state"):
                assert docker("volume", "create", name).returncode == 0
            compose("down", "--volumes")
            left = docker("volume", "ls", "--quiet", "--filter", f"name={compose.name}").stdout.split()
        finally:
            docker("volume", "rm", "--force", *mine)
    assert set(left) == mine


def test_the_demo_leads_to_traces_and_loses_none_whatever_stops_meanwhile(demo: Compose) -> None:
    # A wrong key, and no Jaeger yet: the bridge runs, and says what it lacks.
    demo("up", "-d", "--no-build", "--no-deps", "emulator", "bridge", files=[WRONG_KEY])
    reasons = wait_until(lambda: not_ready(demo, "key"), WITHIN_S, "/readyz tells of the key")
    assert "ak_invalid" not in reasons

    # The right one; Jaeger starts after the bridge has found what it can't deliver yet.
    demo("up", "-d", "--no-build", "--no-deps", "emulator", "bridge")
    wait_until(lambda: not_ready(demo, "jaeger"), WITHIN_S, "/readyz tells of the destination")
    assert demo.state("bridge")["RestartCount"] == 0

    began = time.monotonic()
    demo("up", "-d", "--no-build")
    wait_until(lambda: "composio" in services(demo), WITHIN_S, "tool calls in the backend")
    wait_until(lambda: joined(demo), WITHIN_S, "a tool call under the application's span")
    assert time.monotonic() - began < WITHIN_S
    # A demo tells nobody that it runs: where the vendor's SDK would, is this container itself.
    assert demo("exec", "-T", "app", "python", "-c", WHERE_THE_SDK_TELLS).strip() == "127.0.0.1"

    # A restart in the middle, of each side.
    demo("restart", "-t", "12", "bridge")
    demo("stop", "-t", "5", "jaeger")
    time.sleep(2)
    demo("start", "jaeger")
    wait_until(lambda: ask(demo, "/readyz") == (200, {"status": "ready", "reasons": []}), WITHIN_S, "ready")
    # New calls go on coming in, so what is asked for is what was there when everything was up again.
    known = emulated(demo)
    wait_until(lambda: known <= exported(demo), WITHIN_S, "every tool call in the backend")
    calls = [span for span in spans(demo, "composio") if span.service == "composio"]
    assert len({(span.trace_id, span.span_id) for span in calls}) == len(calls), "shown twice"
    assert any(span.failed for span in calls)

    assert_a_stop_is_final_and_a_fall_is_not(demo)


def assert_a_stop_is_final_and_a_fall_is_not(demo: Compose) -> None:
    container = demo.container("bridge")
    began = time.monotonic()
    demo("stop", "bridge")
    assert time.monotonic() - began < 14
    state = demo.state("bridge")
    # The shell's number for SIGTERM: Docker brings back after a reboot what did not end with 0.
    assert (state["State"]["ExitCode"], state["State"]["OOMKilled"]) == (143, False)
    # A fall, unlike a stop, is followed by a start.
    demo("start", "bridge")
    wait_until(lambda: ask(demo, "/livez")[0] == 200, WITHIN_S, "alive again")
    # The container ends with the bridge, and may take the one that killed it along: 137.
    assert docker("exec", container, "python", "-c", KILL_THE_BRIDGE).returncode in (0, 137)
    wait_until(lambda: demo.state("bridge")["RestartCount"] == 1, WITHIN_S, "started again")
    wait_until(lambda: ask(demo, "/livez")[0] == 200, WITHIN_S, "alive after the fall")


WHERE_THE_SDK_TELLS = """
import socket, urllib.parse
from composio.core.models import _telemetry
print(socket.gethostbyname(urllib.parse.urlsplit(_telemetry.TELEMETRY_URL).hostname))
"""

# Process 1 is the shell; what it started is the bridge.
KILL_THE_BRIDGE = """
import os, pathlib, signal
for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
    pid, _, rest = status.read_text().partition(" ")
    if rest.rpartition(") ")[2].split()[1] == "1" and int(pid) != os.getpid():
        os.kill(int(pid), signal.SIGKILL)
        break
else:
    raise SystemExit(1)
"""


def not_ready(compose: Compose, word: str) -> str:
    """The reasons of /readyz once it answers 503 and they hold the word."""
    status, answer = ask(compose, "/readyz")
    text = json.dumps(answer)
    return text if status == 503 and re.search(word, text, re.IGNORECASE) else ""


def emulated(compose: Compose) -> set[str]:
    """The ids of every tool call that the emulator has logged."""
    script = (
        "import json, urllib.request as r; b = 'http://127.0.0.1:8791'\n"
        "q = r.Request(b + '/api/v3.1/logs/tool_execution', json.dumps({'limit': 100}).encode(),"
        " {'x-api-key': 'ak_demo', 'content-type': 'application/json'})\n"
        "ids, cursor = [], None\n"
        "while True:\n"
        "    q.data = json.dumps({'limit': 100, 'cursor': cursor}).encode()\n"
        "    page = json.load(r.urlopen(q))\n"
        "    ids += [each['id'] for each in page['logs'] if each['type'] == 'tool.execution']\n"
        "    cursor = page['next_cursor']\n"
        "    if not cursor: break\n"
        "print(json.dumps(ids))\n"
    )
    found: list[str] = json.loads(compose("exec", "-T", "emulator", "python", "-c", script))
    assert len(found) >= 200
    return set(found)


def exported(compose: Compose) -> set[str]:
    return {str(span.log_id) for span in spans(compose, "composio") if span.service == "composio"}
