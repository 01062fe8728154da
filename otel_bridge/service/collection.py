"""One pass over a window: list it to its end, deliver what is new, commit it.

The same for every lane; what differs is which window comes next, and that is the lanes' business.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.errors import DestinationError, SourceFailed
from otel_bridge.ledger import Reason, Window
from otel_bridge.receiver.models import Detail
from otel_bridge.service import planner
from otel_bridge.service.delivery import Tally
from otel_bridge.service.logs import event
from otel_bridge.service.setting_aside import put_aside
from otel_bridge.service.source import Failure
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from otel_bridge.ledger import Ledger, SetAside
    from otel_bridge.receiver.budget import Priority
    from otel_bridge.receiver.models import Entry
    from otel_bridge.receiver.page import UnreadableEntry
    from otel_bridge.service.delivery import BatchDelivery
    from otel_bridge.service.source import Listing, ProjectSource
    from otel_bridge.times import Clock

BATCH_RECORDS = 256
_SOURCE_DOWN = 8
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
        claims: Ids that are being delivered now, shared by the project's lanes.
        stop: Set when the service stops.
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
        claims: set[str],
        stop: asyncio.Event,
    ) -> None:
        self.project = project
        self.ledger = ledger
        self.clock = clock
        self.source = source
        self._delivery = delivery
        self._ages_ms = tuple(recheck_ages_ms)
        self._claims = claims
        self._settling = asyncio.Lock()
        self._in_hand: tuple[list[Detail | Failure], tuple[int, int]] | None = None
        self._stop = stop
        self.tally = Tally()

    def leave_if_stopped(self) -> None:
        """Raises ``Stopped`` when the service stops: for work that would go on for long between batches."""
        if self._stop.is_set():
            raise Stopped

    def now_ms(self) -> int:
        """The present of the source, which windows are stretches of, in ms since the epoch."""
        return self.source.client.now_ms()

    async def listing(self, window: Window, priority: Priority) -> Listing:
        """A window's listing, incomplete where it is too full for one pass and can be split."""
        pages = planner.WINDOW_PAGES if window.length_ms > 1 else None
        began_ms = self.now_ms()
        listing = await self.source.listing(window, priority, pages)
        # A destination can hold up a pass for long; how late a record may still be found counts from here.
        return replace(listing, began_ms=began_ms)

    async def collect(
        self, window: Window, listing: Listing, replaces: Sequence[Window], priority: Priority
    ) -> None:
        """Deliver what the listing shows and the ledger does not know, then commit the window.

        Raises:
            Stopped: The service stops; the window is not committed.
            BridgeError: The window is not committed; what was acknowledged is.
        """
        tally = Tally()
        await self.deliver_new(window, listing, priority, tally)
        records = window.records + tally.records if window.passes else len(listing.entries)
        done = planner.completed(window, self._ages_ms, listing.began_ms, records)
        await self.ledger.commit(self.project, window=done, replaces=list(replaces))
        self._say(window, len(listing.entries), tally, self.clock.now_ms())

    async def deliver_new(self, window: Window, listing: Listing, priority: Priority, tally: Tally) -> None:
        """Deliver what the listing shows and the ledger does not know; counts into ``tally``.

        Raises:
            Stopped: As ``collect``.
            BridgeError: As ``collect``.
        """
        known = await self.ledger.known(self.project, [entry.id for entry in listing.entries])
        # Two lanes may list the millisecond that they share at the same moment: who is first delivers.
        new = [entry for entry in listing.entries if entry.id not in known | self._claims]
        claimed = {entry.id for entry in new}
        self._claims |= claimed
        try:
            await self._deliver_claimed(window, listing, new, priority, tally)
        finally:
            self._claims -= claimed

    async def _deliver_claimed(
        self, window: Window, listing: Listing, new: list[Entry], priority: Priority, tally: Tally
    ) -> None:
        times = [entry.timestamp_ns // _NS_PER_MS for entry in new if entry.timestamp_ns is not None]
        tally.oldest_ms = min(times, default=None)
        within = (window.from_ms, window.to_ms)
        await self.deliver(self.source.details(_parents_first(new), priority), within, tally, {})
        await self._set_unreadable_aside(listing.unreadable, window, tally)

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

    async def deliver(
        self,
        stream: AsyncGenerator[Detail | Failure],
        within: tuple[int, int],
        tally: Tally,
        before: Mapping[str, SetAside],
    ) -> None:
        """Deliver a stream of details batch by batch, each committed before the next; counts into ``tally``.

        Raises:
            Stopped: As ``collect``; the batch in hand is committed.
            BridgeError: As ``collect``.
        """
        batch: list[Detail | Failure] = []
        async with aclosing(stream) as details:
            async for each in details:
                batch.append(each)
                if len(batch) == BATCH_RECORDS:
                    await self._deliver_batch(batch, within, tally, before)
                    batch = []
        if batch:
            await self._deliver_batch(batch, within, tally, before)

    async def _deliver_batch(
        self,
        batch: list[Detail | Failure],
        within: tuple[int, int],
        tally: Tally,
        before: Mapping[str, SetAside],
    ) -> None:
        down = [each for each in batch if isinstance(each, Failure) and each.reason is Reason.SOURCE_FAILED]
        if len(down) == len(batch) >= _SOURCE_DOWN and not before:
            # Not these records' fault: nothing is set aside, the window is tried again as a whole. What was
            # set aside before has shown that it is its own fault.
            raise SourceFailed(down[0].message)
        try:
            delivered = await self._delivery.deliver(batch, within, before)
        except DestinationError:
            self._in_hand = (batch, within)
            raise
        tally.add(delivered)
        self.tally.add(delivered)
        self.leave_if_stopped()

    async def settle(self) -> None:
        """Deliver the batch that the destination did not take the last time, before anything is asked for.

        So a destination that is down costs the source no request, however long it stays down.

        Raises:
            DestinationError: It does not take it now either.
        """
        async with self._settling:
            if self._in_hand is None:
                return
            batch, within = self._in_hand
            known = await self.ledger.known(self.project, [_id_of(each) for each in batch])
            rest = [each for each in batch if _id_of(each) not in known]
            if rest:
                self.tally.add(await self._delivery.deliver(rest, within, {}))
            self._in_hand = None

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
            counted = Tally(set_aside={Reason.UNREADABLE: len(aside)})
            tally.add(counted)
            self.tally.add(counted)
        nameless = sum(1 for each in unreadable if not each.log_id)
        if nameless:
            event(
                logging.WARNING,
                "entry_without_id",
                f"{self.project}: {nameless} entries of the list have no id and can't be collected",
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


def _id_of(fetched: Detail | Failure) -> str:
    return fetched.id if isinstance(fetched, Detail) else fetched.entry.id


def _lateness(window: Window, tally: Tally, now_ms: int) -> dict[str, int]:
    """How long after its time the oldest late record was found, in ms; nothing where none was late."""
    if not window.passes or tally.oldest_ms is None:
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
