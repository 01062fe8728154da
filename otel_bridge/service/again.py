"""``backfill --again``: a past range of every project delivered again, beside the service or alone.

Nothing is planned, so no other process takes part, and nothing is remembered of how far it came: it says so.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError
from otel_bridge.ledger import open_ledger
from otel_bridge.pipeline.context import Stopped
from otel_bridge.service.age import within_age
from otel_bridge.service.assembly import ONCE_ATTEMPTS, otlp_exporter, project_mapper, trace_options
from otel_bridge.service.backfill import Progress, used
from otel_bridge.service.budgets import OrganisationBudgets
from otel_bridge.service.crew import workers
from otel_bridge.service.logs import event
from otel_bridge.service.redelivery import Again, Redelivery
from otel_bridge.service.runner import stopping_on_signals
from otel_bridge.service.stopping import finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


@dataclass(slots=True)
class AgainReport:
    """What it came to.

    Attributes:
        projects: By name.
        failures: Project to the error that ended it.
        go_on_ms: From where a second call goes on, in ms since the epoch; None where all of it is delivered.
    """

    projects: dict[str, Again] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    go_on_ms: int | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole range is delivered, but for what was set aside before."""
        left = any(each.left or each.first.set_aside for each in self.projects.values())
        return not (self.failures or left) and self.go_on_ms is None


async def deliver_again(  # noqa: PLR0913 - the facts of one call
    settings: Settings,
    clock: Clock,
    from_ms: int,
    to_ms: int,
    *,
    say: Callable[[str], None],
    show: Callable[[Progress], None],
    exporter: Exporter | None = None,
) -> AgainReport:
    """Deliver ``[from_ms, to_ms)`` of every project again.

    Args:
        settings: As read.
        clock: The time.
        from_ms: In ms since the epoch.
        to_ms: The same, later.
        say: Takes a line for people before the work starts.
        show: Takes the progress after each step.
        exporter: In place of the configured one.

    Raises:
        BridgeError: It could not start.
    """
    stop = asyncio.Event()
    report = AgainReport()
    with stopping_on_signals(stop):
        from_ms = await within_age(settings, clock, from_ms, to_ms, say)
        if from_ms >= to_ms:
            return report
        ledger = open_ledger(
            settings.ledger.state.get_secret_value(),
            clock,
            shared=True,
            on_notice=lambda text: event(logging.WARNING, "ledger_notice", text),
        )
        sink = exporter or otlp_exporter(settings, clock, attempts=ONCE_ATTEMPTS)
        await ledger.open()
        try:
            await _deliver(settings, clock, (from_ms, to_ms), ledger, sink, stop, show, report)
        finally:
            await sink.aclose()
            await ledger.close()
    return report


async def _deliver(  # noqa: PLR0913, PLR0917 - the facts of one call
    settings: Settings,
    clock: Clock,
    span: tuple[int, int],
    ledger: Ledger,
    sink: Exporter,
    stop: asyncio.Event,
    show: Callable[[Progress], None],
    report: AgainReport,
) -> None:
    from_ms, to_ms = span
    budgets = OrganisationBudgets(settings.collect.rate_share, clock)
    mappers = {project.name: project_mapper(settings, project) for project in settings.projects}
    async with workers(
        settings, ledger=ledger, exporter=sink, clock=clock, stop=stop, budgets=budgets
    ) as each_worker:
        runs = [
            Redelivery(
                worker.context,
                worker.once_pipeline(),
                mapper=mappers[worker.project],
                exporter=sink,
                options=trace_options(settings),
                from_ms=from_ms,
                to_ms=to_ms,
            )
            for worker in each_worker
        ]
        report.projects = {worker.project: run.report for worker, run in zip(each_worker, runs, strict=True)}

        def stepped() -> None:
            each = report.projects.values()
            left_ms = sum(to_ms - one.reached_ms for one in each)
            delivered = sum(one.again + one.first.delivered for one in each)
            show(Progress(len(runs) * (to_ms - from_ms), left_ms, delivered, used(budgets.by_key.values())))

        tasks = [asyncio.create_task(run.run(stepped)) for run in runs]
        await finish(tasks, [worker.in_progress for worker in each_worker], stop)
        for worker, task in zip(each_worker, tasks, strict=True):
            error = None if task.cancelled() else task.exception()
            if isinstance(error, BridgeError):
                report.failures[worker.project] = str(error)
            elif error is not None and not isinstance(error, Stopped):
                raise error
    reached_ms = min((each.reached_ms for each in report.projects.values()), default=to_ms)
    report.go_on_ms = reached_ms if reached_ms < to_ms else None
