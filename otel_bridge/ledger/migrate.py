"""Bring a ledger's schema forward: numbered SQL files, each applied whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FILE = re.compile(r"^(\d{4})_\w+\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the SQL that makes schema ``version`` from the one before."""

    version: int
    sql: str


def migrations() -> list[Migration]:
    """The steps that come with the program, in order; the last one's version is the newest schema."""
    found = []
    for file in resources.files("otel_bridge.ledger.migrations").iterdir():
        match = _FILE.match(file.name)
        if match:
            found.append(Migration(int(match[1]), file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda step: step.version)


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema's version, kept in SQLite's own ``user_version``; 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The schema's version, where this program can use it.

    Raises:
        LedgerError: A newer program has written the file.
    """
    version = schema_version(connection)
    if version > newest:
        raise LedgerError(
            f"The ledger {path} has schema version {version} and this otel-bridge knows up to {newest}: "
            "run the newer otel-bridge that wrote it, or set OTEL_BRIDGE_STATE to another file"
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> None:
    """Apply the steps that the file does not have yet, each in one transaction with its version.

    Args:
        connection: In autocommit mode.
        path: For messages.
        steps: In order of version.

    Raises:
        LedgerError: A newer program has written the file.
        sqlite3.Error: A step failed; the file stands as the step before left it.
    """
    version = check_version(connection, path, steps[-1].version)
    for step in steps:
        if step.version <= version:
            continue
        try:
            # executescript() begins no transaction by itself, so the script holds its own.
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{step.sql}\n;PRAGMA user_version = {step.version};\nCOMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
