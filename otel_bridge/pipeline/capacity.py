"""How much the pipelines of one process hold at once: records and bytes, each with one bound, shared fairly.

A pipeline counts while it holds anything. Up to eight take as much as one alone; beyond that each takes its
part, and at least enough to go on. Measured with 100 projects that all catch up: without the sharing they
held 480 MB more than one does.

Bodies count while they are received. A body that finds no room waits with its connection paused, but for one:
the record that a pipeline can't go on without may always come, one such body at a time in the process. So
what is held stays below ``BYTES`` and one body more, and no pipeline waits for another one for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from otel_bridge.pipeline.windows import PAGE_RECORDS, WINDOW_PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS: Final = 2_048
"""Details that are asked for or held, beyond the batch that is being delivered."""
BYTES: Final = 32_000_000
"""Bodies that are received or held, of all pipelines."""
AHEAD_RECORDS: Final = 256
AHEAD_BYTES: Final = 16_000_000
"""The most that one pipeline has ahead of the batch it is at: more brings it nothing."""
BATCH_RECORDS: Final = 256
LISTED_AHEAD: Final = 1_000
_LISTED: Final = 8_192
_BATCHED: Final = 2_048
_SMALLEST_BATCH: Final = 32
_PAGES: Final = 100
_FEWEST_PAGES: Final = 2


class Capacity:
    """One for all pipelines of a process."""

    def __init__(self, most_bytes: int = BYTES) -> None:
        self._pipelines = 0
        self._most_bytes = most_bytes
        self._bytes = 0
        self._needed: Receipt | None = None
        self._waiting = 0
        self._changed = asyncio.Event()

    def enter(self) -> None:
        """One pipeline more holds records."""
        self._pipelines += 1

    def leave(self) -> None:
        """One pipeline less does; as often as ``enter``."""
        self._pipelines -= 1

    def ahead(self, least: int) -> int:
        """How many records one pipeline may ask for beyond those that are wanted now."""
        return self._part(RECORDS, least, AHEAD_RECORDS)

    @property
    def ahead_bytes(self) -> int:
        """How many bytes of bodies one pipeline may hold beyond those that are wanted now."""
        return self._part(self._most_bytes, 1, AHEAD_BYTES)

    @property
    def listed(self) -> int:
        """With more listed records than this left to ask for, a pipeline lists no further window."""
        return self._part(_LISTED, PAGE_RECORDS, LISTED_AHEAD)

    def batch(self, most: int) -> int:
        """How many records a batch may have."""
        return self._part(_BATCHED, _SMALLEST_BATCH, most)

    @property
    def pages(self) -> int:
        """How many pages of a list a pipeline may read for one window while it catches up."""
        return self._part(_PAGES, _FEWEST_PAGES, WINDOW_PAGES)

    def _part(self, whole: int, least: int, most: int) -> int:
        return min(most, max(least, whole // max(self._pipelines, 1)))

    # ── bodies ───────────────────────────────────────────────────────────────────────────────────────
    @property
    def held_bytes(self) -> int:
        """What is received or held now."""
        return self._bytes

    def receipt(self, is_needed: Callable[[], bool], waiting: Waiting | None = None) -> Receipt:
        """Count one record's body, from its first byte until ``Receipt.release``.

        Args:
            is_needed: Whether a pipeline can't go on without this record.
            waiting: Counts the bodies of one pipeline that wait for room.
        """
        return Receipt(self, is_needed, waiting or Waiting())

    def wake(self) -> None:
        """Let the bodies that wait look again: room was made, or another record is needed now."""
        if self._waiting:
            self._changed.set()
            self._changed = asyncio.Event()

    async def _take(self, receipt: Receipt, size: int) -> None:
        while self._bytes + size > self._most_bytes and self._needed is not receipt:
            if self._needed is None and receipt.is_needed():
                self._needed = receipt
                break
            self._waiting += 1
            receipt.waiting.count += 1
            try:
                await self._changed.wait()
            finally:
                self._waiting -= 1
                receipt.waiting.count -= 1
        self._bytes += size

    def _give(self, receipt: Receipt, size: int) -> None:
        self._bytes -= size
        if self._needed is receipt:
            self._needed = None
        self.wake()


class Waiting:
    """How many bodies of one pipeline wait for room."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Receipt:
    """The bytes of one record's body, as far as they have come."""

    __slots__ = ("_capacity", "is_needed", "size", "waiting")

    def __init__(self, capacity: Capacity, is_needed: Callable[[], bool], waiting: Waiting) -> None:
        self._capacity = capacity
        self.is_needed = is_needed
        self.waiting = waiting
        self.size = 0

    async def grow(self, size: int) -> None:
        """Count ``size`` bytes more; waits while there is no room for them."""
        await self._capacity._take(self, size)  # noqa: SLF001 - its own
        self.size += size

    def settle(self, size: int) -> None:
        """The body has come whole, and takes ``size`` bytes."""
        self._capacity._bytes += size - self.size  # noqa: SLF001 - its own
        self.size = size
        # It refers to the record's place, which holds the body and this receipt: without the circle all of it
        # is freed at once, and not when the garbage collector comes by.
        self.is_needed = _not_needed

    def release(self) -> None:
        """Nothing of it is held any more; twice does no harm."""
        self.is_needed = _not_needed
        size, self.size = self.size, 0
        if size or self._capacity._needed is self:  # noqa: SLF001 - its own
            self._capacity._give(self, size)  # noqa: SLF001 - its own


def _not_needed() -> bool:
    return False
