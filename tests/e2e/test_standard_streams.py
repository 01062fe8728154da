"""Standard streams as supervisors, pipes and full disks give them: the work is done all the same."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bridge_process import KEY, environment
from emulator_thread import surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator_thread import Surroundings

BRIDGE = f"{shlex.quote(sys.executable)} -m otel_bridge"
BASH = "/bin/bash"
ODD = ("unforeseen", "Traceback", "Exception ignored", "never retrieved")
# What a person is told where standard output can't be written.
FULL = "otel-bridge: standard output can't be written: no space left on device\n"


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    with surroundings(logs=5) as made:
        yield made


@pytest.fixture
def env(tmp_path: Path, around: Surroundings) -> dict[str, str]:
    return environment(
        tmp_path,
        COMPOSIO_API_KEY=KEY,
        COMPOSIO_BASE_URL=around.base_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=around.sink.http_endpoint,
    )


def shell(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [BASH, "-c", command],
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    for word in ODD:
        assert word not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["run --once", "status"])
def test_a_command_does_its_work_with_streams_closed(env: dict[str, str], command: str, closed: str) -> None:
    assert shell(f"{BRIDGE} {command} {closed}", env).returncode == 0


def test_the_service_needs_no_stream_and_no_ledger_takes_the_number_of_one(
    env: dict[str, str], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    ledger = tmp_path / "ledger.db"
    process = subprocess.Popen([BASH, "-c", f"echo $$ > {pid}; exec {BRIDGE} run <&- >&- 2>&-"], env=env)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not ledger.exists():
            time.sleep(0.05)
        streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert streams == [os.devnull] * 3


def test_a_full_disk_is_said_and_ends_the_command(env: dict[str, str]) -> None:
    done = shell(f"{BRIDGE} config > /dev/full", env)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_a_log_that_cant_be_written_stops_no_work(env: dict[str, str], around: Surroundings) -> None:
    before = len(around.sink.received)
    done = shell(f"OTEL_BRIDGE_START=36h {BRIDGE} run --once 2> /dev/full", env)
    assert (done.returncode, done.stdout) == (0, "5 records delivered\n")
    assert len(around.sink.received) > before
    done = shell(f"{BRIDGE} backfill --from 36h --to now --again 2> /dev/full", env)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["config --schema", "demo"])
def test_a_reader_that_has_read_enough_is_no_error(env: dict[str, str], command: str) -> None:
    done = shell(f"({BRIDGE} {command}; echo $? >&2) | head -1 > /dev/null", env)
    assert done.stderr in {"0\n", "1\n"}


def test_output_that_is_not_utf_8_is_readable_and_json_all_the_same(
    env: dict[str, str], around: Surroundings
) -> None:
    env |= {"PYTHONIOENCODING": "ascii", "OTEL_BRIDGE_LOG_FORMAT": "json", "OTEL_BRIDGE_START": "36h"}
    drawn = shell(f"{BRIDGE} demo", env).stdout
    assert drawn.isascii()
    assert "`- " in drawn
    assert "===" in drawn
    shown = shell(f"{BRIDGE} show --as otlp-json {around.ids[0]}", env)
    assert json.loads(shown.stdout)
    env["OTEL_BRIDGE_ÜBUNG_\N{GRINNING FACE}"] = "1"
    logged = shell(f"{BRIDGE} status", env).stderr
    assert logged.isascii()
    said = [json.loads(line)["message"] for line in logged.splitlines() if line.startswith("{")]
    assert any("OTEL_BRIDGE_ÜBUNG_\N{GRINNING FACE} is no setting" in each for each in said)
