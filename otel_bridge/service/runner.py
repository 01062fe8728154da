"""The service as a process: starts every project's worker, and stops them cleanly."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from otel_bridge import __version__
from otel_bridge.errors import BridgeError
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.ledger import Lane, Ledger, ProjectStatus, open_ledger
from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.pipeline.observer import NO_OBSERVER, Observer, Observers
from otel_bridge.service.assembly import ONCE_ATTEMPTS, ServiceContext, otlp_exporter, require_keys
from otel_bridge.service.budgets import OrganisationBudgets
from otel_bridge.service.crew import crewed, workers
from otel_bridge.service.logs import event, tell_repeats
from otel_bridge.service.own_telemetry import OwnTelemetry, own_telemetry
from otel_bridge.service.renewals import tell_renewals, watched_files
from otel_bridge.service.roster import follow
from otel_bridge.service.running import Running, Serve, running
from otel_bridge.service.sharing import alone, for_workers, share_work
from otel_bridge.service.stopping import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.service.crew import Crew
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


@dataclass(slots=True)
class OnceReport:
    """What ``run --once`` came to.

    Attributes:
        delivered: Records delivered by this run.
        failures: Project to the error that ended its pass.
        set_aside: Project to the counts of what is set aside in its ledger, by reason.
    """

    delivered: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, dict[str, int]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything there was is delivered."""
        return not (self.failures or self.set_aside or self.interrupted)


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` on SIGTERM and SIGINT for as long as the block runs."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        event(logging.INFO, "stopping", f"{number.name}: stopping after the batch in hand")
        stop.set()

    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def opened_ledger(settings: Settings, clock: Clock) -> AsyncIterator[Ledger]:
    """The ledger of the settings, open for writing.

    Raises:
        SettingsError: The address is wrong.
        LedgerError: The file can't be used.
    """
    ledger = open_ledger(
        settings.present_state,
        clock,
        on_notice=lambda text: event(logging.WARNING, "ledger_notice", text),
    )
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


async def run(
    settings: Settings, clock: Clock, exporter: Exporter | None = None, serve: Serve | None = None
) -> None:
    """Collect and deliver until SIGTERM or SIGINT.

    Args:
        settings: As read.
        clock: The time.
        exporter: Where to deliver; by default as the settings say.
        serve: Opens the HTTP endpoints. They come before all else and go after it: they answer while a
            ledger is migrated, and an address that can't be had costs nothing.

    Raises:
        BridgeError: It could not start.
    """
    require_keys(settings)
    stop = asyncio.Event()
    state = running(settings, clock)
    with stopping_on_signals(stop):
        async with (
            nullcontext() if serve is None else serve(state),
            own_telemetry(settings) as telemetry,
            opened_ledger(settings, clock) as ledger,
            _exporter(settings, clock, exporter, None, _heard_by(state, telemetry)) as sink,
        ):
            several = isinstance(ledger, SharedLedger)
            shared = OrganisationBudgets(settings.collect.rate_share, clock, shared=several)
            state.budgets = shared.by_project
            for project in state.projects:
                state.health.begins_at(project, await ledger.watermark_ms(project, Lane.LIVE))
            context = ServiceContext(
                settings=settings,
                ledger=for_workers(ledger),
                exporter=sink,
                clock=clock,
                stop=stop,
                observer=state.observer or NO_OBSERVER,
            )
            async with crewed(context, shared, telemetry=telemetry) as crew:
                state.ledger = ledger
                names = ", ".join(state.projects) or "no project yet"
                event(logging.INFO, "started", f"otel-bridge {__version__} collects {names}")
                async with (
                    _followed(state, crew),
                    watched_files(settings, clock, partial(_try_now, crew, sink)),
                ):
                    if isinstance(ledger, SharedLedger):
                        await share_work(state, ledger, crew, stop)
                    else:
                        await crew.run(lambda name, task: state.watch(name, task, stop))
            state.ledger = None
    tell_repeats()
    event(logging.INFO, "stopped", "stopped")


async def run_once(settings: Settings, clock: Clock, exporter: Exporter | None = None) -> OnceReport:
    """Collect and deliver everything up to the present, for every project.

    Raises:
        BridgeError: It could not start.
    """
    require_keys(settings)
    tell_renewals(settings)
    stop = asyncio.Event()
    report = OnceReport()
    with stopping_on_signals(stop):
        async with (
            opened_ledger(settings, clock) as ledger,
            alone(
                ledger, [each.name for each in settings.projects], settings.ledger.lease / 1000, clock
            ) as own,
            own_telemetry(settings) as telemetry,
            _exporter(settings, clock, exporter, ONCE_ATTEMPTS, telemetry.observer) as sink,
            workers(
                settings,
                ledger=own,
                exporter=sink,
                clock=clock,
                stop=stop,
                observer=telemetry.observer,
                telemetry=telemetry,
            ) as each_worker,
        ):
            passes = [asyncio.create_task(worker.run_once()) for worker in each_worker]
            await finish(passes, [worker.in_progress for worker in each_worker], stop)
            for worker, done in zip(each_worker, passes, strict=True):
                error = None if done.cancelled() else done.exception()
                if isinstance(error, BridgeError):
                    report.failures[worker.project] = str(error)
                elif error is not None:
                    raise error
                report.delivered += worker.tally.delivered
            report.failures.update(settings.found.refused)
            for status in await ledger.status([worker.project for worker in each_worker]):
                _count_set_aside(report, status, {worker.project for worker in each_worker})
    report.interrupted = stop.is_set()
    return report


def _count_set_aside(report: OnceReport, status: ProjectStatus, projects: set[str]) -> None:
    if status.set_aside and status.project in projects:
        report.set_aside[status.project] = dict(status.set_aside)


def _heard_by(state: Running, telemetry: OwnTelemetry) -> Observer:
    """All who hear what the running service does."""
    state.metrics = telemetry.prometheus_text
    state.observer = Observers(telemetry.observer, state.health, state.recent)
    return state.observer


@asynccontextmanager
async def _exporter(
    settings: Settings, clock: Clock, given: Exporter | None, attempts: int | None, observer: Observer
) -> AsyncIterator[Exporter]:
    exporter = given or otlp_exporter(settings, clock, attempts=attempts, observer=observer)
    try:
        yield exporter
    finally:
        await exporter.aclose()


def _try_now(crew: Crew, sink: Exporter) -> None:
    """Ask again without a wait who was down: what was wrong may just have been renewed."""
    crew.circuits.try_now()
    if isinstance(sink, OtlpExporter):
        sink.try_now()


@asynccontextmanager
async def _followed(state: Running, crew: Crew) -> AsyncIterator[None]:
    """Let projects come and go for as long as the block runs."""
    following = asyncio.create_task(follow(state, crew))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
