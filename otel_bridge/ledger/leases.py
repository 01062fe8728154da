"""Who may collect what: leases of a ledger that several replicas share.

A lease is for one part of a project's work (a scope) and has an epoch, which grows whenever the scope
changes hands. Whoever commits under a lease has its epoch compared in the same transaction: a replica that
was stopped for longer than its lease and comes back finds that it has nothing to say any more. Time is the
database's alone, and decides only when a scope may be taken over, never whether a commit is good.

A ledger of one process has no leases, and needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from otel_bridge.ledger.protocol import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetGrant, BudgetLimit
    from otel_bridge.ledger.values import Lane


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to commit for one scope of a project.

    Attributes:
        scope: Which part of the project's work.
        holder: The replica's name, other for each process.
        epoch: 1 or more; grows with each new holder.
        failures: How many passes in a row had failed when it was taken, whoever made them.
    """

    project: str
    scope: str
    holder: str
    epoch: int
    failures: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a project's work that one replica does at a time.

    Attributes:
        name: As it is kept.
        lane: Due when a window of this lane is, or, with the live lane, a record that was set aside; None
            where time alone makes it due.
        collected: Whether only windows count that have been collected before.
        at_least_every_s: How often it is due even so, in seconds; None for never.
    """

    name: str
    lane: Lane | None = None
    collected: bool = False
    at_least_every_s: float | None = None


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as people see it.

    Attributes:
        since_ms: When it was taken, in ms since the epoch, by the database's clock.
        expires_in_ms: How long it still holds unless it is renewed; below 0 where its holder has gone silent.
    """

    lease: Lease
    since_ms: int
    expires_in_ms: int


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A process that takes part in the work.

    Attributes:
        projects: What it collects.
        started_ms: When it joined, in ms since the epoch, by the database's clock.
        silent_ms: How long ago it gave a sign of life.
    """

    name: str
    projects: tuple[str, ...]
    started_ms: int
    silent_ms: int


@runtime_checkable
class SharedLedger(Ledger, Protocol):
    """A ledger that several replicas share, each under its leases."""

    async def acquire(self, project: str, scope: str, holder: str, ttl_s: float) -> Lease | None:
        """Take a scope that is free, was handed back, or whose lease has run out.

        Args:
            project: Whose.
            scope: Which part of its work.
            holder: For whom; a process that starts again takes another name.
            ttl_s: For how long, in seconds, unless it is renewed.

        Returns:
            None where another one holds it, or the same.
        """
        ...

    async def renew(self, leases: Collection[Lease], ttl_s: float) -> set[Lease]:
        """Hold on to leases for another ``ttl_s``; returns those that are still one's own."""
        ...

    async def release(self, leases: Collection[Lease], due_in_s: float = 0.0, failures: int = 0) -> None:
        """Hand leases back; one that was taken over is left alone.

        Args:
            leases: Which.
            due_in_s: When there may be something to do again, in seconds from now.
            failures: How many passes in a row have failed.
        """
        ...

    async def due(
        self, projects: Collection[str], scopes: Sequence[Scope], now_ms: int
    ) -> list[tuple[str, str]]:
        """Which scopes of which projects nobody holds although there may be something to do.

        Args:
            projects: Names.
            scopes: Of each of them; the most urgent first.
            now_ms: The present, that windows are due by.

        Returns:
            Project and name of the scope; the most urgent scope first, and within it who waits longest.
        """
        ...

    async def leases(self) -> list[HeldLease]:
        """All that are held, by project and scope, those that have run out as well."""
        ...

    async def sign_of_life(self, replica: str, projects: Collection[str]) -> None:
        """Say that a replica is at work, and for which projects."""
        ...

    async def leave(self, replica: str) -> None:
        """Say that it is no more. Those that have been silent for a day are dropped as well."""
        ...

    async def replicas(self) -> list[ReplicaStatus]:
        """Who is at work, or has gone silent within a day; by name."""
        ...

    async def claim(self, replica: str, asks: Sequence[BudgetAsk]) -> dict[str, BudgetGrant]:
        """Claim requests to organisations whose budgets all replicas share, by the budget's name."""
        ...

    async def budget_limits(self, names: Sequence[str]) -> dict[str, BudgetLimit]:
        """What replicas have been told of budgets; those that nobody knows are left out."""
        ...

    async def begin_delivery(self, project: str, log_ids: Collection[str]) -> set[str]:
        """Say that this replica delivers these records, until it commits them or its lease is gone.

        Returns:
            Those to leave alone, of which nothing is said: delivered meanwhile, or being delivered by another
            replica under a lease that still holds. Without a lease (see ``under``) nothing is said or left.

        Raises:
            LeaseLost: As ``commit``.
        """
        ...

    def under(self, lease: Lease) -> Ledger:
        """The same ledger, whose every commit for the lease's project needs that lease.

        ``commit``, ``replace_windows``, ``put_back``, ``prune``, ``settle`` and ``begin_delivery`` raise
        LeaseLost once another one has taken over. Needs no ``open`` or ``close`` of its own.
        """
        ...

    def under_current(self, current: Callable[[str], Lease | None]) -> Ledger:
        """As ``under``, with the lease that ``current`` names for a call's project; None is refused."""
        ...
