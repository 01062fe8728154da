"""One ledger and many tasks: nothing is mixed up, nothing waits for the disk, cancelling leaves no halves."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import HOUR, T0, record, window

from otel_bridge.ledger import Lane, SqliteLedger

if TYPE_CHECKING:
    from pathlib import Path


async def test_many_tasks_write_and_read_at_once(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", SimulatedClock())
    await ledger.open()

    async def work(number: int) -> None:
        ids = [f"log_{number}_{n}" for n in range(20)]
        await ledger.commit(
            f"p{number % 3}",
            delivered=[record(log_id, number) for log_id in ids],
            window=window(number, number + 1, project=f"p{number % 3}"),
        )
        assert await ledger.known(f"p{number % 3}", ids) == set(ids)
        await ledger.prune(f"p{number % 3}", T0, T0)

    await asyncio.gather(*(work(number) for number in range(60)))
    assert [each.delivered for each in await ledger.status([])] == [400, 400, 400]
    await ledger.close()


async def test_the_event_loop_goes_on_while_the_disk_does_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.note_success("p", T0))
        longest, last = 0.0, time.perf_counter()
        for _ in range(30):
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        assert not waiting.done()
        assert longest < 0.25
        other.execute("ROLLBACK")
    await waiting
    await ledger.close()


async def test_a_cancelled_commit_is_whole_or_not_there(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", SimulatedClock())
    await ledger.open()
    for number in range(40):
        records = [record(f"log_{number}_{n}", number) for n in range(300)]
        task = asyncio.create_task(ledger.commit("p", delivered=records, window=window(number, number + 1)))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        there = await ledger.windows("p", Lane.LIVE, from_ms=T0 + number * HOUR)
        known = await ledger.known("p", [f"log_{number}_{n}" for n in range(300)])
        assert len(known) == 300 * len(there)
    assert 0 < len(await ledger.windows("p", Lane.LIVE)) <= 40
    await ledger.close()


async def test_a_cancelled_caller_may_empty_its_list(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    records = [record("a"), record("b")]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # The commit has begun on its thread, and waits for this transaction.
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(ledger.commit("p", delivered=records, window=window(0, 1)))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        records.clear()
        other.execute("ROLLBACK")
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 1)]
    assert await ledger.known("p", ["a", "b"]) == {"a", "b"}
    await ledger.close()


async def test_closing_finishes_what_was_begun(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    writes = [asyncio.create_task(ledger.commit("p", window=window(n, n + 1))) for n in range(20)]
    await asyncio.sleep(0)
    closing_down = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    closing_down.cancel()
    await asyncio.gather(*writes)
    # The lock is free again, though the one who closed did not wait for it.
    again = SqliteLedger(path, SimulatedClock(), shared=True)
    await again.open()
    assert await again.watermark_ms("p", Lane.LIVE) == T0 + 20 * HOUR
    await again.close()
