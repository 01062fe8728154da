"""The ledger of one machine: an SQLite file that one service writes and anyone may read meanwhile."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import (
    sqlite_correlations,
    sqlite_forgotten,
    sqlite_projects,
    sqlite_prune,
    sqlite_records,
    sqlite_windows,
)
from otel_bridge.ledger.line import FIRST_MS
from otel_bridge.ledger.sqlite_thread import SqliteThread
from otel_bridge.ledger.values import (
    DeliveredRecord,
    Lane,
    ProjectStatus,
    SetAside,
    ToolCalls,
    Verification,
    Window,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from otel_bridge.ledger.correlation_values import (
        Correlation,
        CorrelationKind,
        FailedAttempt,
        Recollection,
        Registration,
        Settled,
    )
    from otel_bridge.times import Clock


class SqliteLedger(SqliteThread):
    """A ledger in one SQLite file. How far it survives what happens to the file: see ``sqlite_file``."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        read_only: bool = False,
        shared: bool = False,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(path, clock, read_only=read_only, shared=shared, on_notice=on_notice)
        self._planned_from: dict[str, int] = {}  # by project: which generation of the file it knows

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────
    async def watermark_ms(self, project: str, lane: Lane) -> int | None:
        """See ``Ledger``. About 1 µs a row of the lane."""

        def work(connection: sqlite3.Connection) -> int | None:
            self._planned_from[project] = self._file.generation
            return sqlite_windows.watermark_ms(connection, project, lane)

        return await self._read(work)

    async def windows(
        self, project: str, lane: Lane, *, from_ms: int | None = None, to_ms: int | None = None
    ) -> list[Window]:
        """See ``Ledger``."""
        return await self._read(
            partial(sqlite_windows.windows, project=project, lane=lane, from_ms=from_ms, to_ms=to_ms)
        )

    async def due_windows(self, project: str, lane: Lane, now_ms: int, limit: int = 1000) -> list[Window]:
        """See ``Ledger``."""
        return await self._read(
            partial(sqlite_windows.due_windows, project=project, lane=lane, now_ms=now_ms, limit=limit)
        )

    async def add_windows(self, windows: Sequence[Window]) -> None:
        """See ``Ledger``."""
        planned = tuple(windows)

        def work(connection: sqlite3.Connection) -> None:
            self._check_plans(planned)
            sqlite_windows.add_windows(connection, planned)

        await self._write(work)

    async def replace_windows(self, old: Sequence[Window], new: Sequence[Window]) -> None:
        """See ``Ledger``."""
        before, after = tuple(old), tuple(new)

        def work(connection: sqlite3.Connection) -> None:
            self._check_plans(after)
            sqlite_windows.replace_windows(connection, before, after)

        await self._write(work)

    # ── records ──────────────────────────────────────────────────────────────────────────────────────
    async def known(self, project: str, log_ids: Collection[str]) -> set[str]:
        """See ``Ledger``."""
        return await self._read(partial(sqlite_records.known, project=project, log_ids=tuple(log_ids)))

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        """See ``Ledger``."""
        return await self._read(partial(sqlite_records.identities, project=project, log_ids=tuple(log_ids)))

    async def commit(
        self,
        project: str,
        *,
        delivered: Sequence[DeliveredRecord] = (),
        set_aside: Sequence[SetAside] = (),
        window: Window | None = None,
        replaces: Sequence[Window] = (),
    ) -> None:
        """See ``Ledger``."""
        # Copies: a cancelled caller may empty its lists while the thread still reads them.
        records, aside, old = tuple(delivered), tuple(set_aside), tuple(replaces)

        def work(connection: sqlite3.Connection) -> None:
            project_id = sqlite_projects.intern_project(connection, project)
            sqlite_forgotten.count_again(connection, project, (*records, *aside))
            sqlite_records.put_delivered(connection, project_id, records)
            sqlite_correlations.forget_settled(connection, project_id, (each.log_id for each in records))
            sqlite_records.put_set_aside(connection, project_id, aside)
            if window is not None:
                self._check_plans((window,))
                sqlite_windows.put_window(connection, project_id, project, window, old)

        await self._write(work)

    async def set_aside(
        self, project: str, *, due_ms: int | None = None, limit: int = 1000
    ) -> list[SetAside]:
        """See ``Ledger``."""
        return await self._read(
            partial(sqlite_records.set_aside, project=project, due_ms=due_ms, limit=limit)
        )

    async def put_back(self, project: str, log_ids: Collection[str] | None, now_ms: int) -> int:
        """See ``Ledger``."""
        ids = None if log_ids is None else tuple(log_ids)
        return await self._write(
            partial(sqlite_records.put_back, project=project, log_ids=ids, now_ms=now_ms)
        )

    async def tool_calls(self, project: str, from_ms: int, to_ms: int) -> ToolCalls:
        """See ``Ledger``. About 30 ms for a million records."""
        return await self._read(
            partial(sqlite_forgotten.tool_calls, project=project, from_ms=from_ms, to_ms=to_ms)
        )

    async def prune(self, project: str, before_ms: int, now_ms: int) -> int:
        """See ``Ledger``. Steps of ``sqlite_prune.ROWS_A_STEP`` rows at most, so that no call waits long."""
        forgotten = 0
        count = sqlite_prune.ROWS_A_STEP
        while count == sqlite_prune.ROWS_A_STEP:
            count = await self._write(
                partial(sqlite_prune.forget_delivered, project=project, before_ms=before_ms)
            )
            forgotten += count
        for lane in Lane:
            from_ms: int | None = FIRST_MS
            while from_ms is not None:
                from_ms = await self._write(
                    partial(sqlite_prune.join_sealed, project=project, lane=lane, from_ms=from_ms)
                )
        while await self._write(partial(sqlite_prune.drop_old, project=project, now_ms=now_ms)):
            pass
        await self._write(
            partial(sqlite_correlations.drop_settled, project=project, before_ms=before_ms, now_ms=now_ms)
        )
        while await self._write(sqlite_prune.give_back_space):
            pass
        return forgotten

    # ── correlations ─────────────────────────────────────────────────────────────────────────────────
    async def register(self, correlations: Sequence[Correlation], now_ms: int) -> list[Registration]:
        """See ``Ledger``."""
        given = tuple(correlations)
        return await self._write(partial(sqlite_correlations.register, correlations=given, now_ms=now_ms))

    async def recall(
        self,
        project: str,
        *,
        log_ids: Collection[str],
        request_ids: Collection[str],
        attempt_keys: Collection[bytes],
        now_ms: int,
    ) -> Recollection:
        """See ``Ledger``."""
        return await self._read(
            partial(
                sqlite_correlations.recall,
                project=project,
                log_ids=tuple(log_ids),
                request_ids=tuple(request_ids),
                attempt_keys=tuple(attempt_keys),
                now_ms=now_ms,
            )
        )

    async def settle(
        self,
        project: str,
        settled: Sequence[Settled],
        *,
        failed: Sequence[FailedAttempt] = (),
        used: Collection[tuple[CorrelationKind, str]] = (),
        now_ms: int,
    ) -> dict[str, Settled]:
        """See ``Ledger``."""
        return await self._write(
            partial(
                sqlite_correlations.settle,
                project=project,
                settled=tuple(settled),
                failed=tuple(failed),
                used=tuple(used),
                now_ms=now_ms,
            )
        )

    async def expire_correlations(self, now_ms: int) -> int:
        """See ``Ledger``."""
        return await self._write(partial(sqlite_correlations.expire, now_ms=now_ms))

    # ── state for people ─────────────────────────────────────────────────────────────────────────────
    async def note_success(self, project: str, now_ms: int) -> None:
        """See ``Ledger``."""
        await self._write(partial(sqlite_projects.note_success, project=project, now_ms=now_ms))

    async def note_error(self, project: str, message: str, now_ms: int) -> None:
        """See ``Ledger``."""
        await self._write(
            partial(sqlite_projects.note_error, project=project, message=message, now_ms=now_ms)
        )

    async def note_verification(self, project: str, verification: Verification) -> None:
        """See ``Ledger``."""
        await self._write(
            partial(sqlite_projects.note_verification, project=project, verification=verification)
        )

    async def status(self, projects: Sequence[str]) -> list[ProjectStatus]:
        """See ``Ledger``."""

        def work(connection: sqlite3.Connection) -> list[ProjectStatus]:
            return [
                sqlite_projects.project_status(
                    connection,
                    project,
                    watermark_ms=sqlite_windows.watermark_ms(connection, project, Lane.LIVE),
                    sealed_ms=sqlite_windows.sealed_ms(connection, project, Lane.LIVE),
                )
                for project in sqlite_projects.known_projects(connection, projects)
            ]

        return await self._read(work)

    def _check_plans(self, windows: Sequence[Window]) -> None:
        for window in windows:
            if self._planned_from.get(window.project, 0) != self._file.generation:
                raise LedgerError(
                    f"The ledger {self._path} began anew: what project {window.project!r} had planned is void"
                )
