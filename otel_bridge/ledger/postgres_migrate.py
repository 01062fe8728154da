"""Bring a database's schema forward: numbered SQL files, each applied whole or not at all.

Replicas of two versions run side by side while they are replaced, so a step only expands (a table, a column
with a default, an index), and what it makes useless is dropped a release later. Each file says in its first
line from which version on a program works with it: ``-- works from: N``. A step that contracts raises that
number; a program whose newest step is below it is told so, and a replica that runs goes on until then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

_FILE: Final = re.compile(r"^(\d{4})_\w+\.sql$")
_WORKS_FROM: Final = re.compile(r"^-- works from: (\d+)$", re.MULTILINE)
_LOCK: Final = 0x6F74656C_62726467
"""The advisory lock under which one program migrates: ``otelbrdg``."""


@dataclass(frozen=True, slots=True)
class Step:
    """The SQL that makes schema ``version`` from the one before.

    Attributes:
        works_from: The oldest program that can use the schema, by its own newest version.
    """

    version: int
    works_from: int
    sql: str


def steps() -> list[Step]:
    """The steps that come with the program, in order."""
    found = []
    for file in resources.files("otel_bridge.ledger.migrations_postgres").iterdir():
        match = _FILE.match(file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            works_from = _WORKS_FROM.search(text)
            if works_from is None:
                raise LedgerError(f"The migration {file.name} does not say from which version on it works")
            found.append(Step(int(match[1]), int(works_from[1]), text))
    return sorted(found, key=lambda step: step.version)


async def migrate(connection: AsyncConnection[Any], where: str, all_steps: Sequence[Step]) -> None:
    """Apply the steps that the database does not have yet, each in one transaction with its version.

    Whoever comes second waits, and finds them applied.

    Args:
        connection: In autocommit mode.
        where: For messages.
        all_steps: In order of version.

    Raises:
        LedgerError: The schema needs a newer program.
        psycopg.Error: A step failed; the schema stands as the step before left it.
    """
    if await check_version(connection, where, all_steps[-1].version) >= all_steps[-1].version:
        return
    for step in all_steps:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await _create_schema(connection)
            if await schema_version(connection) < step.version:
                await connection.execute(step.sql)
                await connection.execute(
                    "INSERT INTO otel_bridge.schema_versions (version, works_from) VALUES (%s, %s)",
                    (step.version, step.works_from),
                )


async def schema_version(connection: AsyncConnection[Any]) -> int:
    """The newest step that was applied; 0 where there is no ledger."""
    return (await _versions(connection))[0]


async def check_version(connection: AsyncConnection[Any], where: str, newest: int) -> int:
    """The schema's version, where this program can use it.

    Raises:
        LedgerError: It needs a newer program.
    """
    version, works_from = await _versions(connection)
    if works_from > newest:
        raise LedgerError(
            f"The ledger {where} has schema version {version}, which takes an otel-bridge that knows version "
            f"{works_from}, and this one knows up to {newest}: run the newer otel-bridge, "
            "or set OTEL_BRIDGE_STATE to another database"
        )
    return version


async def _versions(connection: AsyncConnection[Any]) -> tuple[int, int]:
    there = await connection.execute("SELECT to_regclass('otel_bridge.schema_versions') IS NOT NULL")
    row = await there.fetchone()
    if row is None or not row[0]:
        return 0, 0
    found = await connection.execute(
        "SELECT COALESCE(MAX(version), 0), COALESCE(MAX(works_from), 0) FROM otel_bridge.schema_versions"
    )
    version, works_from = await found.fetchone() or (0, 0)
    return version, works_from


async def _create_schema(connection: AsyncConnection[Any]) -> None:
    # IF NOT EXISTS asks for the right to create schemas even where it exists, so that is looked at first.
    there = await connection.execute("SELECT to_regnamespace('otel_bridge') IS NOT NULL")
    row = await there.fetchone()
    if row is None or not row[0]:
        await connection.execute("CREATE SCHEMA otel_bridge")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS otel_bridge.schema_versions ("
        " version integer PRIMARY KEY,"
        " works_from integer NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
