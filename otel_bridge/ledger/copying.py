"""Move a ledger from an SQLite file to PostgreSQL: all rows in one transaction, while nothing runs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.postgres_database import Cursor, PostgresDatabase
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


async def copy_ledger(source: Path, target: Address, clock: Clock) -> dict[str, int]:
    """Copy everything; the file stays as it is.

    Args:
        source: The SQLite file; no service may run on it.
        target: A database without a ledger, or with one that holds none of the projects.
        clock: The time.

    Returns:
        How many rows were copied, by table, ``projects`` first.

    Raises:
        LedgerError: Either can't be used, or the target holds one of the projects.
    """
    if not source.exists():  # noqa: ASYNC240 - the command has nothing else to do
        raise LedgerError(f"There is no ledger {source}")
    file = SqliteFile(source, clock, Access.OWNER)
    database = PostgresDatabase(target, clock)
    file.open()
    try:
        await database.open()
        try:
            reading = file.run(lambda connection: connection, write=False)

            async def work(cursor: Cursor) -> dict[str, int]:
                return await _copy_all(reading, cursor, database.where)

            return await database.write(work)
        finally:
            await database.close()
    finally:
        file.close()


async def _copy_all(source: sqlite3.Connection, cursor: Cursor, where: str) -> dict[str, int]:
    ids = await _copy_projects(source, cursor, where)
    copied = {"projects": len(ids)}
    for table, columns in _TABLES.items():
        names = columns.split(", ")
        copied[table] = 0
        async with cursor.copy(f"COPY otel_bridge.{table} ({columns}) FROM STDIN") as copying:
            for row in _rows(source, f"SELECT {columns} FROM {table}"):  # noqa: S608 - our own names
                await copying.write_row(_translated(row, names, ids))
                copied[table] += 1
    return copied


async def _copy_projects(source: sqlite3.Connection, cursor: Cursor, where: str) -> dict[int, int]:
    ids: dict[int, int] = {}
    for old_id, *values in _rows(source, f"SELECT id, {_PROJECT} FROM projects ORDER BY id"):  # noqa: S608
        await cursor.execute(
            f"INSERT INTO otel_bridge.projects ({_PROJECT}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608
            " ON CONFLICT (name) DO NOTHING RETURNING id",
            values,
        )
        row = await cursor.fetchone()
        if row is None:
            raise LedgerError(
                f"The ledger {where} holds project {values[0]!r} already: copy into a database without it"
            )
        ids[old_id] = row[0]
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
