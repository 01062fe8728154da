"""Exports that are watched: their failures are said once, and said again when they work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.errors import DestinationError


class Watch:
    """Knows whether a destination takes what it is sent, and says when that changes.

    Args:
        what: What is sent, for people: ``metrics``.
        where: The endpoint, for people.
        say: Takes a line for people, from any thread.
    """

    def __init__(self, what: str, where: str, say: Callable[[str], None]) -> None:
        self._what = what
        self._where = where
        self._say = say
        self._failing = False

    def ended(self, error: DestinationError | None) -> None:
        """An export ended; with what was wrong, or None where all was taken."""
        if error is not None and not self._failing:
            by = "" if self._where in str(error) else f" by {self._where}"
            self._say(f"{self._what} are not taken{by}, tool calls go on: {error}")
        elif error is None and self._failing:
            self._say(f"{self._what}: {self._where} takes them again")
        self._failing = error is not None


def ended_within(seconds: float, end: Callable[[], object], give_up: Callable[[], object]) -> None:
    """Call ``end``, which may take long, and ``give_up`` when it has taken too long. Blocks no longer.

    Args:
        seconds: What is too long.
        end: Sends what is left.
        give_up: Makes ``end`` return soon.
    """
    ending = threading.Thread(target=end, daemon=True, name="own-telemetry-end")
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        give_up()
