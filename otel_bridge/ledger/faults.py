"""What SQLite and the file system say, in words that name the file and what to do."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

_ELSEWHERE: Final = "or set OTEL_BRIDGE_STATE to another place"
_PRIMARY: Final = 0xFF  # SQLite's extended codes keep the primary one in their low byte
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Damaged(Exception):  # noqa: N818 - not an error of its own: it leads to setting the file aside
    """The file is no usable SQLite database."""


def is_damage(error: sqlite3.Error | Damaged) -> bool:
    """Whether the error says that the file's content is wrong, not its place."""
    return _code(error) in _DAMAGE


def explain(error: sqlite3.Error | Damaged, path: Path) -> LedgerError:
    """SQLite's error, or what was seen without SQLite, as one line for a person."""
    match _code(error):
        case sqlite3.SQLITE_FULL:
            text = f"can't be written, the disk is full: free some space there, {_ELSEWHERE}"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            text = (
                f"can't be written, it is read-only here: make the file and its folder writable, {_ELSEWHERE}"
            )
        case sqlite3.SQLITE_IOERR:
            text = f"can't be used, the disk fails ({error}): check it and its free space, {_ELSEWHERE}"
        case sqlite3.SQLITE_CANTOPEN:
            text = f"can't be opened: make the file and its folder readable and writable, {_ELSEWHERE}"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            text = "is locked by another program: stop what has it open, such as an SQLite shell or a backup"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            text = f"is damaged ({error}): start otel-bridge run, which sets it aside and begins anew"
        case _:
            text = f"can't be used: {error}"
    return LedgerError(f"The ledger {path} {text}")


def explain_os(error: OSError, path: Path) -> LedgerError:
    """The file system's error as one line for a person."""
    where = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    return LedgerError(
        f"The ledger {path} can't be used: {error.strerror or error}{where}: "
        f"make its folder exist and be writable, {_ELSEWHERE}"
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another program's lock is in the way."""
    return _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error | Damaged) -> int | None:
    if isinstance(error, Damaged):
        return sqlite3.SQLITE_NOTADB
    # Errors that Python raises by itself carry no code.
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & _PRIMARY
