"""One SQLite file under one connection: opened, checked, migrated, used a transaction at a time, closed.

Everything here blocks and belongs to one thread.

Durability: WAL mode with ``synchronous=NORMAL``. The death of the process loses nothing that was committed. A
power cut may undo the last commits (SQLite, "PRAGMA synchronous"), never tear one: their records are then
delivered again, byte for byte the same, which is what at-least-once means here.

Damage: SQLite keeps no checksums. On opening, a file up to ``CHECKED_BYTES`` goes through ``quick_check``
(about 0.25 s for that size); a larger one is not read through, its damage is found when it is met. Either way
the file is set aside and a new one begun. Found while in use, the call that met it fails and the next one
begins anew; ``generation`` tells that plans made before are void.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from otel_bridge.errors import LedgerError, LedgerInUse
from otel_bridge.ledger.faults import Damaged, explain, explain_os, is_busy, is_damage
from otel_bridge.ledger.lock import WriterLock
from otel_bridge.ledger.migrate import check_version, migrate, migrations
from otel_bridge.ledger.sqlite_connection import (
    APPLICATION_ID,
    LOCKED_S,
    check_newest,
    check_ours,
    closed_on_error,
    configure_writer,
    connect,
    newest,
    quick_check,
    readable,
    tables,
    transaction,
)
from otel_bridge.ledger.state_file import check_file, create_file, create_folder, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_bridge.times import Clock

CHECKED_BYTES: Final = 64 * 1024 * 1024
LOOK_MS: Final = 250
"""For so long SQLite itself waits for another program's lock, where nothing can end that wait."""

T = TypeVar("T")


class Access(Enum):
    """What a program wants of the ledger."""

    OWNER = "the one service that writes"
    GUEST = "writes beside the service, a transaction at a time"
    READER = "reads only"


class SqliteFile:
    """See the module.

    Args:
        path: The file; created where it is missing, unless for a reader.
        clock: Names files that are set aside.
        access: What it is opened for.
    """

    def __init__(self, path: Path, clock: Clock, access: Access) -> None:
        self._path = path
        self._clock = clock
        self._access = access
        self._lock: WriterLock | None = None
        self._connection: sqlite3.Connection | None = None
        self.leaving = threading.Event()
        """Set, from any thread, by who is about to close the file: nothing waits for a lock any longer."""
        self.generation = 0
        """How often a file was lost while it was in use."""
        self.notices: list[str] = []

    def open(self) -> None:
        """Make the file usable; harmless where it is.

        Raises:
            LedgerError: It can't be used, or is in use.
        """
        if self._connection is None:
            self._open()

    def close(self) -> None:
        """Let go of the file and its lock; harmless where neither is held."""
        self._disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def run(self, work: Callable[[sqlite3.Connection], T], *, write: bool) -> T:
        """Do some work in one transaction: all of it is kept, or nothing.

        Raises:
            LedgerError: The file can't be used.
        """
        # The file may have been lost in the call before.
        connection = self._connection or self._open()
        if write and self._access is Access.READER:
            raise LedgerError(f"The ledger {self._path} was opened for reading only")
        try:
            until_s = time.monotonic() + LOCKED_S
            while True:
                try:
                    with readable(), transaction(connection, write=write):
                        return work(connection)
                except sqlite3.Error as error:
                    # A lock is met where a transaction begins, so nothing of the work was done.
                    if not is_busy(error) or self.leaving.is_set() or time.monotonic() >= until_s:
                        raise
        except (Damaged, sqlite3.Error) as error:
            if is_damage(error) and self._access is Access.OWNER:
                raise self._lost(error) from error
            raise explain(error, self._path) from error
        except OverflowError as error:
            raise LedgerError(f"The ledger {self._path} can't keep a number beyond 64 bits") from error

    def _lost(self, error: sqlite3.Error | Damaged) -> LedgerError:
        self.generation += 1
        try:
            self._set_aside(str(error))
        except OSError as problem:
            return explain_os(problem, self._path)
        return LedgerError(f"The ledger {self._path} was damaged and is set aside: a new one begins")

    def _open(self) -> sqlite3.Connection:
        try:
            self._path = self._path.resolve()  # one file, one lock, whatever links lead to it
            with readable():
                connection = self._open_reader() if self._access is Access.READER else self._open_writer()
        except (Damaged, sqlite3.Error) as error:
            raise explain(error, self._path) from error
        except OSError as error:
            raise explain_os(error, self._path) from error
        connection.execute(f"PRAGMA busy_timeout = {LOOK_MS}")
        self._connection = connection
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        if check_file(self._path):
            connection = connect(self._path.as_uri(), "ro")
            with closed_on_error(connection):
                connection.execute("PRAGMA query_only = ON")
                if tables(connection):
                    check_newest(connection, self._path)
                    return connection
            connection.close()
        # No ledger yet, or one just being made: there is nothing in it.
        connection = connect("file:")
        migrate(connection, self._path, migrations())
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        create_folder(self._path.parent)
        lock = self._lock or WriterLock(self._path.with_name(self._path.name + ".lock"))
        alone = lock.take()
        if not alone and self._access is Access.OWNER:
            raise LedgerInUse(
                f"The ledger {self._path} is in use by another otel-bridge ({lock.holder}): "
                "stop it first, or set OTEL_BRIDGE_STATE to another file"
            )
        try:
            connection = self._open_alone() if alone else self._open_beside()
        except BaseException:
            lock.release()
            raise
        if self._access is Access.OWNER:
            self._lock = lock
        else:
            lock.release()  # a guest needs it only while it may change the file as a whole
        return connection

    def _open_alone(self) -> sqlite3.Connection:
        try:
            with readable():
                return self._connect_alone()
        except (Damaged, sqlite3.Error) as error:
            if not is_damage(error):
                raise
            self._set_aside(str(error))
        return self._connect_alone()

    def _connect_alone(self) -> sqlite3.Connection:
        size = check_file(self._path)
        create_file(self._path)
        connection = connect(self._path.as_uri(), "rw")
        with closed_on_error(connection):
            if size:
                check_ours(connection, self._path)
                check_version(connection, self._path, newest())
                if size <= CHECKED_BYTES:
                    quick_check(connection)
            else:
                # Only before the first table, and before WAL mode writes the first page.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            configure_writer(connection, self._path)
            migrate(connection, self._path, migrations())
        return connection

    def _open_beside(self) -> sqlite3.Connection:
        check_file(self._path)
        connection = connect(self._path.as_uri(), "rw")
        with closed_on_error(connection):
            check_newest(connection, self._path)
            configure_writer(connection, self._path)
        return connection

    def _set_aside(self, problem: str) -> None:
        self._disconnect()
        target = set_aside(self._path, self._clock.now_ms())
        self.notices.append(
            f"The ledger {self._path} was damaged ({problem}) and is now {target}. A new one is built from "
            "the source, beginning at OTEL_BRIDGE_START; records from there on may be delivered a second "
            "time, with the same ids"
        )

    def _disconnect(self) -> None:
        if self._connection is not None:
            # A full disk or a damaged file can make even this fail; what was committed is in the log already.
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
