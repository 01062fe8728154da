"""The time that calls of a PostgreSQL ledger have."""

from __future__ import annotations

import asyncio

import pytest

from otel_bridge.file_values import Fixed
from otel_bridge.ledger.postgres_address import read_address
from otel_bridge.ledger.postgres_database import PostgresDatabase
from otel_bridge.times import SystemClock

pytest.importorskip("psycopg")


async def test_a_call_that_is_ending_does_not_keep_a_stop_from_hurrying_the_others() -> None:
    database = PostgresDatabase(Fixed(read_address("postgresql://127.0.0.1:1/x")), SystemClock())
    ending, over = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        async with asyncio.timeout(0) as timeout:
            database._under_way.add(timeout)
            try:
                await asyncio.Event().wait()
            finally:  # psycopg cancels the query first
                ending.set()
                await over.wait()

    task = asyncio.create_task(late())
    await ending.wait()
    end_s = asyncio.get_running_loop().time() + 30
    async with asyncio.timeout_at(end_s) as slow:
        database._under_way.add(slow)
        database.leave_within(5)
        left_s = slow.when()
        await asyncio.sleep(0)
    over.set()
    with pytest.raises(TimeoutError):
        await task
    assert left_s is not None
    assert left_s < end_s - 20
