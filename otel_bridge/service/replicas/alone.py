"""A command that collects by itself holds all leases of its projects: ``run --once`` and ``backfill``."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError, LedgerInUse
from otel_bridge.service.logs import event
from otel_bridge.service.replicas.parts import PARTS
from otel_bridge.service.replicas.replica import replica_name
from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from otel_bridge.ledger import Ledger
    from otel_bridge.ledger.leases import Lease, SharedLedger
    from otel_bridge.times import Clock


@asynccontextmanager
async def holding(
    ledger: SharedLedger, projects: Sequence[str], lease_s: float, clock: Clock
) -> AsyncIterator[Ledger]:
    """Hold every part of the projects' work for as long as the block runs.

    Raises:
        LedgerInUse: A replica is at work on one of them.
    """
    for replica in await ledger.replicas():
        shared = sorted(set(projects) & set(replica.projects))
        if shared and replica.silent_ms < lease_s * 1000:
            raise LedgerInUse(
                f"The ledger is in use: the replica {replica.name} collects {shared[0]}: stop the replicas "
                "first, or set OTEL_BRIDGE_STATE to another database"
            )
    leases: list[Lease] = []
    name = replica_name()
    try:
        for project in projects:
            for part in PARTS:
                lease = await ledger.acquire(project, part.name, name, lease_s)
                if lease is None:
                    raise LedgerInUse(
                        f"The ledger is in use: another otel-bridge is at the {part.name} work of {project}; "
                        f"where that has ended, wait {format_seconds(lease_s)}"
                    )
                leases.append(lease)
        keeping = asyncio.create_task(_keep(ledger, leases, lease_s, clock))
        # Whoever holds one part holds them all, so one of them stands for the project.
        of_project = {lease.project: lease for lease in leases}
        try:
            yield ledger.under_current(of_project.get)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        await ledger.release(leases)


async def _keep(ledger: SharedLedger, leases: Collection[Lease], lease_s: float, clock: Clock) -> None:
    while True:
        await clock.sleep(lease_s / 3)
        try:
            await ledger.renew(leases, lease_s)
        except BridgeError as error:
            event(logging.WARNING, "ledger_failed", str(error))
