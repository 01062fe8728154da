"""``docker-compose up`` of the demo, with no image of ours built before: traces within a minute.

It counts seconds, so it runs with nothing beside it: ``make demo-from-nothing``.
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from composed_demo import joined, services
from docker_engine import ROOT, docker, have_jaeger, project, require_docker, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(600)]
FILES = (
    "docker-compose.yml",
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "otel_bridge",
    "deploy",
    "examples/agent_app",
    "tests/sdk/composio-0.30.txt",
    "tests/e2e/compose",
)
IMAGES = ("otel-bridge", "otel-bridge-emulator", "otel-bridge-demo-app")
WITHIN_S = 60.0
AT_MOST_S = 300.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project in a folder of its own, with a line in each image's first files that no engine has seen.

    So every step is done anew, and what the engine's owner has built before is neither used nor removed.
    """
    for name in FILES:
        there = tmp_path / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, there)
    for name in ("constraints.txt", "tests/sdk/composio-0.30.txt"):
        with (tmp_path / name).open("a") as file:
            file.write(f"# {uuid.uuid4()}\n")
    return tmp_path


def test_the_demo_leads_from_nothing_to_traces_within_a_minute(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_docker()
    recorder = [] if have_jaeger() else ["tests/e2e/compose/recorder.yml"]
    tag = f"from-nothing-{uuid.uuid4().hex[:8]}"
    try:
        with project("deploy/compose/demo.yml", *recorder, root=checkout, tag=tag) as demo:
            began = time.monotonic()
            demo("up", "-d", timeout_s=AT_MOST_S)
            wait_until(lambda: "composio" in services(demo), AT_MOST_S, "tool calls in the backend")
            seen = time.monotonic() - began
            wait_until(lambda: joined(demo), AT_MOST_S, "a tool call under the application's span")
            stood = time.monotonic() - began
    finally:
        docker("image", "rm", *(f"{name}:{tag}" for name in IMAGES))
    with capsys.disabled():
        sys.stdout.write(
            f"\nfrom nothing to tool calls {seen:.1f} s, to one under the app's span {stood:.1f} s\n"
        )
    assert seen < WITHIN_S
    assert stood < WITHIN_S
