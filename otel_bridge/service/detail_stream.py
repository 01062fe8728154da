"""Details on their way: several asked for at once, ahead of their turn, and read in the order of the list."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from otel_bridge.receiver.models import Detail, Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

    from otel_bridge.ledger import Reason

AHEAD_RECORDS: Final = 256
"""So many records beyond those that a reader waits for are asked for, or have come, where there is room."""
AHEAD_BYTES: Final = 16_000_000
"""With so much of bodies waiting beyond those that a reader waits for, no further one is asked for."""
_OVERTAKEN: Final = 64


@dataclass(frozen=True, slots=True)
class Failure:
    """A record whose detail can't be had: the entry the list showed, and why."""

    entry: Entry
    reason: Reason
    message: str


@dataclass(eq=False, slots=True)
class _Place:
    """One record's place in the order, and what came of it."""

    found: Detail | Failure | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None

    @property
    def size(self) -> int:
        return self.found.body_bytes if isinstance(self.found, Detail) else 0


class DetailStream:
    """Fetches the details of entries; for use in an ``async with`` block, which leaves nothing under way.

    They are read in the entries' order. But one that many later ones have overtaken, because it is tried
    again and again, holds them up no longer: it is read when it has come.

    Args:
        entries: What the list showed.
        fetch: Fetches one. What it raises is raised where its record would be read.
        at_once: How many are fetched at once, at most.
        ahead: How many more than those that a reader waits for are asked for, or have come and wait.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        fetch: Callable[[Entry], Awaitable[Detail | Failure]],
        at_once: int,
        ahead: int = AHEAD_RECORDS,
    ) -> None:
        self.all_asked = asyncio.Event()
        """Set as soon as there is none left to ask for: from then on places in flight become free."""
        self._left = deque(entries)
        self._fetch = fetch
        self._at_once = min(at_once, len(entries))
        self._ahead = ahead
        self._places: deque[_Place] = deque()
        self._done = 0
        self._done_bytes = 0
        self._wanted = 0
        self._wanted_bytes = 0
        self._room = asyncio.Event()
        self._readable = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        if not entries:
            self.all_asked.set()

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._at_once)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def take(
        self, most: int, most_bytes: int, patience: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> list[Detail | Failure]:
        """The next ones, once there are so many, or so much of them, or no more; empty at the end.

        Args:
            most: Records.
            most_bytes: Of bodies; the one that goes beyond is the last of its batch.
            patience: Once it has ended, fewer will do, at least one; None waits for all of them.

        Raises:
            SourceError: The source as a whole can't be asked. What comes before it is read first.
        """
        batch: list[Detail | Failure] = []
        size = 0
        waiting: asyncio.Task[None] | None = None
        try:
            while len(batch) < most and size < most_bytes:
                place = self._whose_turn()
                if place is None:
                    if not self._places and not self._left:
                        break
                    over = waiting is not None and waiting.done()
                    if over and batch:
                        break
                    if waiting is None and patience is not None:
                        waiting = asyncio.create_task(patience())
                        waiting.add_done_callback(lambda _: self._readable.set())
                    self._wanted = 1 if over else most - len(batch)
                    self._wanted_bytes = most_bytes - size
                    self._room.set()
                    await self._readable.wait()
                    continue
                if place.error is not None:
                    if batch:
                        self._put_back(place)
                        break
                    raise place.error
                if place.found is not None:
                    size += place.size
                    batch.append(place.found)
        finally:
            if waiting is not None:
                waiting.cancel()
            self._wanted = self._wanted_bytes = 0
            self._room.set()
        return batch

    def _whose_turn(self) -> _Place | None:
        """Take out the first place that is done and may be read; None where none is."""
        places = self._places
        if not places or not self._done or not (places[0].done or self._done >= _OVERTAKEN):
            self._readable.clear()
            return None
        index = 0 if places[0].done else next(index for index, each in enumerate(places) if each.done)
        place = places[index]
        del places[index]
        self._done -= 1
        self._done_bytes -= place.size
        return place

    def _put_back(self, place: _Place) -> None:
        self._places.appendleft(place)
        self._done += 1

    # ── the other side ───────────────────────────────────────────────────────────────────────────────
    async def _work(self) -> None:
        while self._left:
            if not self._may_ask():
                self._room.clear()
                await self._room.wait()
                continue
            entry = self._left.popleft()
            if not self._left:
                self.all_asked.set()
            place = _Place()
            self._places.append(place)
            try:
                place.found = await self._fetch(entry)
            except Exception as error:  # noqa: BLE001 - raised where the record would be read
                place.error = error
            self._done += 1
            self._done_bytes += place.size
            if self._worth_reading(place):
                self._readable.set()

    def _may_ask(self) -> bool:
        return (
            len(self._places) < self._ahead + self._wanted
            and self._done_bytes < AHEAD_BYTES + self._wanted_bytes
        )

    def _worth_reading(self, place: _Place) -> bool:
        """Whether whoever reads should look: waking it for each record would cost as much as reading it."""
        return (
            self._done >= self._wanted
            or self._done_bytes >= self._wanted_bytes
            or place.error is not None
            or (not self._left and self._done == len(self._places))
        )
