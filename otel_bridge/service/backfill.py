"""Past ranges on demand: planned in the ledger, collected oldest first, resumable.

A range is planned as windows of the backfill lane. The process that holds the ledger collects them: this
command where no service runs, else the service, which this command then only watches.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError, LedgerInUse
from otel_bridge.ledger import Lane, Window, open_ledger
from otel_bridge.service.age import within_age
from otel_bridge.service.assembly import ONCE_ATTEMPTS, otlp_exporter
from otel_bridge.service.budgets import OrganisationBudgets
from otel_bridge.service.crew import workers
from otel_bridge.service.ranges import uncovered
from otel_bridge.service.runner import stopping_on_signals
from otel_bridge.service.sharing import alone
from otel_bridge.service.stopping import finish
from otel_bridge.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

_WATCH_S = 1.0


@dataclass(slots=True)
class Progress:
    """How far a backfill is, over all projects.

    Attributes:
        total_ms: How much time was planned and not yet collected when it began.
        left_ms: How much of that is left.
        delivered: Records delivered so far; None where another process delivers.
        budget: Requests used and allowed in the current minute, for each organisation with a known limit.
    """

    total_ms: int
    left_ms: int
    delivered: int | None = None
    budget: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class BackfillReport:
    """What a backfill came to.

    Attributes:
        notes: What a person should know before it starts: skipped for age, collected already.
        failures: Project to the error that ended it.
        set_aside: Project to counts by reason.
    """

    delivered: int = 0
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, dict[str, int]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether the whole range is delivered."""
        return not (self.failures or self.set_aside or self.interrupted)


class Backfill:
    """One backfill of every configured project.

    Args:
        settings: As read.
        clock: The time.
        say: Takes a line for people before the work starts.
        show: Takes the progress after each step.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        say: Callable[[str], None],
        show: Callable[[Progress], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._say = say
        self._show = show
        self._names = [project.name for project in settings.projects]

    async def run(self, from_ms: int, to_ms: int, exporter: Exporter | None = None) -> BackfillReport:
        """Collect ``[from_ms, to_ms)``.

        Raises:
            BridgeError: It could not start.
        """
        stop = asyncio.Event()
        report = BackfillReport()
        with stopping_on_signals(stop):
            from_ms = await within_age(self._settings, self._clock, from_ms, to_ms, self._say)
            if from_ms >= to_ms:
                return report
            async with AsyncExitStack() as stack:
                try:
                    ledger = await self._alone(stack)
                except LedgerInUse:
                    self._say("the service that runs on this ledger collects it; this command only watches")
                    await self._watch(from_ms, to_ms, stop)
                else:
                    await self._collect(ledger, from_ms, to_ms, stop, report, exporter)
        report.interrupted = stop.is_set()
        return report

    async def _alone(self, stack: AsyncExitStack) -> Ledger:
        ledger = self._ledger(shared=False)
        stack.push_async_callback(ledger.close)
        await ledger.open()
        lease_s = self._settings.ledger.lease / 1000
        return await stack.enter_async_context(alone(ledger, self._names, lease_s, self._clock))

    def _ledger(self, *, shared: bool) -> Ledger:
        state = self._settings.present_state
        return open_ledger(state, self._clock, shared=shared, on_notice=self._say)

    async def _plan(self, ledger: Ledger, from_ms: int, to_ms: int) -> None:
        for name in self._names:
            taken = [
                window
                for lane in Lane
                for window in await ledger.windows(name, lane, from_ms=from_ms, to_ms=to_ms)
            ]
            gaps = uncovered(from_ms, to_ms, [(window.from_ms, window.to_ms) for window in taken])
            await ledger.add_windows([Window(name, Lane.BACKFILL, *gap) for gap in gaps])
            new_ms = sum(end - start for start, end in gaps)
            if new_ms < to_ms - from_ms:
                known = format_duration(to_ms - from_ms - new_ms)
                self._say(f"{name}: {known} of the range is planned or collected already")

    async def _left_ms(self, ledger: Ledger) -> int:
        left = 0
        for name in self._names:
            windows = await ledger.windows(name, Lane.BACKFILL)
            left += sum(window.length_ms for window in windows if not window.passes)
        return left

    async def _collect(  # noqa: PLR0913, PLR0917 - the facts of one run
        self,
        ledger: Ledger,
        from_ms: int,
        to_ms: int,
        stop: asyncio.Event,
        report: BackfillReport,
        exporter: Exporter | None,
    ) -> None:
        await self._plan(ledger, from_ms, to_ms)
        total = await self._left_ms(ledger)
        sink = exporter or otlp_exporter(self._settings, self._clock, attempts=ONCE_ATTEMPTS)
        shared = OrganisationBudgets(self._settings.collect.rate_share, self._clock)
        try:
            async with workers(
                self._settings,
                ledger=ledger,
                exporter=sink,
                clock=self._clock,
                stop=stop,
                budgets=shared,
            ) as each_worker:

                async def stepped() -> None:
                    delivered = sum(worker.tally.delivered for worker in each_worker)
                    left = await self._left_ms(ledger)
                    self._show(Progress(total, left, delivered, used(shared.by_key.values())))

                passes = [asyncio.create_task(worker.run_backfill(stepped)) for worker in each_worker]
                await finish(passes, [worker.in_progress for worker in each_worker], stop)
                self._read_passes(each_worker, passes, report)
        finally:
            await sink.aclose()
        for status in await ledger.status(self._names):
            if status.set_aside and status.project in self._names:
                report.set_aside[status.project] = dict(status.set_aside)

    def _read_passes(
        self,
        each_worker: Sequence[ProjectWorker],
        passes: Sequence[asyncio.Task[object]],
        report: BackfillReport,
    ) -> None:
        for worker, done in zip(each_worker, passes, strict=True):
            report.delivered += worker.tally.delivered
            error = None if done.cancelled() else done.exception()
            if isinstance(error, BridgeError):
                report.failures[worker.project] = str(error)
            elif error is not None:
                raise error

    async def _watch(self, from_ms: int, to_ms: int, stop: asyncio.Event) -> None:
        ledger = self._ledger(shared=True)
        await ledger.open()
        try:
            await self._plan(ledger, from_ms, to_ms)
            total = await self._left_ms(ledger)
            while not stop.is_set():
                left = await self._left_ms(ledger)
                self._show(Progress(total, left))
                if not left:
                    return
                await self._clock.sleep(_WATCH_S)
        finally:
            await ledger.close()


def used(shared: Iterable[Budget]) -> tuple[tuple[int, int], ...]:
    """Requests used and allowed in the current minute, for each budget with a known limit."""
    states = {id(each): each.state for each in shared}
    return tuple((state.used, state.allowed) for state in states.values() if state.allowed is not None)
