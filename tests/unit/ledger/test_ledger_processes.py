"""A ledger and real processes: killed at any moment, two at a time, one that reads while another writes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_program import MINUTE, RECORDS, batch

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane, SqliteLedger, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("ledger_program.py")
KILLS = 8


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test has started; those that still run are ended."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with process:
            process.kill()


def start(started: list[subprocess.Popen[str]], *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    # Not communicate(): it reads past what readline() has taken into its buffer, and those lines are lost.
    output = process.stdout.read()
    process.wait(timeout=60)
    # The last line may have been cut by the kill: only what ends in a line feed was said.
    return output.split("\n")[:-1]


async def committed(path: Path) -> int:
    """How many batches are in the ledger, each of them whole."""
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    try:
        windows = await ledger.windows("p", Lane.LIVE)
        assert windows == [
            Window("p", Lane.LIVE, n * MINUTE, (n + 1) * MINUTE, 1, 0, RECORDS) for n in range(len(windows))
        ]
        ids = [each.log_id for n in range(len(windows) + 3) for each in batch(n)]
        assert await ledger.known("p", ids) == set(ids[: len(windows) * RECORDS])
        assert (await ledger.status(["p"]))[0].delivered == len(windows) * RECORDS
    finally:
        await ledger.close()
    return len(windows)


async def test_a_killed_writer_leaves_all_it_acknowledged_and_no_half_of_anything(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    path, count = tmp_path / "ledger.db", 0
    for _ in range(KILLS):
        process = start(started, "write", path, count)
        assert first_line(process) == "open"
        time.sleep(rng.uniform(0, 0.15))  # noqa: ASYNC251 - nothing else runs on this loop
        process.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in rest(process)]
        assert acknowledged == list(range(count, count + len(acknowledged)))
        found = await committed(path)
        assert found - count - len(acknowledged) in (0, 1), f"seed {seed}"
        count = found
    assert count > KILLS, "the writer never came to write"


async def test_status_reads_while_the_service_writes(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    path = tmp_path / "ledger.db"
    writer = start(started, "write", path, 0)
    assert first_line(writer) == "open"
    reader = start(started, "read", path, 20)
    counts = [int(line) for line in rest(reader)]
    assert reader.returncode == 0
    assert len(set(counts)) == 20
    assert counts == sorted(counts)
    assert all(count % RECORDS == 0 for count in counts)
    writer.kill()
    writer.wait()
    # What a killed service leaves behind is readable as well, before anybody recovers it.
    late = start(started, "read", path, 1)
    assert int(rest(late)[0]) >= counts[-1]


async def test_a_second_service_is_told_who_has_the_ledger(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    path = tmp_path / "ledger.db"
    holder = start(started, "hold", path, 0)
    assert first_line(holder) == "open"
    second = SqliteLedger(path, SimulatedClock())
    with pytest.raises(LedgerError) as error:
        await second.open()
    assert str(error.value) == (
        f"The ledger {path} is in use by another otel-bridge (pid {holder.pid}): "
        "stop it first, or set OTEL_BRIDGE_STATE to another file"
    )
    holder.kill()
    holder.wait()
    await second.open()
    other = start(started, "hold", path, 0)
    assert f"(pid {os.getpid()})" in rest(other)[0]
    assert other.returncode == 1
    await second.close()


async def test_a_disk_that_takes_no_more_loses_nothing_that_was_acknowledged(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    path = tmp_path / "ledger.db"
    writer = start(started, "small", path, 400_000)
    *acknowledged, error = rest(writer)
    assert writer.returncode == 1
    assert error.startswith(f"The ledger {path} can't be used, the disk fails (disk I/O error): ")
    assert len(acknowledged) > 10
    assert await committed(path) == len(acknowledged)
