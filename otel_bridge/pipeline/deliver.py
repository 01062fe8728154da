"""One batch: identities, mapping, export, commit."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import DestinationError, LedgerError, unforeseen
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.ledger import DeliveredRecord, Lane, Reason, SetAside
from otel_bridge.mapping.identity import Rule
from otel_bridge.pipeline.blocked import noting
from otel_bridge.pipeline.identities import LOOP_DEPTH, IdentityResolver
from otel_bridge.pipeline.setting_aside import MOST_TRIES, put_aside
from otel_bridge.pipeline.source import Failure
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_bridge.ledger import Window
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.mapper import Mapper
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.identities import Resolution
    from otel_bridge.pipeline.list import Work
    from otel_bridge.pipeline.source import Fetched
    from otel_bridge.receiver.models import Detail, Entry

_NS_PER_MS: Final = 1_000_000
_UNSURE_ATTEMPTS: Final = 5
_STRETCH_RECORDS: Final = 16

USUAL_CORRELATION_WAIT_MS: Final = 5_000
_IN_USE_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class CorrelationWait:
    """How long a record waits for its application to say where it belongs, counted from its time.

    Attributes:
        wait_ms: In ms, for every record; None for 5 s where a correlation was of use to the project, or came
            too late for it, in the last 24 h, and for nothing elsewhere.
    """

    wait_ms: int | None = None

    def for_project(self, correlated_ms: int | None, now_ms: int) -> int:
        """The wait in ms.

        Args:
            correlated_ms: When a correlation was last of use to the project; None where that never was.
            now_ms: The time.
        """
        if self.wait_ms is not None:
            return self.wait_ms
        in_use = correlated_ms is not None and now_ms - correlated_ms < _IN_USE_MS
        return USUAL_CORRELATION_WAIT_MS if in_use else 0


class InProgress:
    """Counts a project's batches between the first byte to a destination and their commit.

    To leave in between would deliver them again; everything else a pipeline does can be left at any moment.
    """

    def __init__(self) -> None:
        self._batches = 0

    @property
    def empty(self) -> bool:
        """Whether nothing would be delivered again if the process ended now."""
        return not self._batches

    @contextmanager
    def batch(self) -> Iterator[None]:
        """A batch is in progress for as long as the block runs."""
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a record may wait for what is not there yet.

    Attributes:
        parent_ms: For its parent to be logged, in ms, counted from the record's time.
        correlation: For its application to say where it belongs.
    """

    parent_ms: int
    correlation: CorrelationWait = CorrelationWait()


class Deliverer:
    """Resolves, maps, exports and commits the batches of one project.

    Args:
        context: The project's.
        resolver: Finds identities.
        mapper: Makes spans and log records.
        exporter: Delivers them.
        waits: How long records may wait.
        measure: Takes a tool call's measurement when it is first delivered live; None for none.
        warn: Takes what a destination said beside its acknowledgement.
    """

    def __init__(  # noqa: PLR0913 - the steps, each with what it needs
        self,
        context: ProjectContext,
        *,
        resolver: IdentityResolver,
        mapper: Mapper,
        exporter: Exporter,
        waits: Waits,
        measure: Callable[[Measurement], None] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._context = context
        self._resolver = resolver
        self._mapper = mapper
        self._exporter = exporter
        self._waits = waits
        self._measure = measure
        self._warn = warn
        self._lane = Lane.LIVE
        self.in_progress = InProgress()
        """What a stop waits for; one for both of a project's deliverers."""

    def for_past_time(self) -> Deliverer:
        """The same without measurements: metric backends refuse old points."""
        other = copy(self)
        other._measure = None  # noqa: SLF001 - its own kind
        other._lane = Lane.BACKFILL  # noqa: SLF001 - as above
        return other

    async def deliver(self, fetched: Sequence[Fetched], work: Work, window: Window | None = None) -> None:
        """Deliver one batch; commit what was acknowledged and what is set aside in one transaction.

        Args:
            fetched: Details, and what could not be fetched.
            work: Whose records they are; its tally and the project's count them.
            window: Committed in the same transaction where these are the last records of the work.

        Raises:
            DestinationError: Part of the batch is not delivered, and ``window`` is not committed.
            LedgerError: As the ledger. Nothing is committed.
        """
        batch = _Batch(work, self._context.clock.now_ms())
        records: list[Detail] = []
        for each in fetched:
            if isinstance(each, Failure):
                batch.set_aside(each.entry, each.reason, str(each.error), tries=each.tries)
            else:
                records.append(each)
        if records:
            await self._identify(records, batch)
        with self.in_progress.batch():
            mapped = await self._mapped(batch)
            outcome, error = await self._export(mapped)
            for warning in outcome.warnings:
                self._warn(warning)
            for key, why in outcome.refused.items():
                doubtful = key in outcome.doubtful
                batch.set_aside(batch.ready[key][0], Reason.REFUSED, why, doubtful=doubtful)
            await self._commit(batch, outcome, None if error is not None else window)
        self._tell(batch, mapped, outcome, error)
        if error is not None:
            raise error

    async def _commit(self, batch: _Batch, outcome: Outcome, window: Window | None) -> None:
        """Commit what was acknowledged, what is set aside, and the window; count it once that is done."""
        context = self._context
        delivered = [batch.delivered(key) for key in outcome.delivered]
        if delivered or batch.aside or window is not None:
            with context.spans.span("commit"):
                commit = partial(
                    context.ledger.commit, context.project, delivered=delivered, set_aside=batch.aside
                )
                try:
                    await commit(window=window, replaces=() if window is None else batch.work.replaces)
                except LedgerError:
                    # A window that was planned anew meanwhile must not cost the records that are delivered.
                    if window is not None and (delivered or batch.aside):
                        await commit()
                    raise
        reasons = Counter(each.reason for each in batch.aside)
        for tally in (batch.work.tally, context.tally):
            tally.count(len(delivered), dict(reasons))
        if self._measure is not None:
            for key in outcome.delivered:
                if key in batch.measured:
                    self._measure(batch.measured[key])

    async def _identify(self, records: Sequence[Detail], batch: _Batch) -> None:
        """Find every record's identity; those that must wait for a parent or an application are set aside."""
        resolution = await self._resolver.resolve(records, batch.now_ms)
        ready: list[Detail] = []
        for record in records:
            past = batch.work.before.get(record.id)
            top = resolution.orphans.get(record.id)
            if record.id in resolution.unsure and (past is None or past.attempts < _UNSURE_ATTEMPTS):
                message = f"its parent {record.parent_log_id} or an ancestor can't be fetched"
                batch.set_aside(record, Reason.SOURCE_FAILED, message)
            elif top is not None and self._may_wait(record, top, batch, self._waits.parent_ms):
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
        wait_ms = self._waits.correlation.for_project(resolution.correlated_ms, batch.now_ms)
        return self._may_wait(record, decider, batch, wait_ms)

    def _may_wait(self, record: Detail, top: Detail, batch: _Batch, wait_ms: int) -> bool:
        """Whether a record waits for what its ancestor ``top`` lacks: all of a family for equally long."""
        past = batch.work.before.get(record.id)
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
                # A batch takes tens of ms: the endpoints are answered in between.
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
            with self._context.spans.span("deliver", records=len(deliveries)):
                context = self._context
                async with noting(context.project, context.ledger, context.clock, self._exporter):
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
        now_ms = self._context.clock.now_ms()
        keys = set(outcome.delivered)
        if keys:
            delivered = [each for each in mapped if each.key in keys]
            self._context.observer.delivered(self._context.project, self._lane, delivered, now_ms)
        placed = sum(batch.ready[key][1].rule is Rule.CORRELATION for key in keys)
        if placed:
            self._context.observer.correlations(self._context.project, "used", placed)
        if batch.aside:
            self._context.observer.set_aside(self._context.project, batch.aside)
        if outcome.resent:
            self._context.observer.resent(self._context.project, outcome.resent)
        if error is not None:
            self._context.observer.delivery_failed(self._context.project, error, now_ms)


@dataclass(slots=True)
class _Batch:
    """What is known of a batch while it is delivered."""

    work: Work
    now_ms: int
    ready: dict[str, tuple[Detail, Identity]] = field(default_factory=dict)
    measured: dict[str, Measurement] = field(default_factory=dict)
    aside: list[SetAside] = field(default_factory=list)

    def time_ms(self, entry: Entry) -> int:
        """Kept inside the bounds of the work, so that a record is known for as long as its window is open."""
        moment = entry.timestamp_ns
        from_ms, to_ms = self.work.within
        if moment is None:
            before = self.work.before.get(entry.id)  # a second try may have nothing but the id
            return from_ms if before is None else before.time_ms
        return min(max(moment // _NS_PER_MS, from_ms), to_ms)

    def set_aside(
        self,
        entry: Entry,
        reason: Reason,
        message: str,
        *,
        tries: int = MOST_TRIES,
        doubtful: bool = False,
    ) -> None:
        before = self.work.before.get(entry.id)
        self.aside.append(
            put_aside(
                entry.id,
                self.time_ms(entry),
                reason,
                message,
                now_ms=self.now_ms,
                before=before,
                tool_call=entry.is_tool_execution,
                tries=tries,
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
