"""One batch from details to acknowledged, committed records."""

from __future__ import annotations

import asyncio
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import DestinationError, unforeseen
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.ledger import DeliveredRecord, Lane, Ledger, Reason, SetAside
from otel_bridge.mapping.identity import Rule
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.service.correlations import CorrelationWait
from otel_bridge.service.detail_stream import Failure
from otel_bridge.service.held_up import noting
from otel_bridge.service.identities import LOOP_DEPTH, IdentityResolver
from otel_bridge.service.observer import NOBODY, Observer
from otel_bridge.service.setting_aside import put_aside
from otel_bridge.service.stopping import Hand
from otel_bridge.signals import Delivery, Outcome
from otel_bridge.telemetry.tracing import Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.mapper import Mapper
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.service.identities import Resolution
    from otel_bridge.times import Clock

_NS_PER_MS = 1_000_000
_UNSURE_ATTEMPTS = 5
_STRETCH_RECORDS = 16


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
        correlation_wait: How long a record may wait for its application to say where it belongs.
        measure: Takes a tool call's measurement when it is first delivered live; None for none.
        warn: Takes what a destination said beside its acknowledgement.
        observer: Hears what became of records.
        spans: Makes the bridge's own spans.
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
        correlation_wait: CorrelationWait = CorrelationWait(),  # noqa: B008 - frozen
        measure: Callable[[Measurement], None] | None,
        warn: Callable[[str], None],
        observer: Observer = NOBODY,
        spans: Spans | None = None,
    ) -> None:
        self._project = project
        self._ledger = ledger
        self._resolver = resolver
        self._mapper = mapper
        self._exporter = exporter
        self._clock = clock
        self._parent_wait_ms = parent_wait_ms
        self._correlation_wait = correlation_wait
        self._measure = measure
        self._warn = warn
        self._observer = observer
        self._spans = spans or Spans()
        self._lane = Lane.LIVE
        self.hand = Hand()
        """What a stop waits for; one for both of a project's deliveries."""

    def unmeasured(self) -> BatchDelivery:
        """The same without measurements: for a backfill, because metric backends refuse old points."""
        other = copy(self)
        other._measure = None  # noqa: SLF001 - its own kind
        other._lane = Lane.BACKFILL  # noqa: SLF001 - as above
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
        with self.hand.holding():
            mapped = await self._mapped(batch)
            outcome, error = await self._export(mapped)
            for warning in outcome.warnings:
                self._warn(warning)
            for key, why in outcome.refused.items():
                batch.set_aside(batch.ready[key][0], Reason.REFUSED, why, doubtful=key in outcome.doubtful)
            delivered = [batch.delivered(key) for key in outcome.delivered]
            if delivered or batch.aside:
                with self._spans.span("commit"):
                    await self._ledger.commit(self._project, delivered=delivered, set_aside=batch.aside)
        self._record(batch.measured[key] for key in outcome.delivered if key in batch.measured)
        self._tell(batch, mapped, outcome, error)
        if error is not None:
            raise error
        reasons = Counter(each.reason for each in batch.aside)
        return Tally(delivered=len(delivered), set_aside=dict(reasons), resent=outcome.resent)

    async def _identify(self, records: Sequence[Detail], batch: _Batch) -> None:
        """Find every record's identity; who must wait for its parent or its application is set aside."""
        resolution = await self._resolver.resolve(records, batch.now_ms)
        ready: list[Detail] = []
        for record in records:
            past = batch.before.get(record.id)
            top = resolution.orphans.get(record.id)
            if record.id in resolution.unsure and (past is None or past.attempts < _UNSURE_ATTEMPTS):
                message = f"its parent {record.parent_log_id} or an ancestor can't be fetched"
                batch.set_aside(record, Reason.SOURCE_FAILED, message)
            elif top is not None and self._may_wait(record, top, batch, self._parent_wait_ms):
                message = f"the parent {top.parent_log_id} of {top.id} is not logged yet"
                batch.set_aside(record, Reason.WAITING_FOR_PARENT, message)
            elif self._may_be_placed(record, resolution, batch):
                message = "its application may still say where it belongs"
                batch.set_aside(record, Reason.WAITING_FOR_CORRELATION, message)
            else:
                ready.append(record)
        # Nothing that comes later changes what goes out from here on.
        identities = await self._resolver.settle(resolution, [each.id for each in ready], batch.now_ms)
        batch.ready = {each.id: (each, identities[each.id]) for each in ready}

    def _may_be_placed(self, record: Detail, resolution: Resolution, batch: _Batch) -> bool:
        """Whether a record waits for a correlation, where its project has use for them."""
        decider = resolution.unplaced.get(record.id)
        if decider is None:
            return False
        wait_ms = self._correlation_wait.for_project(resolution.correlated_ms, batch.now_ms)
        return self._may_wait(record, decider, batch, wait_ms)

    def _may_wait(self, record: Detail, top: Detail, batch: _Batch, wait_ms: int) -> bool:
        """Whether a record waits for what its ancestor ``top`` lacks: all of a family for equally long."""
        past = batch.before.get(record.id)
        since_ms = batch.now_ms if past is None else past.since_ms
        age_ms = batch.now_ms - (
            batch.time_ms(record) if top.timestamp_ns is None else top.timestamp_ns // _NS_PER_MS
        )
        # A time of its own in the future must not make a record wait for ever.
        return max(age_ms, batch.now_ms - since_ms) < wait_ms

    async def _mapped(self, batch: _Batch) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for number, (record, identity) in enumerate(list(batch.ready.values()), 1):
            if not number % _STRETCH_RECORDS:
                # A batch takes tens of ms: whoever asks the endpoints does not wait for all of it.
                await asyncio.sleep(0)
            try:
                delivery = self._mapper.delivery(record, identity)
                # Measured now: what the mapper has just read of the record is still at hand.
                measurement = None if self._measure is None else self._mapper.measurement(record)
            except Exception as error:  # noqa: BLE001 - one bad record must not cost its batch
                batch.set_aside(record, Reason.UNMAPPABLE, str(unforeseen(error)))
                continue
            deliveries.append(delivery)
            if measurement is not None:
                batch.measured[record.id] = measurement
        return deliveries

    async def _export(self, deliveries: Sequence[Delivery]) -> tuple[Outcome, DestinationError | None]:
        """What became of the deliveries. What was acknowledged before a failure is delivered all the same."""
        if not deliveries:
            return Outcome(), None
        try:
            with self._spans.span("deliver", records=len(deliveries)):
                async with noting(self._project, self._ledger, self._clock, self._exporter):
                    return await self._exporter.export(deliveries), None
        except DestinationError as error:
            return outcome_of(error), error

    def _tell(
        self,
        batch: _Batch,
        mapped: Sequence[Delivery],
        outcome: Outcome,
        error: DestinationError | None,
    ) -> None:
        """Tell the observer what became of the batch."""
        now_ms = self._clock.now_ms()
        keys = set(outcome.delivered)
        if keys:
            delivered = [each for each in mapped if each.key in keys]
            self._observer.delivered(self._project, self._lane, delivered, now_ms)
        placed = sum(batch.ready[key][1].rule is Rule.CORRELATION for key in keys)
        if placed:
            self._observer.correlations(self._project, "used", placed)
        if batch.aside:
            self._observer.set_aside(self._project, batch.aside)
        if outcome.resent:
            self._observer.resent(self._project, outcome.resent)
        if error is not None:
            self._observer.delivery_failed(self._project, error, now_ms)

    def _record(self, measurements: Iterable[Measurement]) -> None:
        if self._measure is not None:
            for measurement in measurements:
                self._measure(measurement)


@dataclass(slots=True)
class _Batch:
    """What is known of a batch while it is delivered."""

    within: tuple[int, int]
    before: Mapping[str, SetAside]
    now_ms: int
    ready: dict[str, tuple[Detail, Identity]] = field(default_factory=dict)
    measured: dict[str, Measurement] = field(default_factory=dict)
    aside: list[SetAside] = field(default_factory=list)

    def time_ms(self, entry: Entry) -> int:
        moment = entry.timestamp_ns
        from_ms, to_ms = self.within
        return from_ms if moment is None else min(max(moment // _NS_PER_MS, from_ms), to_ms)

    def set_aside(self, entry: Entry, reason: Reason, message: str, *, doubtful: bool = False) -> None:
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
                doubtful=doubtful,
            )
        )

    def delivered(self, log_id: str) -> DeliveredRecord:
        record, identity = self.ready[log_id]
        return DeliveredRecord(
            log_id=log_id,
            time_ms=self.time_ms(record),
            trace_id=identity.trace_id,
            span_id=identity.span_id,
            parent_span_id=identity.parent_span_id,
            depth=LOOP_DEPTH if identity.looping else identity.depth,
            tool_call=record.is_tool_execution,
            sampled=identity.sampled,
        )
