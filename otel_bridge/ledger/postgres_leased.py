"""The side of the PostgreSQL ledger on which replicas meet: its leases, and every write under them."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import postgres_budgets, postgres_in_delivery, postgres_leases
from otel_bridge.ledger.postgres_database import Cursor, PostgresDatabase
from otel_bridge.ledger.postgres_projects import hold_project

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetGrant, BudgetLimit
    from otel_bridge.ledger.leases import HeldLease, Lease, ReplicaStatus, Scope
    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.times import Clock

T = TypeVar("T")


class LeasedDatabase:
    """A database whose writes for a project come one after the other, and may need a lease.

    Args:
        address: Where.
        clock: Sleeps between tries.
        read_only: Writes nothing, but for the schema where there is none yet.
    """

    def __init__(self, address: Renewable[Address], clock: Clock, *, read_only: bool = False) -> None:
        self._database = PostgresDatabase(address, clock)
        self._read_only = read_only
        self._lease: Callable[[str], Lease | None] | None = None

    @property
    def address(self) -> Renewable[Address]:
        """Where it is, for the queue beside it."""
        return self._database.address

    async def open(self) -> None:
        """Connect, and migrate the schema.

        Raises:
            LedgerError: The database can't be used, or a newer program has written it.
        """
        await self._database.open(patient=not self._read_only)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._database.close()

    def leave_within(self, seconds: float) -> None:
        """End every call by then, see ``PostgresDatabase``."""
        self._database.leave_within(seconds)

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────
    async def acquire(self, project: str, scope: str, holder: str, ttl_s: float) -> Lease | None:
        """See ``SharedLedger``."""
        return await self._write(
            partial(postgres_leases.acquire, project=project, scope=scope, holder=holder, ttl_s=ttl_s)
        )

    async def renew(self, leases: Collection[Lease], ttl_s: float) -> set[Lease]:
        """See ``SharedLedger``."""
        return await self._write(partial(postgres_leases.renew, leases=tuple(leases), ttl_s=ttl_s))

    async def release(self, leases: Collection[Lease], due_in_s: float = 0.0, failures: int = 0) -> None:
        """See ``SharedLedger``."""
        await self._write(
            partial(postgres_leases.release, leases=tuple(leases), due_in_s=due_in_s, failures=failures)
        )

    async def due(
        self, projects: Collection[str], scopes: Sequence[Scope], now_ms: int
    ) -> list[tuple[str, str]]:
        """See ``SharedLedger``."""
        return await self._database.read_one(
            partial(postgres_leases.due, projects=tuple(projects), scopes=tuple(scopes), now_ms=now_ms)
        )

    async def leases(self) -> list[HeldLease]:
        """See ``SharedLedger``."""
        return await self._database.read_one(postgres_leases.held)

    async def sign_of_life(self, replica: str, projects: Collection[str]) -> None:
        """See ``SharedLedger``."""
        await self._write(partial(postgres_leases.sign_of_life, replica=replica, projects=tuple(projects)))

    async def leave(self, replica: str) -> None:
        """See ``SharedLedger``."""
        await self._write(partial(postgres_leases.leave, replica=replica))

    async def replicas(self) -> list[ReplicaStatus]:
        """See ``SharedLedger``."""
        return await self._database.read_one(postgres_leases.replicas)

    async def claim(self, replica: str, asks: Sequence[BudgetAsk]) -> dict[str, BudgetGrant]:
        """See ``SharedLedger``."""
        return await self._write(partial(postgres_budgets.claim, replica=replica, asks=tuple(asks)))

    async def budget_limits(self, names: Sequence[str]) -> dict[str, BudgetLimit]:
        """See ``SharedLedger``."""
        return await self._database.read_one(partial(postgres_budgets.limits, names=tuple(names)))

    def under(self, lease: Lease) -> Self:
        """See ``SharedLedger``."""
        return self.under_current(lambda _: lease)

    def under_current(self, current: Callable[[str], Lease | None]) -> Self:
        """See ``SharedLedger``."""
        view = copy(self)
        view._lease = current  # noqa: SLF001 - its own kind
        return view

    async def begin_delivery(self, project: str, log_ids: Collection[str]) -> set[str]:
        """See ``SharedLedger``."""
        current = self._lease
        if current is None or not log_ids:
            return set()

        async def work(cursor: Cursor) -> set[str]:
            project_id = await hold_project(cursor, project)
            lease = await postgres_leases.check(cursor, project, project_id, current(project))
            return await postgres_in_delivery.begin(cursor, project_id, log_ids=log_ids, lease=lease)

        return await self._write(work)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────
    async def _write(self, work: Callable[[Cursor], Awaitable[T]], *, insist: bool = False) -> T:
        if self._read_only:
            raise LedgerError(f"The ledger {self._database.where} was opened for reading only")
        # Only a commit comes after something was sent, which a failure would send again.
        return await (self._database.insist(work) if insist else self._database.write(work))

    async def _write_project(
        self, project: str, work: Callable[[Cursor, int], Awaitable[T]], *, insist: bool = False
    ) -> T:
        async def held(cursor: Cursor) -> T:
            project_id = await hold_project(cursor, project)
            if self._lease is not None:
                await postgres_leases.check(cursor, project, project_id, self._lease(project))
            return await work(cursor, project_id)

        return await self._write(held, insist=insist)
