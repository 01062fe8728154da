"""A past range delivered again: to a backend that has lost it, or never had it.

The ledger says where each record stood, and is not touched for those that it has: no window, no watermark, no
count. What it has not delivered yet is delivered and committed as a re-check would. What it has set aside
stays so. Of a stretch whose ids it no longer keeps nothing is known to be new, so nothing of it is committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import DestinationError, unforeseen
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.ledger import Reason
from otel_bridge.ledger.limits import ATTEMPTS_KEPT_MS
from otel_bridge.pipeline.capacity import BATCH_RECORDS
from otel_bridge.pipeline.context import Tally
from otel_bridge.pipeline.family import Family, remote_span_of
from otel_bridge.pipeline.fetch import Fetcher
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.pipeline.list import listings, work_of
from otel_bridge.pipeline.pipeline import BATCH_BYTES, just
from otel_bridge.pipeline.settling import Settling, linked
from otel_bridge.pipeline.source import Failure
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.service.standing import stood

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from otel_bridge.ledger import DeliveredRecord, FailedAttempt, Ledger, Recollection, Settled, Window
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.mapper import Mapper
    from otel_bridge.mapping.options import TraceOptions
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.list import Listing
    from otel_bridge.pipeline.pipeline import Pipeline
    from otel_bridge.signals import Outcome

_NS_PER_MS: Final = 1_000_000


@dataclass(slots=True)
class Again:
    """What became of one project's range.

    Attributes:
        reached_ms: Up to where it is delivered, in ms since the epoch.
        again: Records that were delivered once more.
        first: What became of those that had not been delivered before.
        left: Records that could not be delivered again, by reason.
        waiting: Records that are set aside, and were left to `retry`.
    """

    reached_ms: int
    again: int = 0
    first: Tally = field(default_factory=Tally)
    left: Counter[str] = field(default_factory=Counter)
    waiting: int = 0


class Redelivery:
    """Delivers ``[from_ms, to_ms)`` of one project again; for one use.

    Args:
        context: The project's.
        pipeline: Delivers what is new.
        mapper: Makes spans and log records.
        exporter: Delivers them.
        options: What may be set about traces.
        from_ms: In ms since the epoch.
        to_ms: The same, later.
    """

    def __init__(  # noqa: PLR0913 - the rooms
        self,
        context: ProjectContext,
        pipeline: Pipeline,
        *,
        mapper: Mapper,
        exporter: Exporter,
        options: TraceOptions,
        from_ms: int,
        to_ms: int,
    ) -> None:
        self._context = context
        self._pipeline = pipeline
        self._project = context.project
        self._ledger = context.ledger
        self._mapper = mapper
        self._exporter = exporter
        self._options = options
        self._range = (from_ms, to_ms)
        memory = _Memory(context.ledger)
        self._settling = Settling(self._project, memory, options)
        self._resolver = IdentityResolver(
            self._project,
            context.ledger,
            lambda log_id: context.source.parent(log_id, Priority.BACKFILL),
            memory=memory,
            options=options,
        )
        self.report = Again(from_ms)

    async def run(self, on_part: Callable[[], None]) -> None:
        """Deliver the range, oldest first.

        Args:
            on_part: Called after each part of it.

        Raises:
            Stopped: The command is stopped.
            BridgeError: The source, a destination or the ledger did not do its part. ``report`` says how far
                it came.
        """
        async for part, listing in listings(self._context, *self._range):
            await self._part(part, listing)
            self.report.reached_ms = part.to_ms
            on_part()

    async def _part(self, part: Window, listing: Listing) -> None:
        ids = [entry.id for entry in listing.entries]
        known = await self._ledger.known(self._project, ids)
        rows = await self._ledger.identities(self._project, known)
        self.report.waiting += len(known) - len(rows)
        # Asked for after the ids: what a service prunes in between is not taken for new.
        forgotten = (await self._ledger.tool_calls(self._project, part.from_ms, part.to_ms)).forgotten
        new = [entry for entry in listing.entries if entry.id not in known]
        old = {entry.id for entry in new if _lies_in(entry, forgotten)}
        again = [each for each in listing.entries if each.id in rows or each.id in old]
        await self._again(part, replace(listing, entries=again), rows)
        first = replace(
            listing,
            entries=[entry for entry in new if entry.id not in old],
            unreadable=[] if forgotten else listing.unreadable,
        )
        work = work_of(part, first)
        work.tally = self.report.first
        await self._pipeline.run(just(work))

    async def _again(self, part: Window, listing: Listing, rows: Mapping[str, DeliveredRecord]) -> None:
        context = self._context
        async with Fetcher(context) as fetcher:
            fetcher.add(work_of(part, listing))
            fetcher.end()
            while (taken := await fetcher.take(BATCH_RECORDS, BATCH_BYTES)) is not None:
                batch = taken.records
                context.source.check_blame(batch, second=False)
                self.report.left.update(each.reason.value for each in batch if isinstance(each, Failure))
                await self._send([each for each in batch if isinstance(each, Detail)], rows)
                taken.release()
                context.leave_if_stopped()

    async def _send(self, records: Sequence[Detail], rows: Mapping[str, DeliveredRecord]) -> None:
        identities = await self._identities(records, rows)
        deliveries = []
        for record in records:
            try:
                deliveries.append(self._mapper.delivery(record, identities[record.id]))
            except Exception as error:  # noqa: BLE001 - one bad record must not cost its batch
                unforeseen(error)
                self.report.left[Reason.UNMAPPABLE.value] += 1
        if not deliveries:
            return
        try:
            self._count(await self._exporter.export(deliveries))
        except DestinationError as error:
            self._count(outcome_of(error))
            raise

    def _count(self, outcome: Outcome) -> None:
        self.report.again += len(outcome.delivered)
        if outcome.refused:
            self.report.left[Reason.REFUSED.value] += len(outcome.refused)

    async def _identities(
        self, records: Sequence[Detail], rows: Mapping[str, DeliveredRecord]
    ) -> dict[str, Identity]:
        now_ms = self._context.clock.now_ms()
        old = [record for record in records if record.id not in rows]
        resolution = await self._resolver.resolve(old, now_ms)
        identities = await self._resolver.settle(resolution, [each.id for each in old], now_ms)
        kept = [record for record in records if record.id in rows]
        family = Family(kept, {each.id: each for each in kept}, {})
        await self._settling.recall(family, now_ms)
        memory = family.recollection
        here = {
            each.id: stood(self._project, each, rows[each.id], remote_span_of(each, memory), self._options)
            for each in kept
        }
        settled = await self._settling.settle(family, here, list(here), now_ms)
        return identities | {log_id: linked(each, settled[log_id]) for log_id, each in here.items()}


class _Memory:
    """What the ledger remembers, read only. Failed attempts, which it forgets, are noted here anew."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._failed: dict[tuple[bytes, str], FailedAttempt] = {}

    async def recall(
        self,
        project: str,
        *,
        log_ids: Collection[str],
        request_ids: Collection[str],
        attempt_keys: Collection[bytes],
        now_ms: int,
    ) -> Recollection:
        """As ``Ledger``."""
        found = await self._ledger.recall(
            project, log_ids=log_ids, request_ids=request_ids, attempt_keys=attempt_keys, now_ms=now_ms
        )
        noted = [each for (key, _), each in self._failed.items() if key in attempt_keys]
        return replace(found, failed=[*found.failed, *noted])

    async def settle(
        self, project: str, settled: Sequence[Settled], *, failed: Sequence[FailedAttempt] = (), **_: object
    ) -> dict[str, Settled]:
        """What was decided then, as far as it can be found again; kept for this run alone."""
        del project
        self._failed |= {(each.key, each.log_id): each for each in failed}
        if self._failed:
            oldest_ns = max(each.end_ns for each in self._failed.values()) - ATTEMPTS_KEPT_MS * _NS_PER_MS
            self._failed = {key: each for key, each in self._failed.items() if each.end_ns >= oldest_ns}
        return {each.log_id: each for each in settled}


def _lies_in(entry: Entry, stretches: Iterable[tuple[int, int]]) -> bool:
    if entry.timestamp_ns is None:
        return any(stretches)
    at_ms = entry.timestamp_ns // _NS_PER_MS
    return any(from_ms <= at_ms < to_ms for from_ms, to_ms in stretches)
