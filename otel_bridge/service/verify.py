"""``verify``: every configured project compared with its source, whether or not the service runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError
from otel_bridge.ledger import open_ledger
from otel_bridge.pipeline.context import Stopped
from otel_bridge.service.assembly import ONCE_ATTEMPTS, otlp_exporter
from otel_bridge.service.comparison import Comparison, Repair
from otel_bridge.service.crew import workers
from otel_bridge.service.logs import event
from otel_bridge.service.runner import stopping_on_signals
from otel_bridge.service.stopping import finish

if TYPE_CHECKING:
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.service.findings import Findings
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


@dataclass(slots=True)
class VerifyReport:
    """What ``verify`` came to.

    Attributes:
        findings: Of each project that was compared to its end.
        failures: Project to the error that ended its comparison.
    """

    findings: list[Findings] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def equal(self) -> bool:
        """Whether every project was compared, and nothing is missing or all of it repaired."""
        return not (self.failures or self.interrupted) and all(each.equal for each in self.findings)


async def verify(  # noqa: PLR0913, PLR0917 - the facts of one call
    settings: Settings,
    clock: Clock,
    from_ms: int,
    to_ms: int,
    repair: Repair,
    exporter: Exporter | None = None,
) -> VerifyReport:
    """Compare ``[from_ms, to_ms)`` of every project with its source, one project after the other.

    Without a repair nothing is written, and nothing sent to a destination.

    Raises:
        BridgeError: It could not start.
    """
    stop = asyncio.Event()
    report = VerifyReport()
    ledger = open_ledger(
        settings.ledger.state.get_secret_value(),
        clock,
        read_only=repair is Repair.NOTHING,
        shared=repair is not Repair.NOTHING,
        on_notice=lambda text: event(logging.WARNING, "ledger_notice", text),
    )
    sink = exporter or otlp_exporter(settings, clock, attempts=ONCE_ATTEMPTS)
    with stopping_on_signals(stop):
        await ledger.open()
        try:
            async with workers(settings, ledger=ledger, exporter=sink, clock=clock, stop=stop) as each_worker:
                for worker in each_worker:
                    comparison = Comparison(worker.context, worker.once_pipeline(), from_ms, to_ms, repair)
                    await _compare(worker, comparison, stop, report)
        finally:
            await sink.aclose()
            await ledger.close()
    report.interrupted = stop.is_set()
    return report


async def _compare(
    worker: ProjectWorker, comparison: Comparison, stop: asyncio.Event, report: VerifyReport
) -> None:
    if stop.is_set():
        return
    task = asyncio.create_task(comparison.run())
    await finish([task], [worker.in_progress], stop)
    if task.cancelled():
        return
    try:
        report.findings.append(task.result())
    except Stopped:
        pass
    except BridgeError as error:
        report.failures[worker.project] = str(error)
