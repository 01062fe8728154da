"""Programs that a test runs where they are: by ``NAME_BIN``, or from the path."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path


def program(name: str, how: str, *, required: bool = False) -> str:
    """A program's path; where there is none the test is skipped, or fails where it is required."""
    found = os.environ.get(f"{name.upper()}_BIN") or shutil.which(name)
    if found is None:
        reason = f"{name} is not there: {how}"
        if required and os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run to its end; gives all it wrote. A failure fails the test."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def datadog_parts(collector: str) -> set[str]:
    """Which of Datadog's parts a Collector was built with."""
    components = yaml.safe_load(run(collector, "components"))
    return {
        kind.removesuffix("s")
        for kind in ("exporters", "connectors")
        if any(part["name"] == "datadog" for part in components.get(kind) or ())
    }


def collector_with_datadog() -> str:
    """A Collector that has Datadog's parts; where there is none the test is skipped."""
    collector = program("otelcol", "set OTELCOL_BIN to an otelcol-contrib 0.155 or newer")
    if not {"exporter", "connector"} <= datadog_parts(collector):
        pytest.skip("this Collector lacks Datadog's parts: take the contrib distribution")
    return collector
