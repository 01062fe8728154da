"""The door to the replicas, for a service that may be one process as well: what they need is an extra."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.service.stopping import STOP_GRACE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from otel_bridge.ledger import Ledger
    from otel_bridge.ledger.leases import ReplicaStatus
    from otel_bridge.ledger.postgres import PostgresLedger
    from otel_bridge.service.crew import Crew
    from otel_bridge.service.running import Running
    from otel_bridge.times import Clock


_LEAVE_S: Final = 1.0
"""What handing back turns and leases may take at a stop, with a ledger that does not answer, in seconds."""


def for_workers(ledger: Ledger) -> Ledger:
    """The ledger that a running service's workers commit to: a shared one only under a lease."""
    if not isinstance(ledger, SharedLedger):
        return ledger
    from otel_bridge.service.replicas.turns import guarded  # noqa: PLC0415 - see the module

    return guarded(ledger)


@asynccontextmanager
async def alone(
    ledger: Ledger, projects: Sequence[str], lease_s: float, clock: Clock
) -> AsyncIterator[Ledger]:
    """The ledger for a command that collects by itself, with no replica at the same projects meanwhile.

    Args:
        ledger: Opened. One that is not shared has its own way to keep others out.
        projects: What the command collects.
        lease_s: How long a lease holds unless it is renewed, in seconds.
        clock: The time.

    Raises:
        LedgerInUse: Replicas collect one of the projects.
    """
    if not isinstance(ledger, SharedLedger):
        yield ledger
        return
    from otel_bridge.service.replicas.alone import holding  # noqa: PLC0415 - see the module

    async with holding(ledger, projects, lease_s, clock) as held:
        yield held


async def share_work(state: Running, ledger: SharedLedger, crew: Crew, stop: asyncio.Event) -> None:
    """Take part in the work of all replicas until the service stops.

    Args:
        state: The running service.
        ledger: Opened.
        crew: Its workers, whose ledger it is.
        stop: Set when the service stops.

    Raises:
        LedgerError: The queue of work can't be made.
    """
    from otel_bridge.ledger.postgres import PostgresLedger  # noqa: PLC0415 - see the module
    from otel_bridge.service.replicas.purse import Purse  # noqa: PLC0415 - see the module
    from otel_bridge.service.replicas.replica import Replica  # noqa: PLC0415 - see the module

    assert isinstance(ledger, PostgresLedger)  # noqa: S101 - the only one there is
    replica = Replica(
        ledger.address,
        ledger,
        crew.workers,
        clock=state.clock,
        lease_s=state.settings.ledger.lease / 1000,
        stop=stop,
    )

    crew.busy = lambda name: any(lease.project == name for lease in replica.turns.held)

    async def look(_: Sequence[ReplicaStatus]) -> None:
        for status in await ledger.status(state.projects):
            if status.watermark_ms is not None and status.project in state.projects:
                state.health.stands_at(status.project, status.watermark_ms)

    purse = Purse(
        ledger, crew.budgets.by_key, replica=replica.name, clock=state.clock, wanted=crew.budgets.wanted
    )
    beside = [
        asyncio.create_task(purse.keep()),
        asyncio.create_task(_hurry(ledger, stop)),
    ]
    try:
        await replica.run(look)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _hurry(ledger: PostgresLedger, stop: asyncio.Event) -> None:
    """Once the service stops, let no call wait for a lock for longer than a batch in hand may take."""
    await stop.wait()
    ledger.leave_within(STOP_GRACE_S - _LEAVE_S)
