"""One turn: a part of a project's work, done by this replica for a while and under a lease."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import BridgeError, LeaseLost
from otel_bridge.pipeline.context import Stopped
from otel_bridge.service.logs import event
from otel_bridge.service.replicas.parts import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from otel_bridge.ledger import Ledger
    from otel_bridge.ledger.leases import Lease, ReplicaStatus, SharedLedger
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.times import Clock

TURN_S: Final = 10.0
"""So often, in seconds, a turn that lasts looks whether others need it; then it finishes what is listed."""

_lease: ContextVar[Lease | None] = ContextVar("_lease", default=None)


def guarded(ledger: SharedLedger) -> Ledger:
    """The ledger for workers of a replica: it commits only inside a turn, and under that turn's lease."""
    return ledger.under_current(lambda _: _lease.get())


class Turns:
    """Takes turns, and keeps the leases of those that last.

    Args:
        ledger: Which several replicas share.
        workers: By project; what is added or removed meanwhile counts from the next turn on. Their ledger is
            ``guarded``.
        clock: The time.
        holder: This replica's name, other for each process.
        lease_s: How long a lease holds unless it is renewed, in seconds.
        others_wait: Whether work waits that this replica could do, if a turn of it ended.
        stop: Set when the service stops.
    """

    def __init__(  # noqa: PLR0913 - what a turn needs
        self,
        ledger: SharedLedger,
        workers: Mapping[str, ProjectWorker],
        *,
        clock: Clock,
        holder: str,
        lease_s: float,
        others_wait: Callable[[], Awaitable[bool]],
        stop: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._holder = holder
        self._lease_s = lease_s
        self._others_wait = others_wait
        self._stop = stop
        self._held: set[Lease] = set()

    @property
    def held(self) -> frozenset[Lease]:
        """The leases of the turns that are under way."""
        return frozenset(self._held)

    async def take(self, project: str, part: str) -> None:
        """Do what there is to do of a part, for a while; nothing where another one is at it.

        Raises:
            LedgerError: The ledger could not say whose turn it is.
        """
        worker = self._workers.get(project)
        if worker is None or part not in BY_NAME or self._stop.is_set():
            return
        lease = await self._ledger.acquire(project, part, self._holder, self._lease_s)
        if lease is None:
            return
        self._held.add(lease)
        token = _lease.set(lease)
        due_in_s, failures = 0.0, lease.failures
        try:
            due_in_s, failures = await self._work(worker, lease)
        finally:
            _lease.reset(token)
            if lease in self._held:
                self._held.discard(lease)
                # Whatever ended the turn, others must not wait for the lease to run out.
                await asyncio.shield(self._ledger.release([lease], due_in_s, failures))

    async def _work(self, worker: ProjectWorker, lease: Lease) -> tuple[float, int]:
        """Do the part's work until there is no more of it, or others need the turn.

        Returns:
            When there may be something to do again, in seconds, and how many failures there were in a row.
        """
        started_s = self._clock.monotonic_s()
        drain = asyncio.Event()
        watching = asyncio.create_task(self._drain_when_needed(drain, lease))
        try:
            await worker.steps[lease.scope](drain)
        except Stopped:
            return 0.0, lease.failures
        except LeaseLost as error:
            self._lost(lease, error)
            return 0.0, lease.failures
        except Exception as error:  # noqa: BLE001 - one project's surprise must not end the service
            return await worker.failed(error, lease.failures + 1), lease.failures + 1
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if drain.is_set():
            return 0.0, 0
        idle_s = BY_NAME[lease.scope].idle_s
        if idle_s is None:
            interval = worker.interval
            idle_s = interval.seconds if BY_NAME[lease.scope].urgent else interval.idle_s
        return max(0.0, idle_s - (self._clock.monotonic_s() - started_s)), 0

    async def _drain_when_needed(self, drain: asyncio.Event, lease: Lease) -> None:
        """Set ``drain`` once others need the turn: a turn that nothing waits for goes on as it is."""
        while not drain.is_set():
            await self._clock.sleep(TURN_S)
            try:
                needed = lease not in self._held or await self._others_wait() or await self._has_most(lease)
            except BridgeError:
                needed = True  # the ledger is away: the next turn finds out
            if needed:
                drain.set()

    async def _has_most(self, lease: Lease) -> bool:
        """Whether another replica that could take the part has two turns less than this one."""
        turns = Counter(each.lease.holder for each in await self._ledger.leases())
        return any(
            turns[each.name] + 2 <= turns[self._holder]
            for each in await self._ledger.replicas()
            if each.name != self._holder
            and each.silent_ms < self._lease_s * 1000
            and lease.project in each.projects
        )

    def _lost(self, lease: Lease, error: LeaseLost) -> None:
        self._held.discard(lease)
        event(
            logging.WARNING,
            "lease_lost",
            str(error),
            project=lease.project,
            part=lease.scope,
            epoch=lease.epoch,
        )

    async def keep(self, others: Callable[[Sequence[ReplicaStatus]], Awaitable[None]]) -> None:
        """Give signs of life, and renew the leases of the turns under way, until cancelled.

        A lease that was lost is found by the next commit; here it only stops being renewed.

        Args:
            others: Called each time with all replicas that are alive, this one among them.
        """
        while True:
            try:
                await self._ledger.sign_of_life(self._holder, list(self._workers))
                if self._held:
                    await self._ledger.renew(self._held, self._lease_s)
                alive = [
                    each for each in await self._ledger.replicas() if each.silent_ms < self._lease_s * 1000
                ]
                await others(alive)
            except BridgeError as error:
                # Leases run out where this lasts, which the next commit would find out.
                event(logging.WARNING, "ledger_failed", str(error))
            await self._clock.sleep(self._lease_s / 3)

    async def leave(self) -> None:
        """Hand back what is held, and be one replica less."""
        try:
            await self._ledger.release(self._held)
            await self._ledger.leave(self._holder)
        except BridgeError as error:
            event(logging.WARNING, "ledger_failed", str(error))
