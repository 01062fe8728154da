"""What a project's loop has to do next: new windows, re-checks, backfill, what was set aside.

Each lane is one small class with ``step``: it does one thing and says whether there may be more.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.counting import counted
from otel_bridge.ledger import Lane, Window
from otel_bridge.receiver.budget import Priority
from otel_bridge.service import planner
from otel_bridge.service.delivery import Tally
from otel_bridge.service.logs import event
from otel_bridge.service.passes import Pass, in_a_row
from otel_bridge.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.service.collection import Collection
    from otel_bridge.service.source import Listing

_SET_ASIDE_BATCH = 200
_ROW_S = 2.0
"""After so long a row takes in no further pass: between steps leases change hands and progress is shown."""
# A clock that is kept right moves by less than this, and differs by less from that of another replica.
_AHEAD_MS = 5_000


class Head:
    """The newest time, oldest first while catching up: a row of new windows a step.

    Args:
        collection: Makes the passes.
        start: Reads where a new ledger begins, in ms since the epoch, given the present.
    """

    def __init__(self, collection: Collection, start: Callable[[int], int]) -> None:
        self._collection = collection
        self._start = start
        self._start_ms: int | None = None
        self._span = planner.Span()
        self._looks_back = True

    async def step(self, now_ms: int) -> bool:
        """Collect the next new windows; True where the present is not reached."""
        collection = self._collection
        watermark = await collection.ledger.watermark_ms(collection.project, Lane.LIVE)
        if self._start_ms is None:
            self._start_ms = self._start(now_ms)
        if watermark is not None and watermark > now_ms + _AHEAD_MS:
            watermark = await self._rewind(watermark, now_ms)
        window = self._window(watermark, now_ms)
        if window is None:
            return False
        until_s = collection.clock.monotonic_s() + _ROW_S

        def following(done: Pass, listing: Listing) -> Pass | None:
            self._learn(done, listing)
            if not listing.complete or collection.clock.monotonic_s() >= until_s:
                return None
            after = self._window(done.window.to_ms, now_ms)
            # The one that ends at the present looks back at those before it, which are committed by then.
            if after is None or after.to_ms >= now_ms:
                return None
            return Pass(after, Priority.HEAD, after.from_ms, collection.crowd.pages)

        with collection.crowd.row():
            from_ms = await self._list_from(window, now_ms)
            pages = planner.WINDOW_PAGES if window.to_ms >= now_ms else collection.crowd.pages
            first = Pass(window, Priority.HEAD, from_ms, pages)
            last, listing = await in_a_row(collection, first, following)
        return not listing.complete or last.window.to_ms < now_ms

    def _window(self, from_ms: int | None, now_ms: int) -> Window | None:
        return planner.next_head(
            self._collection.project, from_ms, self._start_ms or 0, now_ms, self._span.ms
        )

    def _learn(self, done: Pass, listing: Listing) -> None:
        """How much time the next window should cover, and whether there is room to look back."""
        looked_back = done.list_from_ms != done.window.from_ms
        self._looks_back = listing.complete or not looked_back
        if listing.complete:
            records = listing.count_from(done.window.from_ms)
            self._span.collected(done.window, records, self._collection.crowd.pages)
        elif not looked_back:
            self._span.too_full(done.window, listing.covered_ms)

    async def _list_from(self, window: Window, now_ms: int) -> int:
        """Where the listing begins: before the window, once the present is reached and there is room."""
        if not self._looks_back or window.to_ms < now_ms:
            return window.from_ms
        collection = self._collection
        behind = await collection.ledger.windows(
            collection.project,
            Lane.LIVE,
            from_ms=window.from_ms - planner.LOOK_BACK_MS,
            to_ms=window.from_ms,
        )
        return planner.look_back(window, behind)

    async def _rewind(self, watermark_ms: int, now_ms: int) -> int | None:
        """Take back what was collected up to a moment that has not come yet: the clock has been set back.

        A window that ends in the future can't have held all its records. It is collected again; what it has
        delivered is known.
        """
        collection = self._collection
        windows = await collection.ledger.windows(collection.project, Lane.LIVE, from_ms=now_ms)
        ahead = [window for window in windows if window.passes]
        if ahead:
            again = replace(planner.joined(ahead), passes=0, due_ms=0, records=0)
            await collection.ledger.replace_windows(ahead, [again])
        event(
            logging.WARNING,
            "clock_set_back",
            f"{collection.project}: the clock was set back by {format_duration(watermark_ms - now_ms)}; "
            "collecting that time again",
            project=collection.project,
            collected_up_to=format_time(watermark_ms),
        )
        return await collection.ledger.watermark_ms(collection.project, Lane.LIVE)


class Rechecks:
    """Collected windows that are listed again for late records.

    Args:
        collection: Makes the passes.
        lane: Whose windows.
    """

    def __init__(self, collection: Collection, lane: Lane) -> None:
        self._collection = collection
        self._lane = lane

    async def step(self, now_ms: int, *, patient: bool) -> bool:
        """Make one due re-check; True where more are due. See ``planner.recheck_group`` for ``patient``."""
        collection = self._collection
        due = await collection.ledger.due_windows(collection.project, self._lane, now_ms)
        collected = [window for window in due if window.passes]
        group = planner.recheck_group(collected, now_ms, patient=patient)
        if not group:
            return False
        with collection.tracing(planner.joined(group)):
            await collection.recheck(group, Priority.RECHECK)
        return len(collected) > len(group)


class Backfill:
    """Past ranges that a person asked for: planned windows of the backfill lane, oldest first.

    Args:
        collection: Makes the passes.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._span = planner.Span()

    async def planned(self) -> list[Window]:
        """What is still to be collected, oldest first."""
        windows = await self._collection.ledger.windows(self._collection.project, Lane.BACKFILL)
        return [window for window in windows if not window.passes]

    async def step(self) -> bool:
        """Collect the next parts of what is planned; True where more is planned."""
        collection = self._collection
        planned = await self.planned()
        if not planned:
            return False
        until_s = collection.clock.monotonic_s() + _ROW_S

        def following(done: Pass, listing: Listing) -> Pass | None:
            if not listing.complete:
                self._span.too_full(done.window, listing.covered_ms)
                return None
            self._span.collected(done.window, len(listing.entries), collection.crowd.pages)
            del planned[0]
            if done.splits is not None:
                planned.insert(0, done.splits[1][1])
            if not planned or collection.clock.monotonic_s() >= until_s:
                return None
            return self._part(planned[0])

        with collection.crowd.row():
            _, listing = await in_a_row(collection, self._part(planned[0]), following)
        return bool(planned) or not listing.complete

    def _part(self, window: Window) -> Pass:
        """As much of a planned window as one pass should take."""
        pages = self._collection.crowd.pages
        if window.length_ms <= self._span.ms:
            return Pass(window, Priority.BACKFILL, window.from_ms, pages, replaces=(window,))
        cut = window.from_ms + self._span.ms
        part, rest = window.part(window.from_ms, cut), window.part(cut, window.to_ms)
        return Pass(
            part, Priority.BACKFILL, part.from_ms, pages, replaces=(part,), splits=(window, (part, rest))
        )


class SecondTries:
    """Records that were set aside and are due again.

    Args:
        collection: Makes the passes.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def step(self) -> None:
        """Try what is due now, up to a bounded number."""
        collection = self._collection
        now_ms = collection.clock.now_ms()
        due = await collection.ledger.set_aside(collection.project, due_ms=now_ms, limit=_SET_ASIDE_BATCH)
        if not due:
            return
        before = {each.log_id: each for each in due}
        # A list would cost a request more and show nothing that the detail does not.
        details = collection.source.details_of([each.log_id for each in due], Priority.RECHECK)
        times = [each.time_ms for each in due]
        tally = Tally()
        with collection.spans.span("second_try", project=collection.project):
            async with details:
                await collection.batches.deliver(details, (min(times), max(times)), tally, before)
        if tally.delivered:
            event(
                logging.INFO,
                "set_aside_delivered",
                f"{collection.project}: {counted(tally.delivered, 'set-aside record')} delivered",
                project=collection.project,
                delivered=tally.delivered,
            )

    async def waiting(self) -> bool:
        """Whether a record still waits for its parent, or for its application."""
        aside = await self._collection.ledger.set_aside(self._collection.project)
        return any(each.reason.is_waiting for each in aside)
