"""The service as a process: starts every project's worker, and stops them cleanly."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otel_bridge import __version__
from otel_bridge.errors import BridgeError
from otel_bridge.ledger import Ledger, ProjectStatus, open_ledger
from otel_bridge.service.assembly import ONCE_ATTEMPTS, otlp_exporter, workers
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

STOP_GRACE_S = 8.0
"""What a worker has to finish the batch in hand; the promise for the whole stop is 10 s."""


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
        settings.ledger.state.get_secret_value(),
        clock,
        on_notice=lambda text: event(logging.WARNING, "ledger_notice", text),
    )
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


async def run(settings: Settings, clock: Clock, exporter: Exporter | None = None) -> None:
    """Collect and deliver until SIGTERM or SIGINT.

    Raises:
        BridgeError: It could not start.
    """
    stop = asyncio.Event()
    with stopping_on_signals(stop):
        async with (
            opened_ledger(settings, clock) as ledger,
            _exporter(settings, clock, exporter, attempts=None) as sink,
            workers(settings, ledger=ledger, exporter=sink, clock=clock, stop=stop) as each_worker,
        ):
            names = ", ".join(worker.project for worker in each_worker)
            event(logging.INFO, "started", f"otel-bridge {__version__} collects {names}")
            await _until_stopped(each_worker, stop)
    event(logging.INFO, "stopped", "stopped")


async def run_once(settings: Settings, clock: Clock, exporter: Exporter | None = None) -> OnceReport:
    """Collect and deliver everything up to the present, for every project.

    Raises:
        BridgeError: It could not start.
    """
    stop = asyncio.Event()
    report = OnceReport()
    with stopping_on_signals(stop):
        async with (
            opened_ledger(settings, clock) as ledger,
            _exporter(settings, clock, exporter, attempts=ONCE_ATTEMPTS) as sink,
            workers(settings, ledger=ledger, exporter=sink, clock=clock, stop=stop) as each_worker,
        ):
            passes = [asyncio.create_task(worker.run_once()) for worker in each_worker]
            await finish(passes, stop)
            for worker, done in zip(each_worker, passes, strict=True):
                error = None if done.cancelled() else done.exception()
                if isinstance(error, BridgeError):
                    report.failures[worker.project] = str(error)
                elif error is not None:
                    raise error
                report.delivered += worker.tally.delivered
            for status in await ledger.status([worker.project for worker in each_worker]):
                _count_set_aside(report, status, {worker.project for worker in each_worker})
    report.interrupted = stop.is_set()
    return report


def _count_set_aside(report: OnceReport, status: ProjectStatus, projects: set[str]) -> None:
    if status.set_aside and status.project in projects:
        report.set_aside[status.project] = dict(status.set_aside)


@asynccontextmanager
async def _exporter(
    settings: Settings, clock: Clock, given: Exporter | None, *, attempts: int | None
) -> AsyncIterator[Exporter]:
    exporter = given or otlp_exporter(settings, clock, attempts=attempts)
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def _until_stopped(each_worker: list[ProjectWorker], stop: asyncio.Event) -> None:
    tasks = [asyncio.create_task(worker.run(), name=worker.project) for worker in each_worker]
    await finish(tasks, stop)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def finish(tasks: Sequence[asyncio.Task[Any]], stop: asyncio.Event) -> None:
    """Wait for the tasks; once the service stops, for a bounded time."""
    stopping = asyncio.create_task(stop.wait())
    everything = asyncio.create_task(asyncio.wait(tasks))
    await asyncio.wait({stopping, everything}, return_when=asyncio.FIRST_COMPLETED)
    if not everything.done():
        _, late = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
        for task in late:
            task.cancel()
        if late:
            event(
                logging.WARNING,
                "stopped_late",
                "the batch in hand did not end in time; it is delivered again",
            )
    stopping.cancel()
    await asyncio.gather(stopping, everything, return_exceptions=True)
