"""The loop of one project.

Contract: ``run`` ends soon after the stop event is set, with the batch in hand committed; ``run_once`` ends
by itself. An error of the source or a destination ends neither the loop nor a record: the window stays open
and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_bridge.errors import (
    BridgeError,
    DestinationRefused,
    DestinationUnavailable,
    SourceBusy,
    SourceRefused,
    SourceUnreachable,
    unforeseen,
)
from otel_bridge.ledger import Lane
from otel_bridge.retry import Backoff
from otel_bridge.service.claims import Claims
from otel_bridge.service.collection import Collection, Stopped
from otel_bridge.service.crowd import Crowd
from otel_bridge.service.daily_check import DailyCheck
from otel_bridge.service.delivery import Tally
from otel_bridge.service.lanes import Backfill, Head, Rechecks, SecondTries
from otel_bridge.service.logs import event
from otel_bridge.service.observer import NOBODY, Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_bridge.ledger import Ledger
    from otel_bridge.service.delivery import BatchDelivery
    from otel_bridge.service.source import ProjectSource
    from otel_bridge.telemetry.tracing import Spans
    from otel_bridge.times import Clock

_PRUNE_EVERY_MS = 10 * 60_000
_REFUSED_WAIT_S = 60.0
_RENEWED_WAIT_S = 5.0
_EDGE_MS = 1_000
_SHORTEST_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a project's loop needs to know; times in ms.

    Attributes:
        start: Reads where a new ledger begins, given the present.
    """

    project: str
    start: Callable[[int], int]
    poll_interval_ms: int
    recheck_ages_ms: tuple[int, ...]
    keep_ms: int
    verify_every_ms: int = 0


class ProjectWorker:
    """Collects one project.

    Args:
        options: See there.
        source: The project's side of the source.
        delivery: Where batches go.
        ledger: What is done.
        clock: The time.
        stop: Set when the service stops.
        backoff: How long to wait after a failed pass.
        observer: Hears what is done.
        spans: Makes the bridge's own spans.
        crowd: Of all passes in this process; None where it is alone.
    """

    def __init__(  # noqa: PLR0913 - the rooms
        self,
        options: WorkerOptions,
        *,
        source: ProjectSource,
        delivery: BatchDelivery,
        ledger: Ledger,
        clock: Clock,
        stop: asyncio.Event,
        backoff: Backoff | None = None,
        observer: Observer = NOBODY,
        spans: Spans | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self._options = options
        self._ledger = ledger
        self._clock = clock
        self._stop = stop
        self._observer = observer
        self._backoff = backoff or Backoff(first_s=1.0, most_s=60.0, attempts=None)
        claims, crowd = Claims(), crowd or Crowd()
        live, past = (
            Collection(
                options.project,
                source=source,
                delivery=each,
                ledger=ledger,
                clock=clock,
                recheck_ages_ms=options.recheck_ages_ms,
                claims=claims,
                stop=stop,
                observer=observer,
                spans=spans,
                crowd=crowd,
            )
            for each in (delivery, delivery.unmeasured())
        )
        self._live = live
        self._collections = (live, past)
        self.hand = delivery.hand
        self._head = Head(live, options.start)
        self._rechecks = Rechecks(live, Lane.LIVE)
        self._second_tries = SecondTries(live)
        self._backfill = Backfill(past)
        self._backfill_rechecks = Rechecks(past, Lane.BACKFILL)
        self._daily_check = DailyCheck(past, options.verify_every_ms)
        self._pruned_ms: int | None = None

    @property
    def project(self) -> str:
        """The project's name."""
        return self._options.project

    @property
    def past(self) -> Collection:
        """Passes over past time, which make no measurements."""
        return self._collections[1]

    @property
    def tally(self) -> Tally:
        """What became of records so far."""
        total = Tally()
        for collection in self._collections:
            total.add(collection.tally)
        return total

    async def run(self) -> None:
        """Collect until the stop event is set. What happens now waits for nothing that happened before."""
        await asyncio.gather(*(self._until_stopped(step) for step in self.steps.values()))

    @property
    def steps(self) -> dict[str, Callable[[], Awaitable[bool]]]:
        """What there is to do, by name and the most urgent first, each as a step that says if there is more.

        For whoever shares the work out; ``run`` makes them all.
        """
        return {
            "head": self._head_step,
            "recheck": self._recheck_step,
            "backfill": self._backfill_step,
            "verify": self._daily_check.step,
        }

    async def run_once(self) -> Tally:
        """Collect everything up to the present, and every re-check that is due.

        Raises:
            BridgeError: The source or a destination did not do its part; what was committed stays.
        """
        until_ms = self._live.now_ms()
        return await self._to_the_end(lambda: self._once_step(until_ms))

    async def run_backfill(self, on_step: Callable[[], Awaitable[None]]) -> Tally:
        """Collect what is planned in the backfill lane, and nothing else.

        Args:
            on_step: Called after each part.

        Raises:
            BridgeError: As ``run_once``.
        """

        async def step() -> bool:
            more = await self._backfill.step()
            await on_step()
            return more

        return await self._to_the_end(step)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────
    async def _head_step(self) -> bool:
        await self._live.batches.settle()
        more = await self._head.step(self._live.now_ms())
        # An idle backfill must not clear the error that a person should see, so only this lane says so.
        await self._ledger.note_success(self.project, self._clock.now_ms())
        if not more:
            self._observer.polled(self.project, self._clock.now_ms())
        return more

    async def _recheck_step(self) -> bool:
        await self._live.batches.settle()
        more = await self._rechecks.step(self._live.now_ms(), patient=True)
        await self._second_tries.step()
        await self._prune()
        return more

    async def _backfill_step(self) -> bool:
        await self.past.batches.settle()
        more = await self._backfill.step()
        rechecked = await self._backfill_rechecks.step(self.past.now_ms(), patient=True)
        return more or rechecked

    async def _once_step(self, until_ms: int) -> bool:
        headed = await self._head.step(until_ms)
        rechecked = await self._rechecks.step(until_ms, patient=False)
        again = await self._backfill_rechecks.step(until_ms, patient=False)
        await self._second_tries.step()
        await self._prune()
        return headed or rechecked or again

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────
    async def _until_stopped(self, step: Callable[[], Awaitable[bool]]) -> None:
        failures = 0
        while not self._stop.is_set():
            started_s = self._clock.monotonic_s()
            try:
                more = await step()
            except Stopped:
                return
            except BridgeError as error:
                failures += 1
                await self._failed(error, failures)
                continue
            except Exception as error:  # noqa: BLE001 - one project's surprise must not end the service
                failures += 1
                await self._failed(unforeseen(error), failures)
                continue
            failures = 0
            if not more:
                spent_s = self._clock.monotonic_s() - started_s
                await self._pause(max(0.0, self._options.poll_interval_ms / 1000 - spent_s))

    async def _to_the_end(self, step: Callable[[], Awaitable[bool]]) -> Tally:
        try:
            while await step():
                pass
            while await self._second_tries.waiting() and not self._stop.is_set():
                await self._pause(1.0)
                await self._second_tries.step()
        except Stopped:
            return self.tally
        except BridgeError as error:
            await self._note(error)
            raise
        await self._ledger.note_success(self.project, self._clock.now_ms())
        self._observer.polled(self.project, self._clock.now_ms())
        return self.tally

    async def _prune(self) -> None:
        now_ms = self._clock.now_ms()
        if self._pruned_ms is None or abs(now_ms - self._pruned_ms) >= _PRUNE_EVERY_MS:
            self._pruned_ms = now_ms
            # The next new window lists the watermark's millisecond again, and one that was interrupted has
            # delivered beyond it: of neither may an id be forgotten, however old it is.
            watermark_ms = await self._ledger.watermark_ms(self.project, Lane.LIVE)
            if watermark_ms is not None:
                before_ms = min(now_ms - self._options.keep_ms, watermark_ms - _EDGE_MS)
                await self._ledger.prune(self.project, before_ms, now_ms)

    async def _failed(self, error: BridgeError, failures: int) -> None:
        await self._pause(await self.failed(error, failures))

    async def failed(self, error: BridgeError, failures: int) -> float:
        """Note and log that a step failed.

        Args:
            error: Why.
            failures: How often in a row, this time included.

        Returns:
            Seconds to wait before the next try.
        """
        await self._note(error)
        asked = error.retry_after_s if isinstance(error, (SourceBusy, DestinationUnavailable)) else None
        wait_s = self._backoff.wait_s(failures, asked) or 0
        if isinstance(error, SourceRefused):
            # A person has to change something; asking more often would only cost budget.
            wait_s = _REFUSED_WAIT_S
        if isinstance(error, (SourceRefused, DestinationRefused)) and error.key_may_change:
            wait_s = min(wait_s, _RENEWED_WAIT_S)
        level = logging.ERROR if failures == 1 else logging.WARNING
        if isinstance(error, SourceUnreachable) and error.retry_after_s is not None:
            # Its circuit is open: that has told so, once for all projects, and alone says when to come back.
            wait_s = max(error.retry_after_s, _SHORTEST_WAIT_S)
            level = logging.DEBUG
        event(
            level,
            "pass_failed",
            f"{self.project}: {error}",
            project=self.project,
            failures=failures,
            retry_in_s=round(wait_s, 1),
        )
        return wait_s

    async def _note(self, error: BridgeError) -> None:
        self._observer.poll_failed(self.project, error, self._clock.now_ms())
        try:
            await self._ledger.note_error(self.project, str(error), self._clock.now_ms())
        except BridgeError as second:
            event(logging.ERROR, "ledger_failed", str(second), project=self.project)

    async def _pause(self, seconds: float) -> None:
        """Sleep, or return as soon as the service stops."""
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        stopping = asyncio.create_task(self._stop.wait())
        _, pending = await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
