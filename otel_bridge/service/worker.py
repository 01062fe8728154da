"""The loops of one project: a pipeline for each lane, started again after what ends it.

Contract: ``run`` ends soon after the stop event is set, with the batch in progress committed; ``run_once``
ends by itself. An error of the source or the ledger ends neither a loop nor a record: the window stays open
and is collected again. A destination's error ends not even the pipeline.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

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
from otel_bridge.pipeline.context import Stopped
from otel_bridge.pipeline.lanes import Backfill, Live, rechecks, second_tries
from otel_bridge.pipeline.pipeline import Pipeline, pause
from otel_bridge.retry import Backoff
from otel_bridge.service.daily_check import DailyCheck
from otel_bridge.telemetry.events import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_bridge.pipeline.context import ProjectContext, Tally
    from otel_bridge.pipeline.deliver import Deliverer, InProgress
    from otel_bridge.pipeline.list import Work
    from otel_bridge.pipeline.polling import PollInterval

    Step = Callable[[asyncio.Event | None], Awaitable[None]]
    """Does what there is to do of a part; once the event is set, it only finishes what it has begun."""

_PRUNE_EVERY_MS: Final = 10 * 60_000
_REFUSED_WAIT_S: Final = 60.0
_RENEWED_WAIT_S: Final = 5.0
_EDGE_MS: Final = 1_000
_SHORTEST_WAIT_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a project's loops need to know; times in ms.

    Attributes:
        start: Reads where a new ledger begins, given the present.
        interval: How often new records are looked for.
        backoff: How long to wait after a failure.
    """

    start: Callable[[int], int]
    interval: PollInterval
    recheck_ages_ms: tuple[int, ...]
    keep_ms: int
    verify_every_ms: int = 0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, most_s=60.0, attempts=None))


class ProjectWorker:
    """Collects one project.

    Args:
        context: The project's.
        deliverer: Delivers batches.
        options: See there.
    """

    def __init__(self, context: ProjectContext, deliverer: Deliverer, options: WorkerOptions) -> None:
        self._context = context
        self._options = options
        self._deliverer = deliverer
        self._past_deliverer = deliverer.for_past_time()
        # A lane has a pipeline of its own, so that none waits for another one.
        self._head_pipeline = self._pipeline(deliverer)
        self._recheck_pipeline = self._pipeline(deliverer)
        self._past_pipeline = self._pipeline(self._past_deliverer)
        self._live = Live(context, options.start, max(options.recheck_ages_ms, default=0))
        self._backfill = Backfill(context)
        self._daily_check = DailyCheck(context, self.once_pipeline(), options.verify_every_ms)
        self._pruned_ms: int | None = None

    @property
    def context(self) -> ProjectContext:
        """The project's."""
        return self._context

    @property
    def project(self) -> str:
        """The project's name."""
        return self._context.project

    @property
    def interval(self) -> PollInterval:
        """How often new records are looked for."""
        return self._options.interval

    @property
    def in_progress(self) -> InProgress:
        """What a stop waits for."""
        return self._deliverer.in_progress

    @property
    def tally(self) -> Tally:
        """What became of records so far."""
        return self._context.tally

    def once_pipeline(self) -> Pipeline:
        """A pipeline over past time, which makes no measurements, and ends when a destination fails."""
        return Pipeline(self._context, self._past_deliverer, self._options.recheck_ages_ms)

    async def run(self) -> None:
        """Collect until the stop event is set. What happens now waits for nothing that happened before."""
        idle_s = self._options.interval.idle_s
        await asyncio.gather(
            self._until_stopped(self._poll_on, 0.0),
            *(self._until_stopped(step, idle_s) for name, step in self.steps.items() if name != "head"),
        )

    @property
    def steps(self) -> dict[str, Step]:
        """What there is to do, by name and the most urgent first, for replicas that share it out."""
        return {
            "head": self._head,
            "recheck": self._recheck,
            "backfill": self._collect_past,
            "verify": self._verify,
        }

    async def run_once(self) -> Tally:
        """Collect everything up to the present, every re-check that is due, and try what was set aside.

        Raises:
            BridgeError: The source or a destination did not do its part; what was committed stays.
        """
        context = self._context
        until_ms = context.now_ms()

        async def collect() -> None:
            live = self._pipeline(self._deliverer, patient=False)
            past = self._pipeline(self._past_deliverer, patient=False)
            await live.run(self._live.works(until_ms=until_ms))
            await live.run(rechecks(context, Lane.LIVE, now_ms=until_ms, patient=False))
            await past.run(rechecks(context, Lane.BACKFILL, now_ms=until_ms, patient=False))
            await self._try_again(live)

        return await self._to_the_end(collect)

    async def run_backfill(self, on_part: Callable[[], Awaitable[None]]) -> Tally:
        """Collect what is planned in the backfill lane, and nothing else.

        Args:
            on_part: Called after each part.

        Raises:
            BridgeError: As ``run_once``.
        """

        async def done(_: Work) -> None:
            await on_part()

        async def collect() -> None:
            pipeline = Pipeline(
                self._context, self._past_deliverer, self._options.recheck_ages_ms, on_done=done
            )
            await pipeline.run(self._backfill.works())
            await on_part()

        return await self._to_the_end(collect)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────
    def _pipeline(self, deliverer: Deliverer, *, patient: bool = True) -> Pipeline:
        """A pipeline of the live lane, or of past time; a patient one waits for its destination."""
        on_trouble = self.failed if patient else None
        on_done = self._live_done if deliverer is self._deliverer else None
        return Pipeline(self._context, deliverer, self._options.recheck_ages_ms, on_trouble, on_done)

    async def _poll_on(self, drain: asyncio.Event | None = None) -> None:
        await self._head_pipeline.run(self._live.works(self._options.interval, polls_on=True), drain)

    async def _head(self, drain: asyncio.Event | None = None) -> None:
        await self._head_pipeline.run(self._live.works(self._options.interval), drain)

    async def _recheck(self, drain: asyncio.Event | None = None) -> None:
        await self._recheck_pipeline.run(rechecks(self._context, Lane.LIVE, patient=True), drain)
        await self._recheck_pipeline.run(second_tries(self._context), drain)
        await self._prune()

    async def _collect_past(self, drain: asyncio.Event | None = None) -> None:
        await self._past_pipeline.run(self._backfill.works(), drain)
        await self._past_pipeline.run(rechecks(self._context, Lane.BACKFILL, patient=True), drain)

    async def _verify(self, drain: asyncio.Event | None = None) -> None:
        del drain
        await self._daily_check.step()

    async def _try_again(self, live: Pipeline) -> None:
        """Second tries that are due, and those that wait for a bounded time, until there are none."""
        context = self._context
        await live.run(second_tries(context))
        while await self._some_wait() and not context.stop.is_set():
            await pause(context, 1.0)
            await live.run(second_tries(context))
        await self._prune()

    async def _some_wait(self) -> bool:
        aside = await self._context.ledger.set_aside(self.project)
        return any(each.reason.is_waiting for each in aside)

    async def _live_done(self, work: Work) -> None:
        """An idle backfill must not clear the error that a person should see, so only the live lane does."""
        context = self._context
        if work.window is not None and work.window.passes == 0:
            await context.ledger.note_success(self.project, context.clock.now_ms())
            if work.reaches_present:
                context.observer.polled(self.project, context.clock.now_ms())

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────
    async def _until_stopped(self, step: Step, idle_s: float) -> None:
        context = self._context
        failures = 0
        while not context.stop.is_set():
            started_s = context.clock.monotonic_s()
            try:
                await step(None)
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - one project's surprise must not end the service
                # A pipeline that had gone well for longer than the longest wait begins to count anew.
                calm = context.clock.monotonic_s() - started_s > self._options.backoff.most_s
                failures = 1 if calm else failures + 1
                await pause(context, await self.failed(error, failures))
                continue
            failures = 0
            spent_s = context.clock.monotonic_s() - started_s
            await pause(context, max(0.0, idle_s - spent_s))

    async def _to_the_end(self, collect: Callable[[], Awaitable[None]]) -> Tally:
        context = self._context
        try:
            await collect()
        except Stopped:
            return self.tally
        except BridgeError as error:
            await self._note(error)
            raise
        await context.ledger.note_success(self.project, context.clock.now_ms())
        context.observer.polled(self.project, context.clock.now_ms())
        return self.tally

    async def _prune(self) -> None:
        context = self._context
        now_ms = context.clock.now_ms()
        if self._pruned_ms is None or abs(now_ms - self._pruned_ms) >= _PRUNE_EVERY_MS:
            self._pruned_ms = now_ms
            # The next new window lists the watermark's millisecond again, and one that was interrupted has
            # delivered beyond it: of neither may an id be forgotten, however old it is.
            watermark_ms = await context.ledger.watermark_ms(self.project, Lane.LIVE)
            if watermark_ms is not None:
                before_ms = min(now_ms - self._options.keep_ms, watermark_ms - _EDGE_MS)
                await context.ledger.prune(self.project, before_ms, now_ms)

    # ── trouble ──────────────────────────────────────────────────────────────────────────────────────
    async def failed(self, raised: Exception, failures: int) -> float:
        """Note and log that a pipeline failed, or that its destination does not take a batch.

        Args:
            raised: Why.
            failures: How often in a row, this time included.

        Returns:
            Seconds to wait before the next try.
        """
        error = raised if isinstance(raised, BridgeError) else unforeseen(raised)
        await self._note(error)
        asked = error.retry_after_s if isinstance(error, (SourceBusy, DestinationUnavailable)) else None
        wait_s = self._options.backoff.wait_s(failures, asked) or 0
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
        context = self._context
        context.observer.poll_failed(self.project, error, context.clock.now_ms())
        try:
            await context.ledger.note_error(self.project, str(error), context.clock.now_ms())
        except BridgeError as second:
            event(logging.ERROR, "ledger_failed", str(second), project=self.project)
