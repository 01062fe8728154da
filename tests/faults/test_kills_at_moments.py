"""Stopped at the moments that matter: by SIGKILL, which loses nothing, and by SIGTERM, which is clean."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from typing import TYPE_CHECKING

import pytest
from chaotic_sink import Treatment
from fault_stage import Service, Stage, service, stage
from recording_sink import HttpAnswer

from otel_bridge.emulator.app import DETAIL_PREFIX, LIST_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recording_sink import Received

    from otel_bridge.emulator import Fault

LOGS = 800
BATCH = 256
SIGNALS = 2
pytestmark = pytest.mark.timeout(180)


def kept_but_not_acknowledged(on: Stage, strike: Callable[[], None]) -> None:
    on.sink.policy = lambda _: Treatment(HttpAnswer(delay_s=0.3))
    on.sink.before_answer = lambda _: strike()


def acknowledged_but_not_committed(on: Stage, strike: Callable[[], None]) -> None:
    answered: set[str] = set()

    def after_answer(received: Received) -> None:
        answered.add(received.signal)
        if len(answered) == SIGNALS:
            strike()

    on.sink.after_answer = after_answer


def between_page_and_page(on: Stage, strike: Callable[[], None]) -> None:
    lists = itertools.count(1)

    def fault(path: str, _number: int) -> Fault | None:
        if path == LIST_PATH and next(lists) == 2:
            strike()
        return None

    on.fault = fault


def while_details_are_in_flight(on: Stage, strike: Callable[[], None]) -> None:
    details = itertools.count(1)

    def fault(path: str, _number: int) -> Fault | None:
        if path.startswith(DETAIL_PREFIX) and next(details) == 40:
            strike()
        return None

    on.fault = fault


def while_the_ledger_waits_to_commit(on: Stage, strike: Callable[[], None]) -> None:
    """A lock from outside makes the commit wait; the blow comes while it does."""
    kept = itertools.count(1)

    def before_answer(_: object) -> None:
        if next(kept) != SIGNALS:
            return
        lock = on.locked_ledger()
        loop = asyncio.get_running_loop()
        loop.call_later(0.4, strike)
        loop.call_later(1.0, lock.close)

    on.sink.before_answer = before_answer


MOMENTS = [
    kept_but_not_acknowledged,
    acknowledged_but_not_committed,
    between_page_and_page,
    while_details_are_in_flight,
    while_the_ledger_waits_to_commit,
]


async def struck(
    on: Stage, moment: Callable[[Stage, Callable[[], None]], None], number: signal.Signals
) -> None:
    """Run until the moment has come and the signal has done its work."""
    hit = asyncio.Event()
    running: list[Service] = []

    def strike() -> None:
        if not hit.is_set():
            running[0].signal(number)
            hit.set()

    moment(on, strike)
    async with service(on) as started:
        running.append(started)
        async with asyncio.timeout(60):
            await hit.wait()
        if number is signal.SIGTERM:
            await started.ended_cleanly()
        else:
            await started.process.wait()
            assert started.process.returncode == -signal.SIGKILL
    on.sink.before_answer = on.sink.after_answer = lambda _: None
    await on.calm_down()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed(tmp_path: Path, moment: Callable[[Stage, Callable[[], None]], None]) -> None:
    async with stage(tmp_path, logs=LOGS, latency_ms=10) as on:
        await struck(on, moment, signal.SIGKILL)
        assert len(on.sink.ids) < LOGS
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()
        assert on.sink.resent <= BATCH * SIGNALS  # a kill costs one batch at most


@pytest.mark.parametrize("moment", MOMENTS)
async def test_terminated(tmp_path: Path, moment: Callable[[Stage, Callable[[], None]], None]) -> None:
    async with stage(tmp_path, logs=LOGS, latency_ms=10) as on:
        await struck(on, moment, signal.SIGTERM)
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()
        assert on.sink.resent == 0  # what was in hand was finished and committed


async def test_killed_while_the_ledger_writes_again_and_again(tmp_path: Path) -> None:
    """As near as can be steered: the blow comes when the write-ahead log grows after an acknowledgement."""
    async with stage(tmp_path, logs=LOGS) as on:
        wal = tmp_path / "ledger.db-wal"
        kills = 0
        while kills < 4 and on.sink.ids != on.ids:
            acknowledged = asyncio.Event()

            def after_answer(received: Received, done: asyncio.Event = acknowledged) -> None:
                if received.signal == "logs":
                    done.set()

            on.sink.after_answer = after_answer
            async with service(on) as running:
                async with asyncio.timeout(60):
                    await acknowledged.wait()
                await asyncio.to_thread(until_it_grows, wal)
                await running.kill()
                kills += 1
        on.sink.after_answer = lambda _: None
        assert kills
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()
        assert on.sink.resent <= kills * BATCH * SIGNALS


def until_it_grows(file: Path) -> None:
    """Return at the first change of a file's size, or soon after."""
    before = size_of(file)
    end_s = time.monotonic() + 0.2
    while size_of(file) == before and time.monotonic() < end_s:
        pass


def size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1
