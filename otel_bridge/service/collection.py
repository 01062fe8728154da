"""One pass over a window: list it to its end, deliver what is new, commit it.

The same for every lane; what differs is which window comes next, and that is the lanes' business.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.counting import counted
from otel_bridge.ledger import Reason, Window
from otel_bridge.service import planner
from otel_bridge.service.batches import Batches
from otel_bridge.service.crowd import Crowd
from otel_bridge.service.delivery import Tally
from otel_bridge.service.logs import event
from otel_bridge.service.observer import NOBODY, Observer
from otel_bridge.service.setting_aside import put_aside
from otel_bridge.telemetry.tracing import Facts, Spans
from otel_bridge.times import format_time

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    from otel_bridge.ledger import Ledger
    from otel_bridge.receiver.budget import Priority
    from otel_bridge.receiver.models import Entry
    from otel_bridge.receiver.page import UnreadableEntry
    from otel_bridge.service.claims import Claims
    from otel_bridge.service.delivery import BatchDelivery
    from otel_bridge.service.detail_stream import DetailStream
    from otel_bridge.service.source import Listing, ProjectSource
    from otel_bridge.times import Clock

    Turn = Callable[[DetailStream], Awaitable[bool]]
    """Returns when a pass may deliver what is being fetched for it, and whether it had to wait."""

_NS_PER_MS = 1_000_000


class Stopped(Exception):  # noqa: N818 - not an error: the way out of a pass when the service stops
    """The service stops; the batch in hand is committed, the window stays open."""


class Collection:
    """Passes over one project's windows.

    Args:
        project: Its name.
        source: Its side of the source.
        delivery: Where batches go.
        ledger: What is done.
        clock: The time.
        recheck_ages_ms: When a collected window is listed again.
        claims: What is being delivered now, shared by the project's lanes.
        stop: Set when the service stops.
        observer: Hears what is done.
        spans: Makes the bridge's own spans.
        crowd: Of all passes in this process.
    """

    def __init__(  # noqa: PLR0913 - the rooms
        self,
        project: str,
        *,
        source: ProjectSource,
        delivery: BatchDelivery,
        ledger: Ledger,
        clock: Clock,
        recheck_ages_ms: Sequence[int],
        claims: Claims,
        stop: asyncio.Event,
        observer: Observer = NOBODY,
        spans: Spans | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self.project = project
        self.ledger = ledger
        self.clock = clock
        self.source = source
        self._ages_ms = tuple(recheck_ages_ms)
        self._claims = claims
        self._stop = stop
        self._observer = observer
        self.spans = spans or Spans()
        self.crowd = crowd or Crowd()
        self.batches = Batches(
            project,
            delivery=delivery,
            ledger=ledger,
            spans=self.spans,
            claims=claims,
            leave=self.leave_if_stopped,
            crowd=self.crowd,
            clock=clock,
        )

    @property
    def tally(self) -> Tally:
        """What became of its records so far."""
        return self.batches.tally

    def leave_if_stopped(self) -> None:
        """Raises ``Stopped`` when the service stops: for work that would go on for long between batches."""
        if self._stop.is_set():
            raise Stopped

    def tracing(self, window: Window) -> AbstractContextManager[Facts]:
        """One trace around all that is done for a window."""
        return self.spans.span(
            "window",
            project=self.project,
            lane=window.lane.value,
            **{
                "pass": "recheck" if window.passes else "first",
                "window.from": format_time(window.from_ms),
                "window.to": format_time(window.to_ms),
            },
        )

    def now_ms(self) -> int:
        """The present of the source, which windows are stretches of, in ms since the epoch."""
        return self.source.client.now_ms()

    async def listing(self, window: Window, priority: Priority, pages: int = planner.WINDOW_PAGES) -> Listing:
        """A window's listing, incomplete where it is too full for one pass and can be split."""
        began_ms = self.now_ms()
        with self.spans.span("list") as span:
            listing = await self.source.listing(window, priority, pages if window.length_ms > 1 else None)
            span.set_attribute("otel_bridge.listed", len(listing.entries))
        # A destination can hold up a pass for long; how late a record may still be found counts from here.
        return replace(listing, from_ms=window.from_ms, began_ms=began_ms)

    async def collect(
        self,
        window: Window,
        listing: Listing,
        replaces: Sequence[Window],
        priority: Priority,
        turn: Turn | None = None,
    ) -> None:
        """Deliver what the listing shows and the ledger does not know, then commit the window.

        The listing may begin before the window: what it finds there that is new is delivered as well.

        Args:
            window: What is committed.
            listing: Of the window, complete.
            replaces: Windows of the ledger that the committed one takes the place of.
            priority: Of the requests.
            turn: Awaited once details are on the way: nothing is delivered before it returns.

        Raises:
            Stopped: The service stops; the window is not committed.
            BridgeError: The window is not committed; what was acknowledged is.
        """
        tally = Tally()
        await self.deliver_new(window, listing, priority, tally, turn)
        if window.passes:
            records = window.records + tally.records
        else:  # of its own some may be known from a pass that was cut short
            records = max(tally.records, listing.count_from(window.from_ms))
        done = planner.completed(window, self._ages_ms, listing.began_ms, records)
        with self.spans.span("commit"):
            await self.ledger.commit(self.project, window=done, replaces=list(replaces))
        now_ms = self.clock.now_ms()
        self._say(window, len(listing.entries), tally, now_ms)
        self._observer.window_done(window, len(listing.entries), tally, now_ms)

    async def deliver_new(
        self,
        window: Window,
        listing: Listing,
        priority: Priority,
        tally: Tally,
        turn: Turn | None = None,
    ) -> None:
        """Deliver what the listing shows and the ledger does not know; counts into ``tally``.

        Raises:
            Stopped: As ``collect``.
            BridgeError: As ``collect``.
        """
        if not listing.entries and turn is not None:
            await turn(self.source.details((), priority, self.crowd))
        entries = listing.entries
        while entries:
            entries = await self._round(window, listing, entries, priority=priority, tally=tally, turn=turn)
            turn = None
            if entries:
                # The pass is not complete before what another lane has in hand is delivered, by whomever.
                await self._claims.let_go([entry.id for entry in entries])
                self.leave_if_stopped()
        await self._set_unreadable_aside(listing.unreadable, window, tally)

    async def _round(  # noqa: PLR0913 - as collect
        self,
        window: Window,
        listing: Listing,
        entries: list[Entry],
        *,
        priority: Priority,
        tally: Tally,
        turn: Turn | None,
    ) -> list[Entry]:
        """Deliver what nobody else delivers; returns what of the window somebody else may."""
        seen = self._claims.times_let_go
        entries = await self._unknown(entries)
        asked = [entry for entry in entries if entry.id not in self._claims]
        async with self.source.details(_parents_first(asked), priority, self.crowd) as details:
            if turn is not None and await turn(details):
                seen = -1
            while seen != self._claims.times_let_go:
                # Somebody has committed what the ledger may not have known when it was asked.
                seen = self._claims.times_let_go
                entries = await self._unknown(entries)
            left = {entry.id for entry in entries}
            # Two lanes may list what they share at the same moment: who is first delivers.
            new = [entry for entry in asked if entry.id in left and entry.id not in self._claims]
            claimed = {entry.id for entry in new}
            with self._claims.held(claimed):
                if new:
                    self._note_times(window, new, tally)
                    within = (listing.from_ms, window.to_ms)
                    leave_out = {entry.id for entry in asked} - claimed
                    await self.batches.deliver(details, within, tally, {}, leave_out)
        # What lies before the window is other windows' charge.
        return [
            entry for entry in entries if entry.id not in claimed and not _is_before(entry, window.from_ms)
        ]

    async def _unknown(self, entries: list[Entry]) -> list[Entry]:
        known = await self.ledger.known(self.project, [entry.id for entry in entries])
        self._observer.deduplicated(self.project, len(known))
        return [entry for entry in entries if entry.id not in known]

    def _note_times(self, window: Window, new: list[Entry], tally: Tally) -> None:
        times = [entry.timestamp_ns // _NS_PER_MS for entry in new if entry.timestamp_ns is not None]
        if tally.oldest_ms is None:
            tally.oldest_ms = min(times, default=None)
        late = [each for each in times if window.passes or each < window.from_ms]
        if late:
            now_ms = self.clock.now_ms()
            self._observer.late(self.project, [(now_ms - each) / 1000 for each in late])

    async def recheck(self, lane_windows: Sequence[Window], priority: Priority) -> None:
        """List adjoining windows once more as one, and commit them as one.

        Raises:
            Stopped: As ``collect``.
            BridgeError: As ``collect``.
        """
        window = planner.joined(lane_windows)
        listing = await self.listing(window, priority)
        if listing.complete:
            await self.collect(window, listing, lane_windows, priority)
            return
        # Late records made it too full for one pass: no joining, and where that is not enough, splitting.
        if len(lane_windows) > 1:
            for single in lane_windows:
                await self.recheck([single], priority)
            return
        parts = planner.halves(window)
        await self.ledger.replace_windows([window], parts)
        for part in parts:
            await self.recheck([part], priority)

    async def _set_unreadable_aside(
        self, unreadable: Sequence[UnreadableEntry], window: Window, tally: Tally
    ) -> None:
        named = {each.log_id: each.reason for each in unreadable if each.log_id}
        known = await self.ledger.known(self.project, named) if named else set()
        now_ms = self.clock.now_ms()
        aside = [
            put_aside(log_id, window.from_ms, Reason.UNREADABLE, reason, now_ms=now_ms)
            for log_id, reason in named.items()
            if log_id not in known
        ]
        if aside:
            await self.ledger.commit(self.project, set_aside=aside)
            self._observer.set_aside(self.project, aside)
            unreadable_ones = Tally(set_aside={Reason.UNREADABLE: len(aside)})
            tally.add(unreadable_ones)
            self.tally.add(unreadable_ones)
        nameless = sum(1 for each in unreadable if not each.log_id)
        if nameless:
            event(
                logging.WARNING,
                "entry_without_id",
                f"{self.project}: {counted(nameless, 'entry', 'entries')} of the list without an id",
                project=self.project,
                count=nameless,
            )

    def _say(self, window: Window, listed: int, tally: Tally, now_ms: int) -> None:
        event(
            logging.INFO if tally.records or not window.passes else logging.DEBUG,
            "window_rechecked" if window.passes else "window_collected",
            f"{self.project}: {tally.delivered} delivered",
            project=self.project,
            lane=window.lane.value,
            window_from=format_time(window.from_ms),
            window_to=format_time(window.to_ms),
            listed=listed,
            delivered=tally.delivered,
            **_lateness(window, tally, now_ms),
            **{f"set_aside_{reason}": count for reason, count in tally.set_aside.items()},
        )


def _is_before(entry: Entry, from_ms: int) -> bool:
    moment = entry.timestamp_ns
    return moment is not None and moment // _NS_PER_MS < from_ms


def _lateness(window: Window, tally: Tally, now_ms: int) -> dict[str, int]:
    """How long after its time the oldest late record was found, in ms; nothing where none was late."""
    if tally.oldest_ms is None or not (window.passes or tally.oldest_ms < window.from_ms):
        return {}
    return {"late_ms": now_ms - tally.oldest_ms}


def _parents_first(entries: Sequence[Entry]) -> list[Entry]:
    """The same entries with a parent before its children, so that its identity is at hand."""
    by_id = {entry.id: entry for entry in entries}
    placed: set[str] = set()
    ordered: list[Entry] = []
    for entry in entries:
        line = [entry]
        above = {entry.id}
        while (parent := by_id.get(line[-1].parent_log_id or "")) and parent.id not in placed | above:
            line.append(parent)
            above.add(parent.id)
        for each in reversed(line):
            if each.id not in placed:
                placed.add(each.id)
                ordered.append(each)
    return ordered
