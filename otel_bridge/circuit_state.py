"""What is known of a circuit, and what a caller cares to wait for: the values of ``circuit``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from otel_bridge.times import format_seconds, format_time


class Phase(StrEnum):
    """How a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class CircuitState:
    """A snapshot, for people and metrics.

    Attributes:
        name: The far side, as it may be shown.
        phase: How it stands. Open and probing are one outage.
        since_ms: When the outage began, or the last one ended; ms since the epoch, None before the first.
        lasted_s: Seconds since then, whatever the wall clock did meanwhile; 0 before the first.
        failures: Failed tries in a row: those that may open it, and in an outage all that counted.
        reason: What the last of them said; empty for none.
        retry_in_s: Seconds until the next try, 0 where it is due or under way; None while closed.
        next_try_ms: The same as ms since the epoch.
        waiting: Callers that wait.
    """

    name: str
    phase: Phase
    since_ms: int | None
    lasted_s: float
    failures: int
    reason: str
    retry_in_s: float | None
    next_try_ms: int | None
    waiting: int

    def __str__(self) -> str:
        """For people, in one line."""
        if self.since_ms is None or self.retry_in_s is None:
            return f"{self.name} is up"
        lasted = _whole(self.lasted_s)
        next_try = "now" if not self.retry_in_s else f"in {_whole(self.retry_in_s)}"
        failures = f"{self.failures} failure{'' if self.failures == 1 else 's'}"
        return (
            f"{self.name} is down since {format_time(self.since_ms)[11:19]} UTC, {failures} in {lasted};"
            f" next try {next_try}: {self.reason}"
        )


def _whole(seconds: float) -> str:
    return format_seconds(max(1, round(seconds)))


OnChange = Callable[[CircuitState, CircuitState], object]
"""Called when a circuit opens and when it closes, not between: the state before, and the one now."""


class CircuitOpenError(Exception):
    """The far side is down, for longer than the caller cares to wait.

    Args:
        state: How the circuit stands.
    """

    def __init__(self, state: CircuitState) -> None:
        super().__init__(str(state))
        self.state = state


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits at an open circuit. One that may try at once always may.

    Attributes:
        attempts: It gives up after so many openings in a row, whoever made the tries; None for never.
        wait_s: It waits for no try that is further away, in seconds; None for any.
    """

    attempts: int | None = None
    wait_s: float | None = None
