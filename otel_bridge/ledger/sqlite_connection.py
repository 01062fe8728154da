"""An SQLite connection as the ledger wants it, and what a file must be before it is used."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.faults import Damaged
from otel_bridge.ledger.migrate import check_version, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION_ID: Final = 0x6F74_6272  # "otbr"
LOCKED_S: Final = 5.0
"""How long a lock of another program is waited for, in seconds."""
_CACHE_KIB: Final = 8 * 1024
_CHECKPOINT_PAGES: Final = 4_000  # 16 MB: random ids write many pages, and each checkpoint waits for the disk
_WAL_BYTES: Final = 32 * 1024 * 1024


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool) -> Iterator[None]:
    """All of the block is kept, or nothing."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors, such as a full disk, have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def readable() -> Iterator[None]:
    """Where SQLite's own message is no text, it quotes what is damaged.

    Raises:
        Damaged: That is so.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise Damaged("malformed database schema") from error


@contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close the connection where the block fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def newest() -> int:
    """The newest schema version."""
    return migrations()[-1].version


def check_newest(connection: sqlite3.Connection, path: Path) -> None:
    """The file is a ledger of the newest schema.

    Raises:
        LedgerError: It is not.
    """
    check_ours(connection, path)
    version = check_version(connection, path, newest())
    if version != newest():
        raise LedgerError(
            f"The ledger {path} has schema version {version} and this otel-bridge needs {newest()}: "
            "start (or restart) otel-bridge run with this version, which brings it forward"
        )


def connect(target: str, mode: str = "memory") -> sqlite3.Connection:
    """A connection in autocommit mode; by default to a database in memory.

    Args:
        target: A file URL.
        mode: As in SQLite's URLs: ``ro``, ``rw`` or ``memory``.
    """
    connection = sqlite3.connect(f"{target}?mode={mode}", uri=True, isolation_level=None)
    # A flipped bit in a text must not make its row unreadable for good.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    connection.execute(f"PRAGMA busy_timeout = {round(LOCKED_S * 1000)}")
    return connection


def configure_writer(connection: sqlite3.Connection, path: Path) -> None:
    """Prepare a connection for writing.

    Raises:
        LedgerError: The file system can't do what the write-ahead log needs.
    """
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(
            f"The ledger {path} can't use SQLite's write-ahead log there: "
            "set OTEL_BRIDGE_STATE to a file on a local disk"
        )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")


def tables(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """The file is new or a ledger.

    Raises:
        LedgerError: It belongs to another program.
    """
    names = tables(connection)
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if names and application_id != APPLICATION_ID and "delivered" not in names:
        raise LedgerError(
            f"The ledger {path} is another program's SQLite file: set OTEL_BRIDGE_STATE to another file"
        )


def quick_check(connection: sqlite3.Connection) -> None:
    """Read the whole file.

    Raises:
        Damaged: It is malformed.
    """
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != ("ok",):
        raise Damaged(str(answer[0]).splitlines()[-1])
