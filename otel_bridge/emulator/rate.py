"""The request budget of one organisation: so many requests in a fixed window of 60 s."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.times import Clock

WINDOW_S: Final = 60


class RateWindow:
    """Counts requests; a window begins with the first request after the last window's end.

    Args:
        limit: Requests a window.
        clock: Where it reads the time.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._began_s = -math.inf
        self._used = 0

    @property
    def remaining(self) -> int:
        """Requests left in the window that is open."""
        return self.limit if self._is_over() else max(0, self.limit - self._used)

    @property
    def seconds_left(self) -> int:
        """Whole seconds, 1 or more, until the next window can begin."""
        return max(1, math.ceil(self._began_s + WINDOW_S - self._clock.monotonic_s()))

    def take(self, requests: int = 1) -> bool:
        """Use some of the budget, as the customer's own calls do too; False where there is not enough."""
        if self._is_over():
            self._began_s = self._clock.monotonic_s()
            self._used = 0
        if self._used + requests > self.limit:
            return False
        self._used += requests
        return True

    def _is_over(self) -> bool:
        return self._clock.monotonic_s() - self._began_s >= WINDOW_S
