"""Details on their way: many requests in flight, ahead of their turn, read in the order of the list.

The works of a pipeline stand in a row. Requests are made for the oldest work that has records left to ask
for, so the next window's details are on their way while the last ones of this window come in. Reading goes
work by work. Within a work a record that many later ones have overtaken, because it is tried again and again,
holds them up no longer: it is read when it has come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from otel_bridge.pipeline.capacity import Waiting
from otel_bridge.receiver.models import Detail

if TYPE_CHECKING:
    from types import TracebackType

    from otel_bridge.pipeline.capacity import Receipt
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.list import Work
    from otel_bridge.pipeline.source import Fetched
    from otel_bridge.receiver.models import Entry

PATIENCE_S: Final = 1.0
"""What has come goes out after so long, although the batch is not full: the next may wait for the budget."""
_OVERTAKEN: Final = 64
_LEAST_AHEAD: Final = 16
_LISTED_FOR_EACH: Final = 8
"""A window has about six pages, which are asked for one after the other: as long as six details."""


@dataclass(eq=False, slots=True)
class _Place:
    """One record's place in the order, and what came of it.

    Attributes:
        log_id: The record's.
        receipt: Counts its body.
        awaited: Set when it is done, where a child of the record waits for it.
    """

    log_id: str
    receipt: Receipt
    found: Fetched | None = None
    error: Exception | None = None
    awaited: asyncio.Event | None = None

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None


@dataclass(eq=False, slots=True)
class _Row:
    """A work, the entries that are not asked for yet, and the places of those that are."""

    work: Work
    left: deque[Entry]
    places: deque[_Place] = field(default_factory=deque)
    done: int = 0

    @property
    def exhausted(self) -> bool:
        return not self.left and not self.places

    @property
    def all_done(self) -> bool:
        return not self.left and self.done == len(self.places)

    def take_readable(self) -> _Place | None:
        """Take out the first place that is done and may be read; None where there is none."""
        places = self.places
        if not self.done or not (places[0].done or self.done >= _OVERTAKEN):
            return None
        index = 0 if places[0].done else next(index for index, each in enumerate(places) if each.done)
        place = places[index]
        del places[index]
        self.done -= 1
        return place

    def put_back(self, place: _Place) -> None:
        self.places.appendleft(place)
        self.done += 1


@dataclass(slots=True)
class Taken:
    """Some records of one work.

    Attributes:
        last: Whether the work has no more.
        size: Bytes of their bodies.
    """

    work: Work
    records: list[Fetched] = field(default_factory=list)
    last: bool = False
    size: int = 0
    _receipts: list[Receipt] = field(default_factory=list)

    def add(self, found: Fetched, receipt: Receipt) -> None:
        """One record more."""
        self.records.append(found)
        self._receipts.append(receipt)
        self.size += receipt.size

    def release(self) -> None:
        """Their bodies are not held any more."""
        for receipt in self._receipts:
            receipt.release()


class Fetcher:
    """Fetches the details of works; for use in an ``async with`` block, which leaves nothing under way.

    Args:
        context: The project's.
    """

    def __init__(self, context: ProjectContext) -> None:
        self._source = context.source
        self._clock = context.clock
        self._capacity = context.capacity
        self._rows: deque[_Row] = deque()
        self._holds = False
        self._waiting = Waiting()
        self._ended = False
        self._error: BaseException | None = None
        self._unasked = 0
        self._in_flight = 0
        self._placed = 0
        self._done_bytes = 0
        self._wanted = 0
        self._wanted_bytes = 0
        self._readable = asyncio.Event()
        self._has_room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._source.fetchers.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.fetchers.remove(self)
        self._hold(holds=False)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for row in self._rows:
            row.work.span.end(error)
            for place in row.places:
                place.receipt.release()

    # ── for the lister ───────────────────────────────────────────────────────────────────────────────
    def add(self, work: Work) -> None:
        """Ask for the records of one more work, after those of the ones before it."""
        if work.entries:
            self._hold(holds=True)
        self._rows.append(_Row(work, deque(work.entries)))
        self._unasked += len(work.entries)
        self._pump()
        self._readable.set()

    async def room(self) -> None:
        """Wait until few enough listed records are left to ask for."""
        while self._unasked > self._most_listed:
            self._has_room.clear()
            await self._has_room.wait()

    def _hold(self, *, holds: bool) -> None:
        if holds and not self._holds:
            self._capacity.enter()
        elif self._holds and not holds:
            self._capacity.leave()
        self._holds = holds

    @property
    def _most_listed(self) -> int:
        """As many as are fetched while the next window is listed, whatever an answer takes."""
        return min(self._capacity.listed, _LISTED_FOR_EACH * self._source.concurrency.limit)

    def end(self, error: BaseException | None = None) -> None:
        """There are no more works; with an error, it is raised to the reader after the last of them."""
        self._ended, self._error = True, error
        self._readable.set()

    # ── for the reader ───────────────────────────────────────────────────────────────────────────────
    async def first(self) -> Work | None:
        """The work whose records are read next, once there is one; None once there is none left.

        Raises:
            SourceError: The lister ended with it, and nothing that was listed before is left.
        """
        row = await self._first_row()
        return None if row is None else row.work

    async def take(self, most: int, most_bytes: int) -> Taken | None:
        """The next records of the first work, once there are so many, or so much of them, or no more of it.

        After ``PATIENCE_S`` of waiting fewer will do, at least one.

        Args:
            most: Records.
            most_bytes: Of bodies; the one that goes beyond is the last of its batch.

        Returns:
            None once there is no work left.

        Raises:
            SourceError: The source as a whole can't be asked. What comes before it is read first.
        """
        row = await self._first_row()
        if row is None:
            return None
        batch = Taken(row.work)
        whole = False
        patience = asyncio.create_task(self._patience())
        try:
            await self._fill(batch, row, patience, most, most_bytes)
            whole = True
        finally:
            patience.cancel()
            if not whole:
                batch.release()
            self._wanted = self._wanted_bytes = 0
            self._pump()
        return batch

    async def _first_row(self) -> _Row | None:
        while not self._rows:
            self._hold(holds=False)
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            await self._wait(1, 1)
        return self._rows[0]

    async def _fill(
        self, batch: Taken, row: _Row, patience: asyncio.Task[None], most: int, most_bytes: int
    ) -> None:
        while True:
            error = self._read(batch, row, most, most_bytes)
            if row.exhausted:
                self._rows.popleft()
                batch.last = True
                return
            if error is not None and not batch.records:
                raise error
            full = len(batch.records) >= most or batch.size >= most_bytes
            if full or error is not None or (patience.done() and batch.records):
                return
            await self._wait(1 if patience.done() else most - len(batch.records), most_bytes - batch.size)

    def _read(self, batch: Taken, row: _Row, most: int, most_bytes: int) -> Exception | None:
        """Read what can be read now; the error of a record stays in its place, and is given."""
        while len(batch.records) < most and batch.size < most_bytes and (place := row.take_readable()):
            if place.error is not None:
                row.put_back(place)
                return place.error
            assert place.found is not None  # noqa: S101 - a place that is done has one of the two
            self._placed -= 1
            self._done_bytes -= place.receipt.size
            batch.add(place.found, place.receipt)
        return None

    async def shared(self, log_id: str) -> Detail | None:
        """The detail of a record that is asked for here, for a child before it; None where it is not."""
        place = next((each for row in self._rows for each in row.places if each.log_id == log_id), None)
        if place is None:
            return None
        if not place.done:
            place.awaited = place.awaited or asyncio.Event()
            self._capacity.wake()
            await place.awaited.wait()
        return place.found if isinstance(place.found, Detail) else None

    async def _wait(self, most: int, most_bytes: int) -> None:
        """Wait until it is worth looking again: waking for each record would cost as much as reading it."""
        self._wanted, self._wanted_bytes = most, most_bytes
        self._readable.clear()
        self._pump()
        if self._worth_reading():
            return
        self._capacity.wake()  # the first place is needed now
        await self._readable.wait()

    async def _patience(self) -> None:
        await self._clock.sleep(PATIENCE_S)
        self._wanted = 1
        self._readable.set()

    def _worth_reading(self) -> bool:
        row = self._rows[0] if self._rows else None
        if row is None:
            return self._ended
        places = row.places
        return (
            row.all_done
            or (row.done >= self._wanted and (places[0].done or row.done >= _OVERTAKEN))
            or (bool(places) and places[0].done and self._done_bytes >= self._wanted_bytes)
            or (bool(places) and places[0].error is not None)
        )

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────
    def _pump(self) -> None:
        """Start as many requests as there may be."""
        while self._in_flight < self._source.concurrency.limit and (asked := self._next()) is not None:
            self._in_flight += 1
            task = asyncio.create_task(self._ask_on(asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> tuple[_Row, Entry, _Place] | None:
        """The next record to ask for, with its place; None where there is none, or no room for it."""
        if (
            not self._unasked
            or self._waiting.count  # a request more would only hold a connection and its buffers
            or self._placed >= self._capacity.ahead(_LEAST_AHEAD) + self._wanted
            or self._done_bytes >= self._capacity.ahead_bytes + self._wanted_bytes
        ):
            return None
        row = next(each for each in self._rows if each.left)
        entry = row.left.popleft()
        self._unasked -= 1
        if self._unasked <= self._most_listed:
            self._has_room.set()

        def is_needed() -> bool:
            first = bool(self._wanted) and self._rows[0] is row and row.places[0] is place
            return first or place.awaited is not None

        place = _Place(entry.id, self._capacity.receipt(is_needed, self._waiting))
        row.places.append(place)
        self._placed += 1
        return row, entry, place

    async def _ask_on(self, asked: tuple[_Row, Entry, _Place] | None) -> None:
        """Make this request, and others after it for as long as there may be so many."""
        try:
            while asked is not None:
                await self._ask(*asked)
                asked = self._next() if self._in_flight <= self._source.concurrency.limit else None
        finally:
            self._in_flight -= 1

    async def _ask(self, row: _Row, entry: Entry, place: _Place) -> None:
        work, grow = row.work, place.receipt.grow
        try:
            before = work.before.get(entry.id) if work.before else None
            if before is None:
                found = await self._source.detail(entry, work.priority, grow)
            else:
                found = await self._source.second_try(before, work.priority, grow)
            place.receipt.settle(found.body_bytes if isinstance(found, Detail) else 0)
            place.found = found
        except Exception as error:  # noqa: BLE001 - raised where the record would be read
            place.receipt.release()
            place.error = error
        row.done += 1
        self._done_bytes += place.receipt.size
        if place.awaited is not None:
            place.awaited.set()
        if self._wanted and self._worth_reading():
            self._readable.set()
