"""Which records are being delivered right now: lanes of one project may list the same one."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Claims:
    """Ids in the hands of one project's lanes. Who is first delivers; who comes second may wait for that.

    Attributes:
        times_let_go: Counts those who have let go. What they committed, the ledger may not have known when it
            was asked before.
    """

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Event] = {}
        self.times_let_go = 0

    def __contains__(self, log_id: str) -> bool:
        return log_id in self._held

    @contextmanager
    def held(self, log_ids: Collection[str]) -> Iterator[None]:
        """Hold ids that nobody holds, for as long as the block lasts."""
        let_go = asyncio.Event()
        self._held |= dict.fromkeys(log_ids, let_go)
        try:
            yield
        finally:
            for log_id in log_ids:
                del self._held[log_id]
            self.times_let_go += 1
            let_go.set()

    async def let_go(self, log_ids: Collection[str]) -> None:
        """Wait until nobody holds any of these as now. What became of them is for the ledger to say."""
        for event in {self._held[log_id] for log_id in log_ids if log_id in self._held}:
            await event.wait()
