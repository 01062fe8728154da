"""How many detail requests of one project are in flight.

As many as the allowed rate needs at the latency that is seen: by Little's law their product, and a quarter
more, so that the budget and not the waiting decides. A source in trouble (429, 5xx, no answer) halves it, at
most once in the time that an answer takes, since all that is in flight meets the same trouble; each good
answer brings a little of that back.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.times import Clock

LEAST: Final = 4
MOST: Final = 128
USUAL: Final = 16
"""Without a known limit there is no rate to reach; and what a poll finds comes at once, whatever the rate."""

_MORE: Final = 1.25
_LATENCY_WEIGHT: Final = 0.1
_RECOVERY: Final = 0.02
"""How much of the wanted number each good answer brings back after a trouble."""


class Concurrency:
    """A fixed number.

    Args:
        number: How many requests, 1 or more.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def limit(self) -> int:
        """How many may be in flight now."""
        return self._number

    @property
    def most(self) -> int:
        """How many there may ever be."""
        return self._number

    def heard(self, status: int, seconds: float) -> None:
        """A detail request has ended.

        Args:
            status: The HTTP status; 0 where there was no answer.
            seconds: From sending it to the end of its answer.
        """


class AutoConcurrency(Concurrency):
    """A number that follows the budget's rate and the source's latency.

    Args:
        budget: The organisation's, which knows the allowed rate.
        clock: Tells the time.
    """

    def __init__(self, budget: Budget, clock: Clock) -> None:
        super().__init__(USUAL)
        self._budget = budget
        self._clock = clock
        self._latency_s: float | None = None
        self._health = 1.0
        self._halved_s = -math.inf

    @property
    def most(self) -> int:
        """See ``Concurrency``."""
        return MOST

    def heard(self, status: int, seconds: float) -> None:
        """See ``Concurrency``."""
        trouble = status in {0, HTTPStatus.TOO_MANY_REQUESTS} or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if not trouble:
            # Only what was answered tells how long an answer takes.
            before = self._latency_s
            self._latency_s = seconds if before is None else before + _LATENCY_WEIGHT * (seconds - before)
            self._health = min(1.0, self._health + _RECOVERY)
        else:
            now_s = self._clock.monotonic_s()
            if now_s - self._halved_s >= (self._latency_s or seconds):
                self._halved_s = now_s
                self._health = max(self._health / 2, LEAST / MOST)
        wanted = max(LEAST, min(MOST, round(self._wanted() * self._health)))
        # It falls at once, and rises by one with each answer: it doubles in the time that an answer takes.
        self._number = min(wanted, self._number + 1)

    def _wanted(self) -> float:
        rate = self._budget.rate
        if rate is None or self._latency_s is None:
            return USUAL
        return min(float(MOST), max(USUAL, math.ceil(rate * self._latency_s * _MORE)))
