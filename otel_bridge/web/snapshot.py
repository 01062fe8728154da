"""What the status and the page show, gathered once for all who ask within a second.

An endpoint must not cost the bridge more the oftener it is asked: so what takes a look into the ledger, or
time to write, is made at most once a second, and whoever asks meanwhile gets the one before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from otel_bridge.errors import BridgeError
from otel_bridge.ledger.leases import SharedLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.ledger import ProjectStatus, SetAside
    from otel_bridge.receiver.budget import BudgetState
    from otel_bridge.service.holders import Work
    from otel_bridge.service.reasons import Reason
    from otel_bridge.service.recent import Minute
    from otel_bridge.service.running import Running
    from otel_bridge.signals import Delivery
    from otel_bridge.times import Clock

FRESH_S: Final = 1.0
"""For so long what was made serves everybody."""
STALE_S: Final = 10.0
"""For so long it still serves while the next is being made; a busy ledger keeps nobody waiting."""
MOST_ASIDE: Final = 10
"""Of each project so many records that are set aside are named."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProjectSnapshot:
    """One project.

    Attributes:
        name: Its name.
        lag_ms: How far behind the present it is; None where nothing is collected yet.
        ledger: What the ledger says of it; None where that could not be read yet.
        hour: The last 60 minutes, the present one last.
        budget: Its organisation's request budget; None before there is one.
        aside: Some of what is set aside, the oldest first.
        reasons: Why it is not ready.
        calls: Its last tool calls.
    """

    name: str
    lag_ms: int | None
    ledger: ProjectStatus | None
    hour: list[Minute]
    budget: BudgetState | None
    aside: list[SetAside]
    reasons: list[Reason]
    calls: list[Delivery]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it at one moment.

    Attributes:
        now_ms: When, in ms since the epoch.
        started_ms: When the process started.
        reasons: Why the bridge is not ready, those of its projects among them.
        circuits: The far sides that are down.
        trouble: Why the ledger could not be read just now; None where it could.
        work: Which replicas share the work, and what each holds; None where it is one process's alone.
    """

    now_ms: int
    started_ms: int
    reasons: list[Reason]
    projects: list[ProjectSnapshot]
    circuits: list[CircuitState]
    trouble: str | None
    work: Work | None = None


class Fresh(Generic[T]):
    """A value that is made anew at most once a second, however many ask, and by one maker at a time.

    Args:
        make: Makes it.
        clock: The time.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._made: tuple[float, T] | None = None
        self._making: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value, at most 10 s old.

        Raises:
            Exception: What ``make`` raised.
        """
        age_s = STALE_S if self._made is None else self._clock.monotonic_s() - self._made[0]
        if self._made is not None and age_s < FRESH_S:
            return self._made[1]
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._anew())
        if self._made is not None and age_s < STALE_S:
            return self._made[1]
        # One who asks and goes away must not take it from the others.
        return await asyncio.shield(self._making)

    async def _anew(self) -> T:
        value = await self._make()
        self._made = (self._clock.monotonic_s(), value)
        return value


class Snapshots:
    """Takes snapshots of a running service.

    Args:
        running: The service.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._ledger: dict[str, ProjectStatus] = {}
        self._aside: dict[str, list[SetAside]] = {}
        self._work: Work | None = None

    async def take(self) -> Snapshot:
        """How it stands. Where the ledger can't be read, with what it said the last time."""
        running = self._running
        trouble = await self._read_ledger()
        now_ms = running.clock.now_ms()
        reasons = running.health.readiness(now_ms)
        return Snapshot(
            now_ms=now_ms,
            started_ms=running.started_ms,
            reasons=reasons,
            projects=[self._project(name, reasons, now_ms) for name in running.projects],
            circuits=running.health.open_circuits,
            trouble=trouble,
            work=self._work,
        )

    def _project(self, name: str, reasons: list[Reason], now_ms: int) -> ProjectSnapshot:
        running = self._running
        budget = running.budgets.get(name)
        return ProjectSnapshot(
            name=name,
            lag_ms=running.health.lag_ms(name, now_ms),
            ledger=self._ledger.get(name),
            hour=running.recent.last_hour(name, now_ms),
            budget=None if budget is None else budget.state,
            aside=self._aside.get(name, []),
            reasons=[reason for reason in reasons if reason.project == name],
            calls=running.recent.calls(name),
        )

    async def _read_ledger(self) -> str | None:
        ledger = self._running.ledger
        if ledger is None:
            return None
        names = self._running.projects
        try:
            self._ledger = {each.project: each for each in await ledger.status(names)}
            for name in names:
                known = self._ledger.get(name)
                some = known is not None and bool(known.set_aside)
                self._aside[name] = await ledger.set_aside(name, limit=MOST_ASIDE) if some else []
            if isinstance(ledger, SharedLedger):
                self._work = await ledger.replicas(), await ledger.leases()
        except BridgeError as error:
            return str(error)
        return None
