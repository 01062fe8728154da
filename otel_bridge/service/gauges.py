"""What stands still between events and is looked at: ledger, budgets, circuits.

The ledger can only be asked on the event loop, and metrics are read from other threads. So all of it is
looked at every few seconds, and ages are counted from what was seen.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import BridgeError
from otel_bridge.ledger import Reason
from otel_bridge.telemetry import catalogue as c

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.ledger import Ledger, ProjectStatus
    from otel_bridge.receiver.budget import Budget, BudgetState
    from otel_bridge.service.own_telemetry import OwnTelemetry
    from otel_bridge.telemetry.declaration import Metric
    from otel_bridge.telemetry.series import Key
    from otel_bridge.times import Clock

LOOK_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Looked:
    """Where to look.

    Attributes:
        projects: The names of the configured projects.
        ledger: What is done.
        ledger_file: Its file; None where it is none.
        budgets: By project; those of one organisation are one.
        circuits: Tells how every circuit stands.
    """

    projects: Sequence[str]
    ledger: Ledger
    ledger_file: Path | None
    budgets: Mapping[str, Budget]
    circuits: Callable[[], Iterable[CircuitState]]


@dataclass(slots=True)
class _Seen:
    """What was seen last."""

    statuses: list[ProjectStatus] = field(default_factory=list)
    oldest_aside_ms: dict[str, int] = field(default_factory=dict)
    budgets: list[BudgetState] = field(default_factory=list)
    circuits: list[CircuitState] = field(default_factory=list)


@asynccontextmanager
async def watched(telemetry: OwnTelemetry, looked: Looked, clock: Clock) -> AsyncIterator[None]:
    """Keep the gauges up to date for as long as the block runs."""
    gauges = Gauges(telemetry, looked, clock)
    gauges.add()
    await gauges.look()
    task = asyncio.create_task(gauges.keep_looking(), name="gauges")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await gauges.look()  # what is sent last is how it ended


class Gauges:
    """The metrics of what is looked at.

    Args:
        telemetry: Has the metrics.
        looked: Where to look.
        clock: The time, for ages.
    """

    def __init__(self, telemetry: OwnTelemetry, looked: Looked, clock: Clock) -> None:
        self._meters = telemetry.meters
        self._heard = telemetry.observer
        self._looked = looked
        self._clock = clock
        self._seen = _Seen()

    async def keep_looking(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look once. A ledger that can't be asked leaves what was seen before; the log tells of it."""
        looked, seen = self._looked, self._seen
        distinct = {id(each): each for each in looked.budgets.values()}
        seen.budgets = [each.state for each in distinct.values()]
        seen.circuits = list(looked.circuits())
        for circuit in seen.circuits:
            self._meters.add(c.CIRCUIT_OPENINGS, 0, circuit.name)  # a first outage is seen to rise
        with suppress(BridgeError):
            statuses = await looked.ledger.status(looked.projects)
            seen.statuses = [each for each in statuses if each.project in looked.projects]
            oldest = {}
            for each in seen.statuses:
                if each.set_aside:
                    rows = await looked.ledger.set_aside(each.project, limit=1)
                    if rows:
                        oldest[each.project] = rows[0].time_ms
            seen.oldest_aside_ms = oldest

    def add(self) -> None:
        """Make the metrics tell what was seen."""
        tell = self._meters.observe
        tell(c.WATERMARK_AGE, lambda: self._ages(lambda status: status.watermark_ms))
        tell(c.SEALED_AGE, lambda: self._ages(lambda status: status.sealed_ms))
        tell(c.POLL_AGE, lambda: self._ages(lambda status: self._heard.polled_ms.get(status.project)))
        tell(c.UNDELIVERED_AGE, self._undelivered)
        tell(c.WINDOWS_OPEN, lambda: [(each.open_windows, (each.project,)) for each in self._statuses()])
        tell(c.ASIDE_NOW, self._aside)
        tell(c.MISSING, self._missing)
        tell(c.VERIFICATION_AGE, lambda: self._ages(_verified_ms))
        tell(c.LEDGER_SIZE, self._size)
        tell(c.CIRCUIT_OPEN, self._circuits)
        budgets: dict[Metric, Callable[[BudgetState], int | None]] = {
            c.BUDGET_LIMIT: lambda state: state.limit,
            c.BUDGET_ALLOWED: lambda state: state.allowed,
            c.BUDGET_USED: lambda state: state.used,
            c.BUDGET_REMAINING: lambda state: state.remaining,
            c.BUDGET_WAITING: lambda state: state.waiting,
        }
        for metric, read in budgets.items():
            tell(metric, lambda read=read: self._budgets(read))  # type: ignore[misc]  # bound in a loop

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────
    def _statuses(self) -> list[ProjectStatus]:
        return self._seen.statuses

    def _ages(self, moment_ms: Callable[[ProjectStatus], int | None]) -> Iterable[tuple[float, Key]]:
        now_ms = self._clock.now_ms()
        for status in self._statuses():
            since_ms = moment_ms(status)
            if since_ms is not None:
                yield max(0, now_ms - since_ms) / 1000, (status.project,)

    def _undelivered(self) -> Iterable[tuple[float, Key]]:
        now_ms = self._clock.now_ms()
        for status in self._statuses():
            name = status.project
            since = (self._seen.oldest_aside_ms.get(name), self._heard.refused_since_ms.get(name))
            oldest_ms = min((each for each in since if each is not None), default=now_ms)
            yield max(0, now_ms - oldest_ms) / 1000, (name,)

    def _aside(self) -> Iterable[tuple[float, Key]]:
        for status in self._statuses():
            for reason in Reason:
                yield status.set_aside.get(reason.value, 0), (status.project, reason.value)

    def _missing(self) -> Iterable[tuple[float, Key]]:
        for status in self._statuses():
            if status.verification is not None:
                yield status.verification.missing - status.verification.repaired, (status.project,)

    def _size(self) -> Iterable[tuple[float, Key]]:
        path = self._looked.ledger_file
        if path is None:
            return
        # The write-ahead log is part of the ledger until it is folded in.
        files = (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))
        sizes = []
        for each in files:
            with suppress(OSError):
                sizes.append(each.stat().st_size)
        if sizes:
            yield sum(sizes), ()

    def _budgets(self, read: Callable[[BudgetState], int | None]) -> Iterable[tuple[float, Key]]:
        for state in self._seen.budgets:
            value = read(state)
            if value is not None:
                yield value, (state.name,)

    def _circuits(self) -> Iterable[tuple[float, Key]]:
        states = {state.name: state for state in self._seen.circuits}
        states |= self._heard.circuits
        for name, state in states.items():
            yield int(state.retry_in_s is not None), (name,)


def _verified_ms(status: ProjectStatus) -> int | None:
    return None if status.verification is None else status.verification.at_ms
