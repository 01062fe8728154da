"""A stream of details into batches, each delivered and committed before the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import DestinationError, SourceFailed
from otel_bridge.ledger import Reason
from otel_bridge.receiver.models import Detail
from otel_bridge.service.delivery import Tally
from otel_bridge.service.detail_stream import DetailStream, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from otel_bridge.ledger import Ledger, SetAside
    from otel_bridge.service.claims import Claims
    from otel_bridge.service.crowd import Crowd
    from otel_bridge.service.delivery import BatchDelivery
    from otel_bridge.telemetry.tracing import Spans
    from otel_bridge.times import Clock

BATCH_RECORDS: Final = 256
BATCH_BYTES: Final = 8_000_000
"""A batch with so much of bodies is full: what it becomes is held until it is acknowledged."""
FIRST_BATCH_RECORDS: Final = 32
"""A batch is what a kill may make go out again. A process that has just begun, or whose destination has just
failed, is the likeliest to be killed: it starts small and doubles with each batch that is delivered.
"""

PATIENCE_S: Final = 1.0
"""What has come goes out after so long, although the batch is not full: the next may wait for the budget."""
_SOURCE_DOWN: Final = 8
"""So many details that fail together are the source's fault, and not theirs."""


class Batches:
    """Delivers one project's records, for one of its lanes.

    Args:
        project: Its name.
        delivery: Where batches go.
        ledger: What is done.
        spans: Makes the bridge's own spans.
        claims: What is being delivered now, shared by the project's lanes.
        leave: Called between batches; raises where the service stops.
        crowd: Of all passes in this process: the more, the smaller the batches.
        clock: The time.
    """

    def __init__(  # noqa: PLR0913 - the rooms
        self,
        project: str,
        *,
        delivery: BatchDelivery,
        ledger: Ledger,
        spans: Spans,
        claims: Claims,
        leave: Callable[[], None],
        crowd: Crowd,
        clock: Clock,
    ) -> None:
        self._project = project
        self._delivery = delivery
        self._ledger = ledger
        self._spans = spans
        self._claims = claims
        self._leave = leave
        self._crowd = crowd
        self._clock = clock
        self._most = FIRST_BATCH_RECORDS
        self._settling = asyncio.Lock()
        self._in_hand: tuple[list[Detail | Failure], tuple[int, int]] | None = None
        self.tally = Tally()

    async def deliver(
        self,
        details: DetailStream,
        within: tuple[int, int],
        tally: Tally,
        before: Mapping[str, SetAside],
        leave_out: AbstractSet[str] = frozenset(),
    ) -> None:
        """Deliver a stream to its end; counts into ``tally``.

        Args:
            details: Open, and read by nobody else.
            within: The bounds of the window in ms since the epoch.
            tally: What became of the records is added to it.
            before: How records of a second try were set aside the last time.
            leave_out: Ids that are somebody else's by now.

        Raises:
            Stopped: The service stops; the batch in hand is committed.
            BridgeError: The source or a destination did not do its part; what was acknowledged is committed.
        """
        while batch := await self._next(details):
            if leave_out:
                batch = [each for each in batch if _id_of(each) not in leave_out]
            if batch:
                await self._deliver(batch, within, tally, before)

    async def _next(self, details: DetailStream) -> list[Detail | Failure]:
        """As many details as a batch has, or what is left of them."""
        with self._spans.span("details") as span:
            most = self._crowd.batch(min(self._most, BATCH_RECORDS))
            batch = await details.take(most, BATCH_BYTES, lambda: self._clock.sleep(PATIENCE_S))
            span.set_attribute("otel_bridge.records", len(batch))
        return batch

    async def _deliver(
        self,
        batch: list[Detail | Failure],
        within: tuple[int, int],
        tally: Tally,
        before: Mapping[str, SetAside],
    ) -> None:
        if not before:  # what was set aside before has shown that it is its own fault
            raise_if_source_is_down(batch)
        try:
            delivered = await self._delivery.deliver(batch, within, before)
        except DestinationError:
            self._in_hand = (batch, within)
            self._most = FIRST_BATCH_RECORDS
            raise
        if len(batch) == self._most:
            self._most = min(2 * self._most, BATCH_RECORDS)
        tally.add(delivered)
        self.tally.add(delivered)
        self._leave()

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
            # What another lane holds it delivers, or its window stays open.
            ids = {log_id for each in batch if (log_id := _id_of(each)) not in self._claims}
            with self._claims.held(ids):
                unknown = ids - await self._ledger.known(self._project, ids)
                rest = [each for each in batch if _id_of(each) in unknown]
                if rest:
                    self.tally.add(await self._delivery.deliver(rest, within, {}))
            self._in_hand = None


def raise_if_source_is_down(batch: Sequence[Detail | Failure]) -> None:
    """End a pass whose details all fail: that is not these records' fault, and none of them is set aside.

    Raises:
        SourceFailed: As the first of them failed.
    """
    down = [each for each in batch if isinstance(each, Failure) and each.reason is Reason.SOURCE_FAILED]
    if len(down) == len(batch) >= _SOURCE_DOWN:
        raise SourceFailed(down[0].message)


def _id_of(fetched: Detail | Failure) -> str:
    return fetched.id if isinstance(fetched, Detail) else fetched.entry.id
