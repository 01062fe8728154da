"""A client of the source under a quota, in simulated time: the bridge's own budget decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from direct_source import DirectSource

from otel_bridge.emulator.rate import RateWindow
from otel_bridge.receiver.budget import Budget, Priority

if TYPE_CHECKING:
    from simulated_clock import SimulatedClock

    from otel_bridge.emulator import LogStore


class QuotaSource(DirectSource):
    """Answers after ``latency_s``, within a quota that is counted as the emulator counts it.

    Args:
        store: What is answered.
        clock: Whose time passes.
        quota: Requests a minute of the organisation.
        share: The bridge's part of them.
        latency_s: How long an answer takes.
    """

    def __init__(
        self, store: LogStore, clock: SimulatedClock, *, quota: int, share: float, latency_s: float
    ) -> None:
        super().__init__(store, clock)
        self._clock = clock
        self._latency_s = latency_s
        self._window = RateWindow(quota, clock)
        self.budget = Budget(share, clock)
        self.at_s: list[float] = []
        """When each request was sent."""

    async def asked(self, route: str, priority: Priority) -> None:
        """Wait for the budget, and for the answer.

        Raises:
            AssertionError: More was asked than the organisation may.
        """
        await self.budget.acquire(priority)
        if route == "list" and priority is not Priority.HEAD:
            self.budget.note_list()
        await super().asked(route, priority)
        sent_s = self._clock.monotonic_s()
        self.at_s.append(sent_s)
        await self._clock.sleep(self._latency_s)
        assert self._window.take(), "a 429, which the budget is there to prevent"
        headers = {
            "x-ratelimit": str(self._window.limit),
            "x-ratelimit-remaining": str(self._window.remaining),
            "x-ratelimit-window-size": "60s",
        }
        self.budget.observe(headers, 200, sent_s=sent_s)
