"""Claims what this replica may send to each organisation, from what all replicas share."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import BridgeError, unforeseen
from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetLimit
from otel_bridge.receiver.shared_budget import SharedBudget
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.ledger.leases import SharedLedger
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.receiver.shared_budget import Want
    from otel_bridge.times import Clock

AT_MOST_EVERY_S: Final = 0.1
"""One transaction claims for all organisations, and so often at most."""
TELL_EVERY_S: Final = 1.0
"""So often what was claimed and never sent is given back, even where nothing is wanted."""


class Purse:
    """See the module.

    Args:
        ledger: Where claims are counted.
        budgets: By what tells organisations apart, for every replica alike; more may come while it runs.
        replica: This replica's name.
        clock: The time.
        wanted: Set by a budget that wants something.
    """

    def __init__(
        self,
        ledger: SharedLedger,
        budgets: Mapping[str, Budget],
        *,
        replica: str,
        clock: Clock,
        wanted: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._replica = replica
        self._clock = clock
        self._wanted = wanted
        self._looked_up: set[str] = set()

    async def keep(self) -> None:
        """Claim whatever is wanted, until cancelled. Where the ledger is away, nothing is sent."""
        while True:
            try:
                await self.look_up()
                await self.claim()
            except Exception as error:  # noqa: BLE001 - without claims nothing is ever sent
                shown = error if isinstance(error, BridgeError) else unforeseen(error)
                event(logging.WARNING, "ledger_failed", str(shown))
                await self._clock.sleep(TELL_EVERY_S)
            await self._clock.sleep(AT_MOST_EVERY_S)
            await self._until_wanted()

    async def look_up(self) -> None:
        """Learn the limits that other replicas have been told, once for each budget.

        Raises:
            LedgerError: It can't be read.
        """
        new = [name for name in self._shared() if name not in self._looked_up]
        if new:
            for name, limit in (await self._ledger.budget_limits(new)).items():
                self._shared()[name].learn(limit.requests, limit.window_s)
            self._looked_up.update(new)

    async def claim(self) -> None:
        """Claim once, for every budget that wants something.

        Raises:
            LedgerError: It can't be written.
        """
        self._wanted.clear()
        budgets = self._shared()
        wants: dict[str, Want] = {}
        asks = []
        for name, budget in budgets.items():
            window, want = budget.window, budget.take_want()
            if want is None or window is None:
                continue
            wants[name] = want
            asks.append(
                BudgetAsk(
                    name, BudgetLimit(*window), want.requests, want.bound, want.unclaimed, want.returned
                )
            )
        if not asks:
            return
        asked_s = self._clock.monotonic_s()
        try:
            grants = await self._ledger.claim(self._replica, asks)
        except Exception:
            for name, want in wants.items():
                budgets[name].failed(want)
            raise
        for name, grant in grants.items():
            budgets[name].grant(grant.requests, used_by_all=grant.used, moment=grant.moment, asked_s=asked_s)

    def _shared(self) -> dict[str, SharedBudget]:
        return {name: each for name, each in self._budgets.items() if isinstance(each, SharedBudget)}

    async def _until_wanted(self) -> None:
        waiting = asyncio.create_task(self._wanted.wait())
        sleeping = asyncio.create_task(self._clock.sleep(TELL_EVERY_S))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, sleeping):
                task.cancel()
            await asyncio.gather(waiting, sleeping, return_exceptions=True)
