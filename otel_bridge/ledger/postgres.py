"""The ledger of many machines: a PostgreSQL database that any number of replicas share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otel_bridge.ledger import (
    postgres_correlations,
    postgres_forgotten,
    postgres_in_delivery,
    postgres_projects,
    postgres_prune,
    postgres_records,
    postgres_settled,
    postgres_windows,
)
from otel_bridge.ledger.line import FIRST_MS, check_same_time
from otel_bridge.ledger.postgres_leased import LeasedDatabase
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
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger.correlation_values import (
        Correlation,
        CorrelationKind,
        FailedAttempt,
        Recollection,
        Registration,
        Settled,
    )
    from otel_bridge.ledger.postgres_database import Cursor


class PostgresLedger(LeasedDatabase):
    """A ledger in one PostgreSQL database, in the schema ``otel_bridge``.

    All writes of one project come one after the other, whoever makes them: each locks the project's row. What
    a replica may commit at all is for its leases to say: see ``leases``. Arguments: see ``LeasedDatabase``.
    """

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────
    async def watermark_ms(self, project: str, lane: Lane) -> int | None:
        """See ``Ledger``. About 4 µs a row of the lane."""
        return await self._database.read_one(
            partial(postgres_windows.watermark_ms, project=project, lane=lane)
        )

    async def windows(
        self, project: str, lane: Lane, *, from_ms: int | None = None, to_ms: int | None = None
    ) -> list[Window]:
        """See ``Ledger``."""
        return await self._database.read_one(
            partial(postgres_windows.windows, project=project, lane=lane, from_ms=from_ms, to_ms=to_ms)
        )

    async def due_windows(self, project: str, lane: Lane, now_ms: int, limit: int = 1000) -> list[Window]:
        """See ``Ledger``."""
        return await self._database.read_one(
            partial(postgres_windows.due_windows, project=project, lane=lane, now_ms=now_ms, limit=limit)
        )

    async def add_windows(self, windows: Sequence[Window]) -> None:
        """See ``Ledger``."""
        await self._write(partial(postgres_windows.add_windows, planned=tuple(windows)))

    async def replace_windows(self, old: Sequence[Window], new: Sequence[Window]) -> None:
        """See ``Ledger``."""
        before, after = tuple(old), tuple(new)
        check_same_time(before, after)

        async def work(cursor: Cursor, project_id: int) -> None:
            await postgres_windows.replace_windows(cursor, project_id, before, after)

        if after:
            await self._write_project(after[0].project, work)

    # ── records ──────────────────────────────────────────────────────────────────────────────────────
    async def known(self, project: str, log_ids: Collection[str]) -> set[str]:
        """See ``Ledger``."""
        return await self._database.read_one(
            partial(postgres_records.known, project=project, log_ids=tuple(log_ids))
        )

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        """See ``Ledger``."""
        return await self._database.read_one(
            partial(postgres_records.identities, project=project, log_ids=tuple(log_ids))
        )

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
        records, aside, old = tuple(delivered), tuple(set_aside), tuple(replaces)
        ids = [each.log_id for each in records] + [each.log_id for each in aside]

        async def work(cursor: Cursor, project_id: int) -> None:
            await postgres_forgotten.count_again(cursor, project, project_id, (*records, *aside))
            await postgres_records.put_delivered(cursor, project_id, records)
            await postgres_settled.forget_settled(cursor, project_id, [each.log_id for each in records])
            await postgres_records.put_set_aside(cursor, project_id, aside)
            await postgres_in_delivery.end(cursor, project_id, ids)
            if window is not None:
                await postgres_windows.put_window(cursor, project_id, project, window, old)

        await self._write_project(project, work, insist=True)

    async def set_aside(
        self, project: str, *, due_ms: int | None = None, limit: int = 1000
    ) -> list[SetAside]:
        """See ``Ledger``."""
        return await self._database.read_one(
            partial(postgres_records.set_aside, project=project, due_ms=due_ms, limit=limit)
        )

    async def put_back(self, project: str, log_ids: Collection[str] | None, now_ms: int) -> int:
        """See ``Ledger``."""
        ids = None if log_ids is None else tuple(log_ids)
        return await self._write_project(
            project, partial(postgres_records.put_back, log_ids=ids, now_ms=now_ms)
        )

    async def tool_calls(self, project: str, from_ms: int, to_ms: int) -> ToolCalls:
        """See ``Ledger``. About 1 µs a record of the range."""
        return await self._database.read(
            partial(postgres_forgotten.tool_calls, project=project, from_ms=from_ms, to_ms=to_ms)
        )

    async def prune(self, project: str, before_ms: int, now_ms: int) -> int:
        """See ``Ledger``. Steps of ``postgres_prune.ROWS_A_STEP`` rows, so that no call waits long."""
        forgotten = 0
        count = postgres_prune.ROWS_A_STEP
        while count == postgres_prune.ROWS_A_STEP:
            count = await self._write_project(
                project, partial(postgres_prune.forget_delivered, before_ms=before_ms)
            )
            forgotten += count
        for lane in Lane:
            from_ms: int | None = FIRST_MS
            while from_ms is not None:
                step = partial(_join_sealed, project=project, lane=lane, from_ms=from_ms)
                from_ms = await self._write_project(project, step)
        while await self._write_project(project, partial(postgres_prune.drop_old, now_ms=now_ms)):
            pass
        await self._write_project(
            project, partial(postgres_settled.drop_settled, before_ms=before_ms, now_ms=now_ms)
        )
        await self._write_project(project, postgres_in_delivery.drop_left_behind)
        return forgotten

    # ── correlations ─────────────────────────────────────────────────────────────────────────────────
    async def register(self, correlations: Sequence[Correlation], now_ms: int) -> list[Registration]:
        """See ``Ledger``."""
        given = tuple(correlations)
        return await self._write(partial(postgres_correlations.register, correlations=given, now_ms=now_ms))

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
        return await self._database.read(
            partial(
                postgres_correlations.recall,
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
        return await self._write_project(
            project,
            partial(
                postgres_settled.settle,
                settled=tuple(settled),
                failed=tuple(failed),
                used=tuple(used),
                now_ms=now_ms,
            ),
        )

    async def expire_correlations(self, now_ms: int) -> int:
        """See ``Ledger``."""
        return await self._write(partial(postgres_correlations.expire, now_ms=now_ms))

    # ── state for people ─────────────────────────────────────────────────────────────────────────────
    async def note_success(self, project: str, now_ms: int) -> None:
        """See ``Ledger``."""
        await self._write(partial(postgres_projects.note_success, project=project, now_ms=now_ms))

    async def note_error(self, project: str, message: str, now_ms: int) -> None:
        """See ``Ledger``."""
        await self._write(
            partial(postgres_projects.note_error, project=project, message=message, now_ms=now_ms)
        )

    async def note_verification(self, project: str, verification: Verification) -> None:
        """See ``Ledger``."""
        await self._write(
            partial(postgres_projects.note_verification, project=project, verification=verification)
        )

    async def status(self, projects: Sequence[str]) -> list[ProjectStatus]:
        """See ``Ledger``."""

        async def work(cursor: Cursor) -> list[ProjectStatus]:
            standing = await postgres_windows.standing(cursor, Lane.LIVE)
            return await postgres_projects.statuses(cursor, tuple(projects), standing)

        return await self._database.read(work)


async def _join_sealed(
    cursor: Cursor, project_id: int, *, project: str, lane: Lane, from_ms: int
) -> int | None:
    return await postgres_prune.join_sealed(cursor, project, project_id, lane, from_ms)
