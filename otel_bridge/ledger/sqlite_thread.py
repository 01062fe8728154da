"""An SQLite file behind a thread of its own: opened, used one call at a time, and let go of."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.sqlite_file import Access, SqliteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from otel_bridge.times import Clock

_log = logging.getLogger(__name__)

T = TypeVar("T")


class SqliteThread:
    """All of SQLite happens on one thread of its own, so the event loop never waits for the disk.

    A call whose task is cancelled is finished whole or never begun; the caller can't know which, and need
    not: what is committed twice is kept once.

    Args:
        path: The file. It and its folder are made where they are missing, for their owner alone.
        clock: Names files that are set aside.
        read_only: Open beside a running service, without a lock; a missing file is an empty ledger.
        shared: Write beside a running service, without its lock, a transaction at a time.
        on_notice: Told in one line what a person should know, on the event loop; None for the log.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        read_only: bool = False,
        shared: bool = False,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        access = Access.READER if read_only else Access.GUEST if shared else Access.OWNER
        self._path = path
        self._file = SqliteFile(path, clock, access)
        self._on_notice = on_notice or _warn
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open the file: create it, migrate it, or set a corrupt one aside and start anew.

        Raises:
            LedgerError: It can't be used, another process has it, or a newer program has written it.
        """
        if self._thread is None:
            self._file.leaving.clear()
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="otel-bridge-ledger")
        try:
            await self._on_thread(self._file.open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish the calls that have begun, then let go of the file and the lock.

        A call that waits for another program's lock gives up: a stop has no time for that.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._file.leaving.set()
        closing = asyncio.get_running_loop().run_in_executor(thread, self._file.close)
        thread.shutdown(wait=False)
        # Cancelled or not, the file is closed once the calls before are through.
        await asyncio.shield(closing)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on_thread(partial(self._file.run, work, write=False))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on_thread(partial(self._file.run, work, write=True))

    async def _on_thread(self, job: Callable[[], T]) -> T:
        if self._thread is None:
            raise LedgerError(f"The ledger {self._path} is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        finally:
            while self._file.notices:
                self._on_notice(self._file.notices.pop(0))


def _warn(notice: str) -> None:
    _log.warning(notice, extra={"action": "ledger_notice"})
