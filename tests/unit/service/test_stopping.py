"""A stop waits for what is with a destination, and for nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from otel_bridge.ledger import sqlite_file
from otel_bridge.pipeline.deliver import InProgress
from otel_bridge.service import stopping
from otel_bridge.service.stopping import finish
from otel_bridge.telemetry import log_records, meters, tracing
from otel_bridge.web import server

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest


async def stopped(
    *lanes: tuple[Coroutine[None, None, str], InProgress],
) -> tuple[list[asyncio.Task[str]], float]:
    """Start the lanes, stop, and tell how long they took to end, in seconds."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(each) for each, _ in lanes]
    await asyncio.sleep(0.01)
    stop.set()
    began_s = time.monotonic()
    await finish(tasks, [each for _, each in lanes], stop)
    return tasks, time.monotonic() - began_s


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def deliver(in_progress: InProgress, seconds: float, *, then_hang: bool = False) -> str:
    with in_progress.batch():
        await asyncio.sleep(seconds)
    if then_hang:
        await asyncio.Event().wait()
    return "delivered"


async def test_a_source_that_hangs_does_not_hold_up_a_stop() -> None:
    (task,), seconds = await stopped((hang(), InProgress()))
    assert task.cancelled()
    assert seconds < stopping.IDLE_GRACE_S + 0.5


async def test_a_batch_in_progress_is_finished() -> None:
    in_progress = InProgress()
    long = stopping.IDLE_GRACE_S + 0.4
    (task, other), seconds = await stopped((deliver(in_progress, long), in_progress), (hang(), InProgress()))
    assert task.result() == "delivered"
    assert other.cancelled()
    assert seconds < long + 0.5


def test_all_that_a_stop_may_wait_for_is_within_the_promise() -> None:
    ends_s = [sqlite_file.LOOK_MS / 1000, max(tracing._END_S, log_records._END_S, meters._SHUTDOWN_MS / 1000)]
    assert stopping.STOP_GRACE_S + sum(ends_s) + server.STOP_S < 10


async def test_what_comes_after_the_batch_is_left() -> None:
    in_progress = InProgress()
    (task,), seconds = await stopped((deliver(in_progress, 0.7, then_hang=True), in_progress))
    assert task.cancelled()
    assert in_progress.empty
    assert seconds < 1.3


async def test_a_batch_that_is_never_acknowledged_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stopping, "IDLE_GRACE_S", 0.01)
    monkeypatch.setattr(stopping, "STOP_GRACE_S", 0.2)
    in_progress = InProgress()
    (task,), seconds = await stopped((deliver(in_progress, 60), in_progress))
    assert task.cancelled()
    assert in_progress.empty
    assert seconds < 1
    assert "delivered again" in caplog.text


async def test_without_a_stop_it_waits_for_the_end() -> None:
    in_progress = InProgress()
    task = asyncio.create_task(deliver(in_progress, 0.1))
    await finish([task], [in_progress], asyncio.Event())
    assert task.result() == "delivered"
