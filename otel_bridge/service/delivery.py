"""One batch from details to acknowledged, committed records."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import DestinationError, unforeseen
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.ledger import DeliveredRecord, Ledger, Reason, SetAside
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.service.identities import LOOP_DEPTH, IdentityResolver
from otel_bridge.service.setting_aside import put_aside
from otel_bridge.service.source import Failure
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.mapper import Mapper
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.times import Clock

_NS_PER_MS = 1_000_000
_UNSURE_ATTEMPTS = 5


@dataclass(slots=True)
class Tally:
    """What became of records, by count.

    Attributes:
        delivered: Acknowledged and committed.
        set_aside: By reason.
        resent: Signals sent more than once to find refused ones.
        oldest_ms: The time of the oldest record that was new, in ms since the epoch.
    """

    delivered: int = 0
    set_aside: dict[Reason, int] = field(default_factory=dict)
    resent: int = 0
    oldest_ms: int | None = None

    def add(self, other: Tally) -> None:
        """Count another one in."""
        self.delivered += other.delivered
        self.resent += other.resent
        for reason, count in other.set_aside.items():
            self.set_aside[reason] = self.set_aside.get(reason, 0) + count

    @property
    def records(self) -> int:
        """All of them."""
        return self.delivered + sum(self.set_aside.values())


class BatchDelivery:
    """Resolves, maps, exports and commits batches of one project.

    Args:
        project: Its name.
        ledger: What is done.
        resolver: Finds identities.
        mapper: Makes spans and log records.
        exporter: Delivers them.
        clock: The time, for what waits.
        parent_wait_ms: How long a record may wait for its parent to be logged.
        measure: Takes a tool call's measurement when it is first delivered live; None for none.
        warn: Takes what a destination said beside its acknowledgement.
    """

    def __init__(  # noqa: PLR0913 - each is a room's one door
        self,
        project: str,
        *,
        ledger: Ledger,
        resolver: IdentityResolver,
        mapper: Mapper,
        exporter: Exporter,
        clock: Clock,
        parent_wait_ms: int,
        measure: Callable[[Measurement], None] | None,
        warn: Callable[[str], None],
    ) -> None:
        self._project = project
        self._ledger = ledger
        self._resolver = resolver
        self._mapper = mapper
        self._exporter = exporter
        self._clock = clock
        self._parent_wait_ms = parent_wait_ms
        self._measure = measure
        self._warn = warn

    def unmeasured(self) -> BatchDelivery:
        """The same without measurements: for a backfill, because metric backends refuse old points."""
        other = copy(self)
        other._measure = None  # noqa: SLF001 - its own kind
        return other

    async def deliver(
        self,
        fetched: Sequence[Detail | Failure],
        within: tuple[int, int],
        before: Mapping[str, SetAside],
    ) -> Tally:
        """Deliver one batch, and commit what was acknowledged and what is set aside in one transaction.

        Args:
            fetched: Details, and what could not be fetched.
            within: The bounds of the window in ms. The ledger keeps a record under a time inside them,
                whatever the record itself says, so that it is known for as long as its window is open.
            before: How records of a second try were set aside the last time.

        Raises:
            DestinationError: Part of the batch is not delivered; the window stays open for it.
            LedgerError: As the ledger.
        """
        batch = _Batch(within, before, self._clock.now_ms())
        for each in fetched:
            if isinstance(each, Failure):
                batch.set_aside(each.entry, each.reason, each.message)
        await self._identify([each for each in fetched if isinstance(each, Detail)], batch)
        outcome, error = await self._export(self._mapped(batch))
        for warning in outcome.warnings:
            self._warn(warning)
        for key, why in outcome.refused.items():
            batch.set_aside(batch.ready[key][0], Reason.REFUSED, why)
        delivered = [batch.delivered(key) for key in outcome.delivered]
        if delivered or batch.aside:
            await self._ledger.commit(self._project, delivered=delivered, set_aside=batch.aside)
        self._record(batch.ready[key][0] for key in outcome.delivered)
        if error is not None:
            raise error
        reasons = Counter(each.reason for each in batch.aside)
        return Tally(delivered=len(delivered), set_aside=dict(reasons), resent=outcome.resent)

    async def _identify(self, records: Sequence[Detail], batch: _Batch) -> None:
        """Find every record's identity; who must wait for its parent is set aside."""
        resolution = await self._resolver.resolve(records)
        for record in records:
            past = batch.before.get(record.id)
            top = resolution.orphans.get(record.id)
            if record.id in resolution.unsure and (past is None or past.attempts < _UNSURE_ATTEMPTS):
                message = f"its parent {record.parent_log_id} or an ancestor can't be fetched"
                batch.set_aside(record, Reason.SOURCE_FAILED, message)
            elif top is not None and self._may_wait(record, top, batch):
                message = f"the parent {top.parent_log_id} of {top.id} is not logged yet"
                batch.set_aside(record, Reason.WAITING_FOR_PARENT, message)
            else:
                batch.ready[record.id] = (record, resolution.identities[record.id])

    def _may_wait(self, record: Detail, top: Detail, batch: _Batch) -> bool:
        """Whether a record waits for the parent of its ancestor ``top``: all of a family for equally long."""
        past = batch.before.get(record.id)
        since_ms = batch.now_ms if past is None else past.since_ms
        age_ms = batch.now_ms - (
            batch.time_ms(record) if top.timestamp_ns is None else top.timestamp_ns // _NS_PER_MS
        )
        # A time of its own in the future must not make a record wait for ever.
        return max(age_ms, batch.now_ms - since_ms) < self._parent_wait_ms

    def _mapped(self, batch: _Batch) -> list[Delivery]:
        deliveries = []
        for record, identity in batch.ready.values():
            try:
                deliveries.append(self._mapper.delivery(record, identity))
            except Exception as error:  # noqa: BLE001 - one bad record must not cost its batch
                batch.set_aside(record, Reason.UNMAPPABLE, str(unforeseen(error)))
        return deliveries

    async def _export(self, deliveries: Sequence[Delivery]) -> tuple[Outcome, DestinationError | None]:
        """What became of the deliveries. What was acknowledged before a failure is delivered all the same."""
        if not deliveries:
            return Outcome(), None
        try:
            return await self._exporter.export(deliveries), None
        except DestinationError as error:
            return outcome_of(error), error

    def _record(self, records: Iterable[Detail]) -> None:
        if self._measure is None:
            return
        for record in records:
            measurement = self._mapper.measurement(record)
            if measurement is not None:
                self._measure(measurement)


@dataclass(slots=True)
class _Batch:
    """What is known of a batch while it is delivered."""

    within: tuple[int, int]
    before: Mapping[str, SetAside]
    now_ms: int
    ready: dict[str, tuple[Detail, Identity]] = field(default_factory=dict)
    aside: list[SetAside] = field(default_factory=list)

    def time_ms(self, entry: Entry) -> int:
        moment = entry.timestamp_ns
        from_ms, to_ms = self.within
        return from_ms if moment is None else min(max(moment // _NS_PER_MS, from_ms), to_ms)

    def set_aside(self, entry: Entry, reason: Reason, message: str) -> None:
        before = self.before.get(entry.id)
        self.aside.append(
            put_aside(
                entry.id,
                self.time_ms(entry),
                reason,
                message,
                now_ms=self.now_ms,
                before=before,
                tool_call=entry.is_tool_execution,
            )
        )

    def delivered(self, log_id: str) -> DeliveredRecord:
        record, identity = self.ready[log_id]
        # Only a member of a loop lacks a parent span although it names a parent.
        looping = identity.parent_missing and identity.parent_span_id is None
        return DeliveredRecord(
            log_id=log_id,
            time_ms=self.time_ms(record),
            trace_id=identity.trace_id,
            span_id=identity.span_id,
            parent_span_id=identity.parent_span_id,
            depth=LOOP_DEPTH if looping else identity.depth,
            tool_call=record.is_tool_execution,
        )
