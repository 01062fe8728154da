"""The running service, as its endpoints see it: filled in while it starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.service.health import Health, HealthLimits
from otel_bridge.service.recent import Recent

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from otel_bridge.ledger import Ledger
    from otel_bridge.pipeline.observer import Observer
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

_POLLS_BEHIND = 3


@dataclass(slots=True)
class Running:
    """What the endpoints speak of. The endpoints come first: what is not there yet is None or empty.

    Attributes:
        settings: As read; their projects may come and go.
        clock: The time.
        started_ms: When the process started, in ms since the epoch.
        health: Whether it does its work.
        recent: The last calls and the last hour.
        ledger: What is done; None until it is open.
        budgets: The request budget of each project, by its name.
        metrics: Makes the text of ``/metrics``; None where nothing measures.
        observer: Hears of correlations that come in; None until there are workers.
        url: Where the endpoints are; None where there are none.
    """

    settings: Settings
    clock: Clock
    started_ms: int
    health: Health
    recent: Recent
    ledger: Ledger | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    metrics: Callable[[], bytes] | None = None
    observer: Observer | None = None
    url: str | None = None

    @property
    def projects(self) -> list[str]:
        """The names of the configured projects."""
        return [project.name for project in self.settings.projects]

    def watch(self, project: str, task: asyncio.Task[None], stop: asyncio.Event) -> None:
        """Let the health know when a project's worker ends although nobody stopped it."""

        def ended(task: asyncio.Task[None]) -> None:
            if stop.is_set() or task.cancelled():
                return
            error = task.exception()
            # An error's text may hold a payload: its class has to do.
            why = "ended by itself" if error is None else f"ended with {type(error).__name__}"
            self.health.worker_ended(project, f"the worker {why}", self.clock.now_ms())

        task.add_done_callback(ended)


Serve = Callable[[Running], AbstractAsyncContextManager[None]]
"""Opens the endpoints; what `service` knows of the layer above it."""


def running(settings: Settings, clock: Clock) -> Running:
    """The state of a service that has just started."""
    names = [project.name for project in settings.projects]
    # A bridge that polls seldom is behind by that much and well.
    poll = settings.collect.poll_interval
    lag_ms = max(settings.http.lag_limit, 0 if poll == "auto" else _POLLS_BEHIND * poll)
    now_ms = clock.now_ms()
    limits = HealthLimits(lag_ms=lag_ms, grace_ms=settings.http.start_grace)
    return Running(settings, clock, now_ms, Health(names, limits, now_ms), Recent(names))
