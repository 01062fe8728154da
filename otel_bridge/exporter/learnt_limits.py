"""How large a request a destination has shown that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.exporter.batching import Limits

_FIRST_PATIENCE: Final = 8
_MOST_PATIENCE: Final = 1024


class LearntLimits:
    """How large the next batch may be: halved by what was too large, doubled with care.

    After eight requests that used most of the size and were taken, the next may be twice as large. Each time
    that turns out to be too large again, it takes twice as many of them.

    Args:
        limits: By the settings; never exceeded.

    Attributes:
        records: The most records.
        size: The most bytes, 1 or more. A record that is larger goes alone.
    """

    def __init__(self, limits: Limits) -> None:
        self.records = limits.records
        self.size = limits.size
        self._most = limits.size
        self._full = 0
        self._patience = _FIRST_PATIENCE
        self._trying = False

    def too_large(self, size: int) -> None:
        """A request of so many bytes was not taken, and a smaller one may be."""
        if self._trying:
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self.size = max(1, min(self.size, size // 2))
        self._full = 0
        self._trying = False

    def taken(self, size: int) -> None:
        """A request of so many bytes was taken."""
        if self.size >= self._most:
            return
        if self._trying and 4 * size > 3 * self.size:
            self._trying = False
            self._patience = _FIRST_PATIENCE
        if size > self.size:  # cut before smaller ones were found to be too large
            self.size = min(size, self._most)
        self._full += 2 * size > self.size
        if self._full >= self._patience:
            self.size = min(2 * self.size, self._most)
            self._full = 0
            self._trying = True
