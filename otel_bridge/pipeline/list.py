"""A window's pages become a listing: each id once, oldest first, and of these what is new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Lane, SetAside, Window
from otel_bridge.pipeline import windows
from otel_bridge.pipeline.context import Tally
from otel_bridge.receiver.budget import Priority
from otel_bridge.telemetry.tracing import LongSpan
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.source import Fetched
    from otel_bridge.receiver.models import Entry
    from otel_bridge.receiver.page import UnreadableEntry

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What a stretch of time holds.

    Attributes:
        entries: Each id once, oldest first.
        unreadable: What the list showed and can't be read.
        complete: False where it has more pages than were asked for.
        from_ms: Where the listed time begins, in ms since the epoch.
        began_ms: When listing began, in ms since the epoch: what was visible then is in it. However long the
            destination holds up what follows, how late a record may still be found counts from here.
    """

    entries: list[Entry]
    unreadable: list[UnreadableEntry]
    complete: bool
    from_ms: int = 0
    began_ms: int = 0

    def count_from(self, from_ms: int) -> int:
        """How many of its entries have a time of ``from_ms`` or later, or none that can be read."""
        if from_ms <= self.from_ms:
            return len(self.entries)
        return sum(1 for each in self.entries if not is_before(each, from_ms))

    @property
    def covered_ms(self) -> int:
        """The stretch of time from its oldest entry to its newest, in ms."""
        times = [entry.timestamp_ns for entry in self.entries if entry.timestamp_ns is not None]
        return (max(times) - min(times)) // _NS_PER_MS if times else 0


@dataclass(slots=True, eq=False)
class Work:
    """What goes through a pipeline as one: the records of a window, and the window, which is committed last.

    Attributes:
        entries: What is asked for, in order; the pipeline takes out what is known already.
        within: The bounds of the time that was listed, in ms since the epoch.
        priority: Of its requests.
        listed: How many entries the listing had.
        unreadable: What the list showed and can't be read.
        window: What is committed at its end, as it was before; None where no window is.
        began_ms: When it was listed.
        own_entries: How many entries of the listing lie in the window itself.
        replaces: Windows of the ledger that the committed one takes the place of.
        before: For second tries: by log id, how the record was set aside the last time.
        reaches_present: Whether everything up to the present is delivered once this is.
        span: The bridge's own span around all of it.
        tally: What became of its records.
        done: Set once it is delivered and committed.
        releases_seen: How often other lanes had released ids when the ledger was last asked for its records.
        left_to_others: Records that another lane was delivering when their turn had come.
        elsewhere: Whether some of these are another replica's: the ledger alone knows what becomes of them.
    """

    entries: list[Entry]
    within: tuple[int, int]
    priority: Priority
    listed: int = 0
    unreadable: Sequence[UnreadableEntry] = ()
    window: Window | None = None
    began_ms: int = 0
    own_entries: int = 0
    replaces: tuple[Window, ...] = ()
    before: Mapping[str, SetAside] = field(default_factory=dict)
    reaches_present: bool = False
    span: LongSpan = field(default_factory=LongSpan)
    tally: Tally = field(default_factory=Tally)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    releases_seen: int = 0
    left_to_others: list[Fetched] = field(default_factory=list)
    elsewhere: bool = False


async def list_time(
    context: ProjectContext, from_ms: int, to_ms: int, priority: Priority, most_pages: int | None
) -> Listing:
    """List ``[from_ms, to_ms]``, as it is when this begins, up to ``most_pages`` pages.

    Raises:
        SourceError: As the client.
    """
    began_ms = context.now_ms()
    entries: dict[str, Entry] = {}
    unreadable: list[UnreadableEntry] = []
    complete = True
    async for page in context.source.pages(from_ms, to_ms, priority, most_pages):
        # A page-based cursor shifts when records arrive, so an id may come twice.
        entries.update((entry.id, entry) for entry in page.entries)
        unreadable.extend(page.unreadable)
        complete = page.next_cursor is None
    # The order of the list is not documented; oldest first is what a destination takes best.
    ordered = sorted(entries.values(), key=lambda entry: (entry.timestamp_ns or 0, entry.id))
    return Listing(ordered, unreadable, complete, from_ms, began_ms)


async def list_window(  # noqa: PLR0913 - the facts of one listing
    context: ProjectContext,
    window: Window,
    priority: Priority,
    *,
    from_ms: int | None = None,
    pages: int = windows.WINDOW_PAGES,
    replaces: tuple[Window, ...] = (),
) -> tuple[Listing, Work]:
    """List a window, and make of it what the pipeline takes.

    Args:
        context: The project's.
        window: What is committed in the end.
        priority: Of the requests.
        from_ms: Where the listing begins where that is before the window, in ms since the epoch.
        pages: The most pages; a window of a single millisecond, which can't be split, has no bound.
        replaces: See ``Work``.

    Returns:
        The listing, and the work, which is of use only where the listing is complete.

    Raises:
        SourceError: As the client.
    """
    start_ms = window.from_ms if from_ms is None else from_ms
    span = context.spans.begin(
        "window",
        project=context.project,
        lane=window.lane.value,
        **{
            "pass": "recheck" if window.passes else "first",
            "window.from": format_time(window.from_ms),
            "window.to": format_time(window.to_ms),
        },
    )
    try:
        with span.current(), context.spans.span("list") as listing_span:
            most = pages if window.to_ms - start_ms > 1 else None
            listing = await list_time(context, start_ms, window.to_ms, priority, most)
            listing_span.set_attribute("otel_bridge.listed", len(listing.entries))
    except BaseException as error:
        span.end(error)
        raise
    if not listing.complete:
        span.end()
    return listing, Work(
        entries=listing.entries,
        within=(start_ms, window.to_ms),
        priority=priority,
        listed=len(listing.entries),
        unreadable=listing.unreadable,
        window=window,
        began_ms=listing.began_ms,
        own_entries=listing.count_from(window.from_ms),
        replaces=replaces,
        span=span,
    )


async def listings(
    context: ProjectContext, from_ms: int, to_ms: int
) -> AsyncIterator[tuple[Window, Listing]]:
    """Every record of ``[from_ms, to_ms)`` once, oldest first, each part a bounded number of pages.

    Plans nothing and commits nothing: for comparisons with the source.

    Raises:
        Stopped: The service stops.
        SourceError: As the client.
    """
    span = windows.Span()
    while from_ms < to_ms:
        context.leave_if_stopped()
        part = Window(context.project, Lane.BACKFILL, from_ms, min(to_ms, from_ms + span.ms))
        pages = windows.WINDOW_PAGES if part.length_ms > 1 else None
        listing = await list_time(context, part.from_ms, part.to_ms, Priority.BACKFILL, pages)
        if not listing.complete:
            span.too_full(part, listing.covered_ms)
            continue
        span.collected(part, len(listing.entries))
        # Whether a list holds its end is not documented; here it does not, as in the source's counts.
        entries = [entry for entry in listing.entries if not _is_at(entry, part.to_ms)]
        yield part, replace(listing, entries=entries)
        from_ms = part.to_ms


def work_of(part: Window, listing: Listing) -> Work:
    """Records of a listed part for a pipeline that commits no window with them."""
    return Work(
        entries=listing.entries,
        within=(part.from_ms, part.to_ms),
        priority=Priority.BACKFILL,
        listed=len(listing.entries),
        unreadable=listing.unreadable,
        began_ms=listing.began_ms,
    )


def is_before(entry: Entry, ms: int) -> bool:
    """Whether an entry has a time, and that is before a moment in ms since the epoch."""
    moment = entry.timestamp_ns
    return moment is not None and moment // _NS_PER_MS < ms


def _is_at(entry: Entry, ms: int) -> bool:
    moment = entry.timestamp_ns
    return moment is not None and moment // _NS_PER_MS == ms


def parents_first(entries: Sequence[Entry]) -> list[Entry]:
    """The same entries with a parent before its children, so that its identity is known to them."""
    if not any(entry.parent_log_id for entry in entries):
        return list(entries)
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
