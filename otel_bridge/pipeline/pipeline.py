"""One lane's pipeline: lists ahead, fetches ahead, delivers and commits in order.

    works (lanes.py) ──► _feed ──► Fetcher ──► run ──► Deliverer
                         known?    details     batch   identify, map, export, commit

Each work is delivered and committed after the one before it. What fails in one stage is raised where its turn
would have come: everything before it is delivered and committed, nothing after it is.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.errors import DestinationError
from otel_bridge.ledger import Reason
from otel_bridge.pipeline import windows
from otel_bridge.pipeline.capacity import BATCH_RECORDS
from otel_bridge.pipeline.context import Stopped
from otel_bridge.pipeline.fetch import Fetcher
from otel_bridge.pipeline.in_flight import begun_elsewhere
from otel_bridge.pipeline.list import is_before, parents_first
from otel_bridge.pipeline.setting_aside import put_aside
from otel_bridge.pipeline.source import id_of
from otel_bridge.receiver.models import Detail
from otel_bridge.telemetry.events import event
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from otel_bridge.ledger import Window
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.deliver import Deliverer
    from otel_bridge.pipeline.fetch import Taken
    from otel_bridge.pipeline.list import Work
    from otel_bridge.pipeline.source import Fetched
    from otel_bridge.receiver.models import Entry

    OnTrouble = Callable[[DestinationError, int], Awaitable[float]]
    """Told of a destination's failure, and of how many there were in a row; gives the seconds to wait."""

BATCH_BYTES: Final = 8_000_000
"""A batch with so much of bodies is full: what it becomes is held until it is acknowledged."""
FIRST_BATCH_RECORDS: Final = 32
"""A batch is what a kill may make go out again. A process that has just begun, or whose destination has just
failed, is the likeliest to be killed: it starts small and doubles with each batch that is delivered.
"""
_ASK_AGAIN_S: Final = 1.0
"""So often the ledger is asked what has become of records that another replica was delivering."""
_NS_PER_MS: Final = 1_000_000


class Pipeline:
    """Takes works from listing to commit, for one lane of a project.

    Args:
        context: The project's.
        deliverer: Delivers batches.
        recheck_ages_ms: How long after its end a window is listed again, in ms, rising.
        on_trouble: See ``OnTrouble``; without it a destination's failure ends the run, for a command that has
            to end.
        on_done: Called when a work is delivered, and its window committed.
    """

    def __init__(
        self,
        context: ProjectContext,
        deliverer: Deliverer,
        recheck_ages_ms: Sequence[int],
        on_trouble: OnTrouble | None = None,
        on_done: Callable[[Work], Awaitable[None]] | None = None,
    ) -> None:
        self._context = context
        self._deliverer = deliverer
        self._recheck_ages_ms = tuple(recheck_ages_ms)
        self._on_trouble = on_trouble
        self._on_done = on_done
        self._batch_records = FIRST_BATCH_RECORDS
        # Ids between listing and commit: adjoining windows share a millisecond, and a poll looks back.
        self._under_way: set[str] = set()
        self._own_releases = 0

    async def run(self, works: AsyncGenerator[Work, None], drain: asyncio.Event | None = None) -> None:
        """Take all works through, oldest first.

        Args:
            works: Listed windows, made while earlier ones are fetched and delivered.
            drain: Once it is set nothing more is listed; what has been listed is delivered and committed.

        Raises:
            Stopped: The service stops; the batch in progress is committed, its window is not.
            BridgeError: The source, a destination or the ledger did not do its part. What comes before is
                committed, of the window it happened in what was acknowledged.
        """
        async with Fetcher(self._context) as fetcher:
            feeding = asyncio.create_task(self._feed_until(works, fetcher, drain))
            try:
                while (taken := await self._take(fetcher)) is not None:
                    try:
                        with taken.work.span.current():
                            await self._deliver(taken)
                    finally:
                        taken.release()
                        self._forget(taken.records, but=taken.work.left_to_others)
                    self._context.leave_if_stopped()
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
                self._under_way.clear()

    def _forget(self, records: Sequence[Fetched], but: Sequence[Fetched] = ()) -> None:
        """These are not under way any more; what is left to another lane is, until that is settled."""
        self._under_way.difference_update({id_of(each) for each in records} - {id_of(each) for each in but})

    # ── listing ──────────────────────────────────────────────────────────────────────────────────────
    async def _feed_until(
        self, works: AsyncGenerator[Work, None], fetcher: Fetcher, drain: asyncio.Event | None
    ) -> None:
        feeding = asyncio.create_task(self._feed(works, fetcher))
        draining = None if drain is None else asyncio.create_task(drain.wait())
        tasks = [feeding] if draining is None else [feeding, draining]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        fetcher.end(None if feeding.cancelled() else feeding.exception())

    async def _feed(self, works: AsyncGenerator[Work, None], fetcher: Fetcher) -> None:
        async with aclosing(works):
            async for work in works:
                try:
                    await self._leave_out_known(work)
                except BaseException as error:
                    work.span.end(error)
                    raise
                fetcher.add(work)
                await fetcher.room()

    async def _leave_out_known(self, work: Work) -> None:
        """Leave to a work what needs a request: not what is known, nor what this pipeline has under way."""
        if work.before or not work.entries:
            return
        # In this order: what is committed between the two is not under way any more, and known.
        entries = [entry for entry in work.entries if entry.id not in self._under_way]
        work.releases_seen = self._foreign_releases
        known = await self._context.ledger.known(self._context.project, [entry.id for entry in entries])
        if known:
            self._context.observer.deduplicated(self._context.project, len(known))
            entries = [entry for entry in entries if entry.id not in known]
        self._note_times(work, entries)
        work.entries = parents_first(entries)
        self._under_way.update(entry.id for entry in entries)

    def _note_times(self, work: Work, new: Sequence[Entry]) -> None:
        times = [entry.timestamp_ns // _NS_PER_MS for entry in new if entry.timestamp_ns is not None]
        work.tally.oldest_ms = min(times, default=None)
        window = work.window
        late = [each for each in times if window is None or window.passes or each < window.from_ms]
        if late:
            now_ms = self._context.clock.now_ms()
            self._context.observer.late(self._context.project, [(now_ms - each) / 1000 for each in late])

    # ── delivering ───────────────────────────────────────────────────────────────────────────────────
    async def _take(self, fetcher: Fetcher) -> Taken | None:
        work = await fetcher.first()
        if work is None:
            return None
        most = self._context.capacity.batch(min(self._batch_records, BATCH_RECORDS))
        with work.span.current(), self._context.spans.span("details") as span:
            taken = await fetcher.take(most, BATCH_BYTES)
            span.set_attribute("otel_bridge.records", 0 if taken is None else len(taken.records))
        if taken is not None and len(taken.records) >= self._batch_records:
            self._batch_records = min(2 * self._batch_records, BATCH_RECORDS)
        return taken

    async def _deliver(self, taken: Taken) -> None:
        work, records = taken.work, taken.records
        try:
            self._context.source.check_blame(records, second=bool(work.before))
            closing = taken.last and not work.unreadable and not work.left_to_others
            others = await self._deliver_batch(work, records, closing=closing)
            work.left_to_others.extend(others)
            if not taken.last:
                return
            if not closing or others:
                await self._deliver_rest(work)
        except BaseException as error:
            work.span.end(error)
            raise
        await self._finished(work)
        work.span.end()

    async def _deliver_rest(self, work: Work) -> None:
        """Deliver what another lane was delivering, if that lane failed; then commit the window."""
        context = self._context
        left = work.left_to_others
        if work.window is not None:
            # What lies before the window belongs to other windows: it needs no waiting.
            from_ms = work.window.from_ms
            work.left_to_others = [each for each in work.left_to_others if not _lies_before(each, from_ms)]
        while work.left_to_others:
            waiting, work.left_to_others = work.left_to_others, []
            await context.in_flight.released([id_of(each) for each in waiting])
            if work.elsewhere:
                work.elsewhere = False
                await pause(context, _ASK_AGAIN_S)
            context.leave_if_stopped()
            work.left_to_others = await self._deliver_batch(work, waiting, closing=False)
        self._forget(left)
        await self._set_unreadable_aside(work)
        await self._deliver_batch(work, [], closing=True)

    async def _deliver_batch(self, work: Work, records: list[Fetched], *, closing: bool) -> list[Fetched]:
        """Deliver what no other lane is delivering; returns what another one is.

        A destination that does not take it is asked again for as long as it takes: this stage then holds up
        the ones before it, so that the source is not asked either.
        """
        context = self._context
        failures = 0
        while True:
            mine, others = await self._not_in_flight(work, records)
            try:
                if mine or (closing and not others):
                    others += await self._deliver_held(work, mine, closing=closing and not others)
            except DestinationError as error:
                self._batch_records = FIRST_BATCH_RECORDS
                if self._on_trouble is None:
                    raise
                failures += 1
                wait_s = await self._on_trouble(error, failures)
            else:
                return others
            # What was acknowledged before the failure is committed: the ledger knows it.
            work.releases_seen = -1
            await pause(context, wait_s)
            context.leave_if_stopped()

    async def _deliver_held(self, work: Work, mine: list[Fetched], *, closing: bool) -> list[Fetched]:
        """Deliver these while their ids are held; returns those that another replica is delivering."""
        context = self._context
        try:
            with context.in_flight.held([id_of(each) for each in mine]):
                begun = await begun_elsewhere(context.ledger, context.project, mine)
                others = [each for each in mine if id_of(each) in begun]
                if others:
                    work.elsewhere = True
                    work.releases_seen = -1
                    mine = [each for each in mine if id_of(each) not in begun]
                window = self._completed(work, len(mine)) if closing and not others else None
                if mine or window is not None:
                    await self._deliverer.deliver(mine, work, window)
        finally:
            self._own_releases += 1
        return others

    async def _not_in_flight(self, work: Work, records: list[Fetched]) -> tuple[list[Fetched], list[Fetched]]:
        """What is new even now: first what this lane may deliver, then what another one is delivering.

        Nothing is awaited between the last look and the caller's holding of the ids.
        """
        context = self._context
        seen = work.releases_seen  # of these records the ledger was asked then, whatever it was asked since
        while records and seen != self._foreign_releases:
            # Another lane has committed something that the ledger may not have known when it was asked.
            seen = self._foreign_releases
            ids = [id_of(each) for each in records]
            # Of a second try the ledger knows the id; what counts is whether it is delivered by now.
            asked = context.ledger.identities if work.before else context.ledger.known
            known = await asked(context.project, ids)
            records = [each for each in records if id_of(each) not in known]
        others = [each for each in records if id_of(each) in context.in_flight]
        return [each for each in records if id_of(each) not in context.in_flight], others

    @property
    def _foreign_releases(self) -> int:
        return self._context.in_flight.times_released - self._own_releases

    def _completed(self, work: Work, records: int) -> Window | None:
        """The window as it is once the last ``records`` of it are delivered."""
        window = work.window
        if window is None:
            return None
        new = work.tally.records + records
        # Of a new window some records may be known from a run that was cut short.
        total = window.records + new if window.passes else max(new, work.own_entries)
        return windows.completed(window, self._recheck_ages_ms, work.began_ms, total)

    async def _set_unreadable_aside(self, work: Work) -> None:
        context = self._context
        named = {each.log_id: each.reason for each in work.unreadable if each.log_id}
        known = await context.ledger.known(context.project, named) if named else set()
        now_ms = context.clock.now_ms()
        aside = [
            put_aside(log_id, work.within[0], Reason.UNREADABLE, reason, now_ms=now_ms, tries=1)
            for log_id, reason in named.items()
            if log_id not in known
        ]
        if aside:
            await context.ledger.commit(context.project, set_aside=aside)
            context.observer.set_aside(context.project, aside)
            for tally in (work.tally, context.tally):
                tally.count(0, {Reason.UNREADABLE: len(aside)})
        nameless = sum(1 for each in work.unreadable if not each.log_id)
        if nameless:
            event(
                logging.WARNING,
                "entry_without_id",
                f"{context.project}: {counted(nameless, 'entry', 'entries')} of the list without an id",
                project=context.project,
                count=nameless,
            )

    async def _finished(self, work: Work) -> None:
        context, window, tally = self._context, work.window, work.tally
        if window is not None:
            now_ms = context.clock.now_ms()
            event(
                logging.INFO if tally.records or not window.passes else logging.DEBUG,
                "window_rechecked" if window.passes else "window_collected",
                f"{context.project}: {tally.delivered} delivered",
                project=context.project,
                lane=window.lane.value,
                window_from=format_time(window.from_ms),
                window_to=format_time(window.to_ms),
                listed=work.listed,
                delivered=tally.delivered,
                **_lateness(work, now_ms),
                **{f"set_aside_{reason}": count for reason, count in tally.set_aside.items()},
            )
            context.observer.window_done(window, work.listed, tally, now_ms)
        if self._on_done is not None:
            await self._on_done(work)
        work.done.set()


async def pause(context: ProjectContext, seconds: float) -> None:
    """Sleep, or return as soon as the service stops."""
    sleeping = asyncio.create_task(context.clock.sleep(seconds))
    stopping = asyncio.create_task(context.stop.wait())
    try:
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        stopping.cancel()
        await asyncio.gather(sleeping, stopping, return_exceptions=True)


async def just(work: Work) -> AsyncGenerator[Work, None]:
    """The works of a pipeline that takes one alone."""
    yield work


def _lies_before(fetched: Fetched, ms: int) -> bool:
    return is_before(fetched if isinstance(fetched, Detail) else fetched.entry, ms)


def _lateness(work: Work, now_ms: int) -> dict[str, int]:
    """How long after its time the oldest late record was found, in ms; nothing where none was late."""
    oldest_ms, window = work.tally.oldest_ms, work.window
    if oldest_ms is None or window is None or not (window.passes or oldest_ms < window.from_ms):
        return {}
    return {"late_ms": now_ms - oldest_ms}


__all__ = ["BATCH_BYTES", "BATCH_RECORDS", "FIRST_BATCH_RECORDS", "Pipeline", "Stopped", "just", "pause"]
