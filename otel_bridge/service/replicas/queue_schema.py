"""The queue's own tables, beside the ledger's: made and brought forward from the files of procrastinate.

They hold nothing that can't be made again: what is due follows from the ledger.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.ledger.postgres_session import connect, prepare

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.postgres_address import Address

_LOCK: Final = 0x6F74656C_71756575
"""The advisory lock under which one replica changes them: ``otelqueu``."""
_FILE: Final = re.compile(r"^\d\d\.\d\d\.\d\d_\d\d_\w+\.sql$")


async def prepare_queue(connection: AsyncConnection[Any]) -> None:
    """Make a new session work as procrastinate's statements expect, which name no schema."""
    await prepare(connection)
    # By a statement, not as a startup option: poolers refuse options that they do not know.
    await connection.execute("SET search_path = otel_bridge")
    await connection.commit()


async def make_queue(address: Renewable[Address]) -> None:
    """Make the tables where they are missing, or apply what a newer procrastinate changes.

    Raises:
        psycopg.Error: The database can't be used.
    """
    newest = migrations()[-1]
    async with await connect(address.get()) as connection:
        if await _applied(connection) == newest:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute("SET LOCAL search_path = otel_bridge")
            applied = await _applied(connection)
            if applied is None:
                await connection.execute(
                    "CREATE TABLE queue_schema (applied text PRIMARY KEY, at timestamptz DEFAULT now())"
                )
                await connection.execute(_script("schema.sql"))
            else:
                for name in migrations():
                    if name > applied:
                        await connection.execute(_script("migrations", name))
            await connection.execute(
                "INSERT INTO queue_schema (applied) VALUES (%s) ON CONFLICT DO NOTHING", (newest,)
            )


def migrations() -> list[str]:
    """The names of procrastinate's migrations, oldest first."""
    return sorted(file.name for file in (_sql() / "migrations").iterdir() if _FILE.match(file.name))


def _script(*path: str) -> str:
    """A file of procrastinate's. Only its comments go beyond ASCII, which not every database can hold."""
    text: str = _sql().joinpath(*path).read_text(encoding="utf-8")
    return text.encode("ascii", "replace").decode("ascii")


def _sql() -> Any:
    return resources.files("procrastinate.sql")


async def _applied(connection: AsyncConnection[Any]) -> str | None:
    there = await connection.execute("SELECT to_regclass('otel_bridge.queue_schema') IS NOT NULL")
    row = await there.fetchone()
    if row is None or not row[0]:
        return None
    found = await connection.execute('SELECT max(applied COLLATE "C") FROM otel_bridge.queue_schema')
    row = await found.fetchone()
    return None if row is None else row[0]
