"""The ids that lanes of one project are delivering now: several lanes may list the same one.

``InFlight`` knows those of this process; those of other replicas the ledger that they share knows.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.pipeline.source import id_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from otel_bridge.ledger import Ledger
    from otel_bridge.pipeline.source import Fetched


class InFlight:
    """Log ids between the beginning of their delivery and its commit. The first lane to hold one delivers it.

    Contract: a lane never waits for another one while it holds ids itself, so two can't wait for each other.

    Attributes:
        times_released: Counts the releases. What was committed before one of them, the ledger may not have
            known when it was asked before that.
    """

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Event] = {}
        self.times_released = 0

    def __contains__(self, log_id: str) -> bool:
        return log_id in self._held

    @contextmanager
    def held(self, log_ids: Collection[str]) -> Iterator[None]:
        """Hold ids that no lane holds, for as long as the block lasts."""
        released = asyncio.Event()
        self._held |= dict.fromkeys(log_ids, released)
        try:
            yield
        finally:
            for log_id in log_ids:
                del self._held[log_id]
            self.times_released += 1
            released.set()

    async def released(self, log_ids: Collection[str]) -> None:
        """Wait until none of these is held as now. The ledger says what became of them."""
        for event in {self._held[log_id] for log_id in log_ids if log_id in self._held}:
            await event.wait()


async def begun_elsewhere(ledger: Ledger, project: str, records: Sequence[Fetched]) -> set[str]:
    """Say in the ledger that these records are delivered now; the ids of those that another replica has.

    Raises:
        LedgerError: As the ledger.
    """
    if not records or not isinstance(ledger, SharedLedger):
        return set()
    return await ledger.begin_delivery(project, [id_of(each) for each in records])
