"""Move a ledger from an SQLite file to PostgreSQL: all rows in one transaction, while nothing runs on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import psycopg

from otel_bridge.errors import LedgerError
from otel_bridge.file_values import Fixed
from otel_bridge.ledger.postgres_database import Cursor, PostgresDatabase
from otel_bridge.ledger.postgres_faults import explain
from otel_bridge.ledger.postgres_session import connect
from otel_bridge.ledger.sqlite_file import Access, SqliteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.times import Clock

# What each table is made of; the first column is the project's id where the table has one.
_TABLES: Final = {
    "windows": "project_id, lane, from_ms, to_ms, passes, due_ms, records",
    "delivered": "project_id, log_id, time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled",
    "set_aside": "project_id, log_id, time_ms, reason, message, attempts, since_ms, retry_ms, tool_call",
    "forgotten": "project_id, day_ms, from_ms, to_ms, tool_calls, again",
    "verifications": "project_id, at_ms, from_ms, to_ms, source, ledger, missing, repaired",
    "settled": "project_id, log_id, settled_ms, trace_id, span_id, sampled, retries, retry_trace_id,"
    " retry_span_id",
    "failed_attempts": "project_id, key, log_id, noted_ms, start_ns, end_ns, trace_id, span_id",
    "correlations": "kind, key, trace_id, span_id, sampled, expires_ms, used",
}
_BOOLEANS: Final = frozenset({"tool_call", "sampled", "retries", "used"})
_PROJECT: Final = "name, delivered, last_error, last_error_ms, last_success_ms, correlated_ms"
_ROWS: Final = 5_000
_INTO: Final = "copy into a database without a ledger"


async def copy_ledger(source: Path, target: Address, clock: Clock) -> dict[str, int]:
    """Copy everything; the file stays as it is.

    Args:
        source: The SQLite file; no service may run on it.
        target: A database without a ledger, or with an empty one.
        clock: The time.

    Returns:
        How many rows were copied, by table, ``projects`` first.

    Raises:
        LedgerError: Either can't be used, the target is not empty, or not everything arrived; then nothing
            is kept there, and it may be done again.
    """
    if not os.path.exists(source):  # noqa: ASYNC240, PTH110 - nothing else to do; False for what is no path
        raise LedgerError(f"There is no ledger {source}")
    file = SqliteFile(source, clock, Access.OWNER)
    database = PostgresDatabase(Fixed(target), clock)
    file.open()
    try:
        await database.open()
        try:
            reading = file.run(lambda connection: connection, write=False)
            return await _copy_in_one(reading, target)
        finally:
            await database.close()
    finally:
        file.close()


async def _copy_in_one(source: sqlite3.Connection, target: Address) -> dict[str, int]:
    """All of it in one transaction, on a connection of its own: the pool's bound how long a call may take."""
    try:
        async with (
            await connect(target) as connection,
            connection.transaction(),
            connection.cursor(binary=True) as cursor,
        ):
            # Nobody else writes meanwhile.
            await cursor.execute("LOCK TABLE otel_bridge.projects IN EXCLUSIVE MODE")
            await _refuse_unless_empty(cursor, target.where)
            copied = await _copy_all(source, cursor)
            await _compare(source, cursor, target.where, copied)
            return copied
    except psycopg.Error as error:
        raise explain(error, target.where, target.secrets) from None


async def _refuse_unless_empty(cursor: Cursor, where: str) -> None:
    await cursor.execute("SELECT name FROM otel_bridge.projects ORDER BY name LIMIT 1")
    row = await cursor.fetchone()
    if row is not None:
        raise LedgerError(f"The ledger {where} is not empty, it holds project {row[0]!r}: {_INTO}")
    await cursor.execute("SELECT EXISTS (SELECT 1 FROM otel_bridge.correlations)")
    row = await cursor.fetchone()
    if row is None or row[0]:
        raise LedgerError(f"The ledger {where} is not empty, it holds correlations: {_INTO}")


async def _compare(source: sqlite3.Connection, cursor: Cursor, where: str, copied: dict[str, int]) -> None:
    for table, count in copied.items():
        [there] = source.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names
        await cursor.execute(f"SELECT count(*) FROM otel_bridge.{table}")  # noqa: S608 - as above
        [arrived] = await cursor.fetchone() or (0,)
        if not there == count == arrived:
            raise LedgerError(
                f"Of {there:,} rows in {table} {arrived:,} arrived in the ledger {where}: nothing is kept "
                "there; see that nothing runs on either, and do it again"
            )


async def _copy_all(source: sqlite3.Connection, cursor: Cursor) -> dict[str, int]:
    ids = await _copy_projects(source, cursor)
    copied = {"projects": len(ids)}
    for table, columns in _TABLES.items():
        names = columns.split(", ")
        copied[table] = 0
        async with cursor.copy(f"COPY otel_bridge.{table} ({columns}) FROM STDIN") as copying:
            for row in _rows(source, f"SELECT {columns} FROM {table}"):  # noqa: S608 - our own names
                await copying.write_row(_translated(row, names, ids))
                copied[table] += 1
    return copied


async def _copy_projects(source: sqlite3.Connection, cursor: Cursor) -> dict[int, int]:
    ids: dict[int, int] = {}
    for old_id, *values in _rows(source, f"SELECT id, {_PROJECT} FROM projects ORDER BY id"):  # noqa: S608
        await cursor.execute(
            f"INSERT INTO otel_bridge.projects ({_PROJECT}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608
            " RETURNING id",
            values,
        )
        [ids[old_id]] = await cursor.fetchone() or (0,)
    return ids


def _rows(source: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    cursor = source.execute(query)
    while rows := cursor.fetchmany(_ROWS):
        yield from rows


def _translated(row: tuple[Any, ...], names: list[str], ids: dict[int, int]) -> list[Any]:
    values = [bool(value) if name in _BOOLEANS else value for name, value in zip(names, row, strict=True)]
    if names[0] == "project_id":
        values[0] = ids[row[0]]
    return values
