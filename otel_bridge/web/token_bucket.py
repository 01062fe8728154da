"""How much may come in over time, in constant memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_bridge.times import Clock


class TokenBucket:
    """So many at once, and so many a second from then on.

    Args:
        clock: The time.
        rate: How many come back a second.
        burst: How many there are at first, and at most.
    """

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at_s = clock.monotonic_s()

    def take(self, count: int) -> int:
        """Take so many, or none where there are too few.

        Returns:
            0 where they were taken, else the whole seconds until there are enough.
        """
        now_s = self._clock.monotonic_s()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if count <= self._left:
            self._left -= count
            return 0
        return max(1, math.ceil((count - self._left) / self._rate))
