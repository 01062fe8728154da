"""The log as somebody reads it who looks at nothing else: a line a window, each for machines too."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from typing import TYPE_CHECKING

from bridge_process import KEY, environment, finish, run, start
from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.faults import Fault
from otel_bridge.service.actions import ACTIONS

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = {"time", "level", "message", "action"}


def surroundings(
    folder: Path, server: EmulatorServer, sink: RecordingSink, **variables: str
) -> dict[str, str]:
    return environment(
        folder,
        COMPOSIO_API_KEY=KEY,
        COMPOSIO_BASE_URL=server.base_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
        OTEL_BRIDGE_PARENT_WAIT="0s",
        **variables,
    )


def read(written: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in written.splitlines() if line.startswith("{")]


async def lines_of(folder: Path, logs: int, **variables: str) -> list[dict[str, str]]:
    """What one run over some records writes."""
    async with EmulatorServer(EmulatorOptions(logs=logs)) as server, RecordingSink() as sink:
        done = await run("run", "--once", env=surroundings(folder, server, sink, **variables))
    assert done.status == 0, done.err
    return read(done.err)


async def test_at_info_there_is_one_line_a_window_however_many_records_are_in_it(tmp_path: Path) -> None:
    lines = await lines_of(tmp_path, 400)
    assert all(line.keys() >= ALWAYS and line["action"] in ACTIONS for line in lines)
    windows = [line for line in lines if line["action"] in {"window_collected", "window_rechecked"}]
    ranges = Counter((line["action"], line["window_from"], line["window_to"]) for line in windows)
    assert windows
    assert set(ranges.values()) == {1}
    assert sum(int(line["delivered"]) for line in windows) == 400
    assert len(lines) <= len(windows) + 5, "nothing else says something of each record"


async def test_debug_tells_more_and_warning_tells_nothing_of_what_goes_well(tmp_path: Path) -> None:
    for level, expected in (("warning", set()), ("info", {"info"})):
        folder = tmp_path / level
        folder.mkdir()
        lines = await lines_of(folder, 20, OTEL_BRIDGE_LOG_LEVEL=level)
        assert {line["level"] for line in lines} == expected


async def test_a_failure_that_repeats_is_told_once_and_then_counted(tmp_path: Path) -> None:
    refused, often = 0, asyncio.Event()

    def refuses(path: str, number: int) -> Fault | None:
        """No list can be read."""
        nonlocal refused
        del number
        if not path.endswith("tool_execution"):
            return None
        refused += 1
        if refused > 9:
            often.set()
        return Fault(cut_json=True)

    async with EmulatorServer(EmulatorOptions(logs=20, fault=refuses)) as server, RecordingSink() as sink:
        process = await start("run", env=surroundings(tmp_path, server, sink))
        async with asyncio.timeout(60):
            await often.wait()
        process.send_signal(signal.SIGTERM)
        done = await finish(process, 30)
    assert done.status == 0
    failures = [line for line in read(done.err) if line["level"] in {"warning", "error"}]
    assert failures
    kinds = Counter(re.sub(r"\d+", "#", line["message"].split(" (")[0]) for line in failures)
    assert max(kinds.values()) <= 2, "once when it is new, and once at the end with how often it came"
    assert any("more in the last" in line["message"] for line in failures)
