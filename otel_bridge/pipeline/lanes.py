"""What comes next in each lane: new windows, re-checks, backfill, records that were set aside.

Each lane's ``works`` is an asynchronous generator for ``Pipeline.run``: it plans a window, lists it, and
yields it, while the pipeline is busy with the ones before it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline import windows
from otel_bridge.pipeline.list import Work, list_window
from otel_bridge.pipeline.pipeline import pause
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.models import Entry
from otel_bridge.telemetry.events import event
from otel_bridge.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.list import Listing
    from otel_bridge.pipeline.polling import PollInterval

_SET_ASIDE_BATCH: Final = 200
# A clock that is kept right moves by less than this, and differs by less from that of another replica.
_AHEAD_MS: Final = 5_000
_MUCH_MS: Final = 5 * 60_000
"""Of more time than this the source is asked how many records it holds, before any of it is listed."""
_DEEP_EVERY_S: Final = 8.0
_SELDOM_MS: Final = 4_500
"""A poll looks back far, even where that costs pages, so often, or where polls are so seldom."""


class Live:
    """The newest time: new windows, oldest first while catching up, then polls.

    Args:
        context: The project's.
        start: Reads where a new ledger begins, in ms since the epoch, given the present.
        last_age_ms: The age of the last re-check, in ms.
    """

    def __init__(self, context: ProjectContext, start: Callable[[int], int], last_age_ms: int = 0) -> None:
        self._context = context
        self._start = start
        self._last_age_ms = last_age_ms
        self._start_ms: int | None = None
        self._span = windows.Span()
        self._expects = False
        self._looks_back = True
        self._looked_deep_s: float | None = None
        # Polls that the pipeline has and the ledger has not yet: what the next one looks back over.
        self._recent: list[Window] = []

    async def works(
        self,
        interval: PollInterval | None = None,
        *,
        polls_on: bool = False,
        until_ms: int | None = None,
    ) -> AsyncGenerator[Work, None]:
        """New windows up to the present.

        Args:
            interval: How often there is a poll, told what each of them takes.
            polls_on: Whether to go on with polls, for as long as the service runs.
            until_ms: What to take for the present, in ms since the epoch, where there is an end.

        Raises:
            SourceError: A window can't be listed.
            LedgerError: As the ledger.
        """
        context = self._context
        now_ms = context.now_ms() if until_ms is None else until_ms
        from_ms = await self._watermark(now_ms)
        edge_ms = now_ms - self._last_age_ms
        self._recent.clear()
        if not self._expects:
            self._expects = True
            behind_from_ms = self._start_ms if from_ms is None else from_ms
            await _expect(context, self._span, behind_from_ms or 0, now_ms, Priority.HEAD)
        while not context.stop.is_set():
            began_s = context.clock.monotonic_s()
            now_ms = context.now_ms() if until_ms is None else until_ms
            if from_ms is not None and from_ms > now_ms + _AHEAD_MS:
                return  # the clock was set back: the next run begins with what the ledger says
            window = windows.next_head(
                context.project, from_ms, self._start_ms or 0, now_ms, self._span.ms, edge_ms
            )
            polls = window is None or window.to_ms >= now_ms
            if window is not None:
                listing, work = await self._listed(window, now_ms)
                self._learn(window, listing)
                if not listing.complete:
                    continue
                from_ms = window.to_ms
                work.reaches_present = polls
                if work.began_ms - window.to_ms < self._last_age_ms:  # else its commit seals it
                    self._recent.append(
                        replace(window, passes=1, due_ms=now_ms + 1, records=work.own_entries)
                    )
                if polls and interval is not None:
                    interval.polled(windows.pages_of(len(listing.entries)))
                yield work
            if polls:
                if interval is None or not polls_on:
                    return
                spent_s = context.clock.monotonic_s() - began_s
                await pause(context, max(0.0, interval.seconds - spent_s))

    async def _watermark(self, now_ms: int) -> int | None:
        context = self._context
        watermark = await context.ledger.watermark_ms(context.project, Lane.LIVE)
        if self._start_ms is None:
            self._start_ms = self._start(now_ms)
        if watermark is not None and watermark > now_ms + _AHEAD_MS:
            watermark = await self._rewind(watermark, now_ms)
        return watermark

    async def _listed(self, window: Window, now_ms: int) -> tuple[Listing, Work]:
        if window.to_ms < now_ms:
            return await list_window(self._context, window, Priority.HEAD, pages=self._context.capacity.pages)
        from_ms = await self._list_from(window)
        return await list_window(self._context, window, Priority.HEAD, from_ms=from_ms)

    def _learn(self, window: Window, listing: Listing) -> None:
        """How much time the next window should cover, and whether there is room to look back."""
        looked_back = listing.from_ms != window.from_ms
        self._looks_back = listing.complete or not looked_back
        if listing.complete:
            records = listing.count_from(window.from_ms)
            self._span.collected(window, records, self._context.capacity.pages)
        elif not looked_back:
            self._span.too_full(window, listing.covered_ms)

    async def _list_from(self, window: Window) -> int:
        """Where a poll's listing begins: before its window, where there is room."""
        if not self._looks_back:
            return window.from_ms
        context = self._context
        begin_ms = window.from_ms - windows.LOOK_BACK_MS
        behind = await context.ledger.windows(
            context.project, Lane.LIVE, from_ms=begin_ms, to_ms=window.from_ms
        )
        # Of what is not committed yet the ledger says nothing; it will be by the time this poll is delivered.
        last_ms = behind[-1].to_ms if behind else begin_ms
        self._recent = [each for each in self._recent if each.from_ms >= last_ms and each.to_ms > begin_ms]
        pending = [replace(each, due_ms=window.to_ms + 1) for each in self._recent]
        now_s = context.clock.monotonic_s()
        deep_s = self._looked_deep_s
        deep = deep_s is None or now_s - deep_s >= _DEEP_EVERY_S or window.length_ms >= _SELDOM_MS
        if deep:
            self._looked_deep_s = now_s
        return windows.look_back(window, [*behind, *pending], deep=deep)

    async def _rewind(self, watermark_ms: int, now_ms: int) -> int | None:
        """Take back what was collected up to a moment that has not come yet: the clock has been set back.

        A window that ends in the future can't have held all its records. It is collected again; what it has
        delivered is known.
        """
        context = self._context
        # What was taken back before and is not collected yet among it: the clock may be set back twice.
        ahead = await context.ledger.windows(context.project, Lane.LIVE, from_ms=now_ms)
        if any(window.passes for window in ahead):
            again = replace(windows.joined(ahead), passes=0, due_ms=0, records=0)
            await context.ledger.replace_windows(ahead, [again])
        event(
            logging.WARNING,
            "clock_set_back",
            f"{context.project}: the clock was set back by {format_duration(watermark_ms - now_ms)}; "
            "collecting that time again",
            project=context.project,
            collected_up_to=format_time(watermark_ms),
        )
        return await context.ledger.watermark_ms(context.project, Lane.LIVE)


async def rechecks(
    context: ProjectContext, lane: Lane, *, now_ms: int | None = None, patient: bool
) -> AsyncGenerator[Work, None]:
    """Collected windows that are due to be listed again for late records, oldest first.

    Args:
        context: The project's.
        lane: Whose windows.
        now_ms: By when they are due, in ms since the epoch; the present where it is None.
        patient: See ``windows.recheck_group``.

    Raises:
        SourceError: A window can't be listed.
        LedgerError: As the ledger.
    """
    by_ms = context.now_ms() if now_ms is None else now_ms
    after_ms: int | None = None
    while not context.stop.is_set():
        due = await context.ledger.due_windows(context.project, lane, by_ms)
        # What comes before is in the pipeline, and not committed yet.
        collected = [each for each in due if each.passes and (after_ms is None or each.from_ms >= after_ms)]
        group = windows.recheck_group(collected, by_ms, patient=patient)
        if not group:
            return
        after_ms = group[-1].to_ms
        async for work in _rechecked(context, tuple(group)):
            yield work


async def _rechecked(context: ProjectContext, group: tuple[Window, ...]) -> AsyncGenerator[Work, None]:
    """List adjoining windows once more as one; where late records made that too full, in parts."""
    window = windows.joined(group)
    listing, work = await list_window(context, window, Priority.RECHECK, replaces=group)
    if listing.complete:
        yield work
        return
    if len(group) == 1:
        group = windows.halves(window)
        await context.ledger.replace_windows([window], group)
    for single in group:
        async for part in _rechecked(context, (single,)):
            yield part


class Backfill:
    """Past ranges that a person asked for: planned windows of the backfill lane, oldest first.

    Args:
        context: The project's.
    """

    def __init__(self, context: ProjectContext) -> None:
        self._context = context
        self._span = windows.Span()
        self._expects = False

    async def works(self) -> AsyncGenerator[Work, None]:
        """As much of each planned window as one listing should take, until all that is planned is listed.

        Raises:
            SourceError: A window can't be listed.
            LedgerError: As the ledger.
        """
        context = self._context
        found = await context.ledger.windows(context.project, Lane.BACKFILL)
        planned = [window for window in reversed(found) if not window.passes]
        if planned and not self._expects:
            self._expects = True
            await _expect(context, self._span, planned[-1].from_ms, planned[0].to_ms, Priority.BACKFILL)
        while planned and not context.stop.is_set():
            whole = planned.pop()
            end_ms = min(whole.to_ms, whole.from_ms + self._span.ms)
            part = whole if end_ms == whole.to_ms else whole.part(whole.from_ms, end_ms)
            pages = context.capacity.pages
            listing, work = await list_window(context, part, Priority.BACKFILL, pages=pages, replaces=(part,))
            if not listing.complete:
                self._span.too_full(part, listing.covered_ms)
                planned.append(whole)
                continue
            self._span.collected(part, len(listing.entries), pages)
            if part is not whole:
                rest = whole.part(end_ms, whole.to_ms)
                await context.ledger.replace_windows([whole], [part, rest])
                planned.append(rest)
            yield work


async def _expect(
    context: ProjectContext, span: windows.Span, from_ms: int, to_ms: int, priority: Priority
) -> None:
    """Size the windows of a long stretch by the source's own count: one request in place of several."""
    if to_ms - from_ms > _MUCH_MS:
        count = await context.source.count(from_ms, to_ms, priority)
        if count is not None:
            span.expect(to_ms - from_ms, count)


async def second_tries(context: ProjectContext) -> AsyncGenerator[Work, None]:
    """Records that were set aside and are due again now, oldest first, until each has been tried once.

    Raises:
        LedgerError: As the ledger.
    """
    now_ms = context.clock.now_ms()
    while not context.stop.is_set():
        due = await context.ledger.set_aside(context.project, due_ms=now_ms, limit=_SET_ASIDE_BATCH)
        if not due:
            return
        times = [each.time_ms for each in due]
        work = Work(
            # A list would cost a request more and show little that the detail does not.
            entries=[Entry(id=each.log_id) for each in due],
            within=(min(times), max(times)),
            priority=Priority.RECHECK,
            listed=len(due),
            before={each.log_id: each for each in due},
            span=context.spans.begin("second_try", project=context.project),
        )
        yield work
        await work.done.wait()  # what is tried now is due again only later
        if work.tally.delivered:
            event(
                logging.INFO,
                "set_aside_delivered",
                f"{context.project}: {counted(work.tally.delivered, 'set-aside record')} delivered",
                project=context.project,
                delivered=work.tally.delivered,
            )
        if not work.tally.records:
            return  # other lanes have them
