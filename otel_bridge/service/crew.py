"""The workers of a process, one a project. Projects may join and leave while it runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.ledger import SqliteLedger
from otel_bridge.ledger.place import sqlite_path
from otel_bridge.pipeline.observer import NO_OBSERVER, Observer, Observers
from otel_bridge.service.assembly import ServiceContext, project_source, project_worker
from otel_bridge.service.budgets import OrganisationBudgets
from otel_bridge.service.circuits import SourceCircuits
from otel_bridge.service.gauges import Looked, watched
from otel_bridge.service.own_telemetry import OwnTelemetry, own_telemetry
from otel_bridge.service.stopping import STOP_GRACE_S, finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.pipeline.source import ProjectSource
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.settings import ProjectSettings, Settings
    from otel_bridge.times import Clock

_LOOK_S: Final = 0.05


@dataclass(slots=True)
class _Member:
    worker: ProjectWorker
    source: ProjectSource
    stop: asyncio.Event
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Crew:
    """See the module. What it is given lives longer than it.

    Attributes:
        shared: What all workers have in common.
        budgets: The request budgets; a project joins the one of its organisation.
        circuits: The sources' circuits.
        telemetry: What measures; None where nobody would see it.
        transport: What carries requests to the source, in place of the network.
        workers: By project; changes as projects come and go.
        names: The names of the projects, in the same way.
        busy: Whether somebody is at a project's work although its worker runs no loop.
    """

    shared: ServiceContext
    budgets: OrganisationBudgets
    circuits: SourceCircuits
    telemetry: OwnTelemetry | None = None
    transport: httpx.AsyncBaseTransport | None = None
    workers: dict[str, ProjectWorker] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    busy: Callable[[str], bool] = lambda _: False
    _members: dict[str, _Member] = field(default_factory=dict)
    _on_task: Callable[[str, asyncio.Task[None]], None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def join(self, project: ProjectSettings) -> ProjectWorker:
        """A worker for one more project; its loop runs where those of the others do.

        Raises:
            SettingsError: The project has no key.
        """
        shared = self.shared
        source = project_source(
            shared.settings,
            project,
            self.budgets.join(project),
            shared.clock,
            transport=self.transport,
            circuit=self.circuits.of(project),
            observer=shared.observer,
        )
        stop = asyncio.Event()
        if shared.stop.is_set():
            stop.set()
        member = _Member(project_worker(shared, project, source, stop, self.telemetry), source, stop)
        self._members[project.name] = member
        self.workers[project.name] = member.worker
        self.names.append(project.name)
        self._start(project.name)
        return member.worker

    async def leave(self, name: str) -> None:
        """Let a project go: what is with a destination is finished, all else is left."""
        member = self._members.pop(name)
        del self.workers[name]
        self.names.remove(name)
        member.stop.set()
        if member.task is not None:
            await finish([member.task], [member.worker.in_progress], member.stop)
        with suppress(TimeoutError):  # what is in hand then is delivered again
            async with asyncio.timeout(STOP_GRACE_S):
                while self.busy(name):  # noqa: ASYNC110 - a turn ends when its step has
                    await asyncio.sleep(_LOOK_S)
        self.budgets.leave(name)
        await member.source.client.aclose()
        self._changed.set()

    async def run(self, on_task: Callable[[str, asyncio.Task[None]], None]) -> None:
        """Run the loops of all workers until the service stops, or all of them have ended by themselves.

        Args:
            on_task: Hears of each loop.
        """
        stop = self.shared.stop
        self._on_task = on_task
        for name in self.names:
            self._start(name)
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            self._changed.clear()
            changing = asyncio.create_task(self._changed.wait())
            tasks = self._tasks()
            going = [task for task in tasks if not task.done()]
            if tasks and not going:
                changing.cancel()
                break
            await asyncio.wait({stopping, changing, *going}, return_when=asyncio.FIRST_COMPLETED)
            changing.cancel()
        stopping.cancel()
        if stop.is_set():
            self.stop()
        members = [each for each in self._members.values() if each.task is not None]
        if members:
            await finish(self._tasks(), [each.worker.in_progress for each in members], stop)
        for task in self._tasks():
            if not task.cancelled():
                task.result()

    def stop(self) -> None:
        """Let every worker know that the service stops."""
        for member in self._members.values():
            member.stop.set()

    async def aclose(self) -> None:
        """Let go of all connections to the sources."""
        for member in self._members.values():
            await member.source.client.aclose()

    def _start(self, name: str) -> None:
        if self._on_task is not None:
            member = self._members[name]
            member.task = asyncio.create_task(member.worker.run(), name=name)
            self._on_task(name, member.task)
            self._changed.set()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [each.task for each in self._members.values() if each.task is not None]


@asynccontextmanager
async def crewed(
    shared: ServiceContext,
    budgets: OrganisationBudgets,
    *,
    telemetry: OwnTelemetry | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Crew]:
    """A crew with a worker for each project of the settings, over an open ledger and one exporter for all.

    Args:
        shared: What all workers have in common; the observer of ``telemetry`` is to be among its own.
        budgets: The request budgets.
        telemetry: What measures; None for one of their own, if anyone would see it.
        transport: What carries requests to the source, in place of the network.

    Raises:
        SettingsError: A project has no key.
    """
    async with AsyncExitStack() as stack:
        if telemetry is None and _is_seen(shared.settings):
            telemetry = await stack.enter_async_context(own_telemetry(shared.settings))
            shared = shared.with_observer(Observers(telemetry.observer, shared.observer))
        crew = Crew(shared, budgets, SourceCircuits(shared.clock, shared.observer), telemetry, transport)
        stack.push_async_callback(crew.aclose)
        for project in shared.settings.projects:
            crew.join(project)
        if telemetry is not None:
            await stack.enter_async_context(watched(telemetry, _looked(crew), shared.clock))
        spreading = asyncio.create_task(_spread(crew))
        try:
            yield crew
        finally:
            spreading.cancel()
            await asyncio.gather(spreading, return_exceptions=True)


@asynccontextmanager
async def workers(  # noqa: PLR0913 - what there is of a process
    settings: Settings,
    *,
    ledger: Ledger,
    exporter: Exporter,
    clock: Clock,
    stop: asyncio.Event,
    budgets: OrganisationBudgets | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    observer: Observer = NO_OBSERVER,
    telemetry: OwnTelemetry | None = None,
) -> AsyncIterator[list[ProjectWorker]]:
    """As ``crewed``, for a command whose projects stay as they are.

    Raises:
        SettingsError: A project has no key.
    """
    shared = ServiceContext(
        settings=settings, ledger=ledger, exporter=exporter, clock=clock, stop=stop, observer=observer
    )
    budgets = budgets or OrganisationBudgets(settings.collect.rate_share, clock)
    async with crewed(shared, budgets, telemetry=telemetry, transport=transport) as crew:
        yield list(crew.workers.values())


async def _spread(crew: Crew) -> None:
    await crew.shared.stop.wait()
    crew.stop()


def _is_seen(settings: Settings) -> bool:
    """Whether own telemetry goes anywhere: nobody asks a process for its metrics that does not serve them."""
    return Signal.METRICS in settings.signals or not {"traces", "logs"}.isdisjoint(settings.telemetry.signals)


def _looked(crew: Crew) -> Looked:
    shared = crew.shared
    url = shared.settings.ledger.state.get_secret_value()

    def states() -> list[CircuitState]:
        exporter = shared.exporter
        return [*crew.circuits.states, *(exporter.circuits if isinstance(exporter, OtlpExporter) else ())]

    return Looked(
        projects=crew.names,
        ledger=shared.ledger,
        ledger_file=sqlite_path(url) if isinstance(shared.ledger, SqliteLedger) else None,
        budgets=crew.budgets.by_project,
        circuits=states,
    )
