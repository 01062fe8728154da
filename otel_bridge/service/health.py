"""Whether the bridge does its work: what was heard, and from it the reasons why it may not be ready.

Pure state: no clock, no I/O. The rules:

* A project is ready when its last poll and its last delivery succeeded and its lag is under the limit.
* What a person has to change (a refused key, a destination that says no) is told at once. What may pass (a
  failed poll, a ledger that is busy) is told when it has come back: three times, or twice and for 30 s.
  Failures within a second are one, for a project's lanes meet the same trouble at the same moment.
* An open circuit is told when it has stayed open for 10 s. It took several failures to open it.
* Until a project has been collected up to the present once, and for the grace after the start at most, being
  behind is ``starting`` and not ``lagging``.
* One success ends a failure.
* Being behind while something else of the project is told follows from that: it says so, and gives no advice
  of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import (
    BridgeError,
    DestinationError,
    DestinationRefused,
    LedgerError,
    SourceError,
    SourceRefused,
)
from otel_bridge.ledger import Lane
from otel_bridge.pipeline.observer import Observer
from otel_bridge.service.reasons import TRIED_AGAIN, WRONG_ADDRESS, Code, Reason
from otel_bridge.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.exporter.blocks import Block
    from otel_bridge.ledger import Window
    from otel_bridge.pipeline.context import Tally
    from otel_bridge.signals import Delivery

FAILURES_TOLD: Final = 3
"""So many failures in a row are told, however short the time."""
FAILING_TOLD_MS: Final = 30_000
"""A second failure is told when the first one is so long ago."""
SAME_MOMENT_MS: Final = 1_000
"""Failures so close to one another are one."""
CIRCUIT_TOLD_MS: Final = 10_000
"""A circuit that has stayed open for so long is told."""
_MOST_CIRCUITS: Final = 64


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What counts as healthy; times in ms.

    Attributes:
        lag_ms: How far behind a project may be.
        grace_ms: For how long after the start being behind is no fault.
    """

    lag_ms: int = 300_000
    grace_ms: int = 60_000


@dataclass(slots=True)
class _Trouble:
    """One kind of failure that has not ended."""

    code: Code
    message: str
    since_ms: int
    last_ms: int
    count: int = 1
    at_once: bool = False
    advice: str = ""

    def again(self, message: str, now_ms: int, *, at_once: bool, advice: str) -> None:
        self.message, self.at_once, self.advice = message, at_once, advice
        # A clock that was set back must not keep failures from being counted.
        if not 0 <= now_ms - self.last_ms < SAME_MOMENT_MS:
            self.count += 1
            self.last_ms = now_ms

    def told(self, now_ms: int) -> bool:
        if self.at_once or self.count >= FAILURES_TOLD:
            return True
        return self.count > 1 and now_ms - self.since_ms >= FAILING_TOLD_MS


@dataclass(slots=True)
class _Project:
    """What was heard of a project."""

    collected_ms: int | None = None
    caught_up: bool = False
    ended: tuple[str, int] | None = None
    trouble: dict[Code, _Trouble] = field(default_factory=dict)


class Health(Observer):
    """Hears what happens and knows whether that is well.

    Args:
        projects: Their names.
        limits: What counts as healthy.
        started_ms: When the process started, in ms since the epoch.
    """

    def __init__(self, projects: Iterable[str], limits: HealthLimits, started_ms: int) -> None:
        self._projects = {project: _Project() for project in projects}
        self._limits = limits
        self._started_ms = started_ms
        self._open: dict[str, CircuitState] = {}

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────
    def begins_at(self, project: str, watermark_ms: int | None) -> None:
        """Where the ledger says that a project stands, before anything was heard of it."""
        known = self._of(project)
        if known.collected_ms is None:
            known.collected_ms = watermark_ms

    def stands_at(self, project: str, watermark_ms: int) -> None:
        """Where the ledger says that a project stands, whoever has brought it there."""
        known = self._of(project)
        known.collected_ms = max(known.collected_ms or watermark_ms, watermark_ms)

    def polled(self, project: str, now_ms: int) -> None:
        """Everything up to now is collected: source, destination and ledger did their part."""
        known = self._of(project)
        known.trouble.clear()
        known.collected_ms = now_ms
        known.caught_up = True

    def window_done(self, window: Window, listed: int, tally: Tally, now_ms: int) -> None:
        """A live window is progress; one of a backfill says nothing of the present."""
        del listed, now_ms
        if window.lane is not Lane.LIVE:
            return
        known = self._of(window.project)
        for code in (Code.SOURCE_FAILING, Code.SOURCE_REFUSED, Code.LEDGER_FAILING, Code.FAILING):
            known.trouble.pop(code, None)
        if tally.delivered:
            self._delivered(known)
        if not window.passes:
            known.collected_ms = max(known.collected_ms or 0, window.to_ms)

    def delivered(self, project: str, lane: Lane, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """The destination works."""
        del lane, now_ms
        if deliveries:
            self._delivered(self._of(project))

    def poll_failed(self, project: str, error: BridgeError, now_ms: int) -> None:
        """Something did not do its part."""
        self._failed(project, error, now_ms)

    def delivery_failed(self, project: str, error: DestinationError, now_ms: int) -> None:
        """The destination did not."""
        self._failed(project, error, now_ms)

    def circuit_changed(self, before: CircuitState, now: CircuitState) -> None:
        """A far side went down or came back."""
        del before
        if now.retry_in_s is None:
            self._open.pop(now.name, None)
        elif len(self._open) < _MOST_CIRCUITS:
            self._open[now.name] = now

    def destination_blocked(self, block: Block) -> None:
        """A destination that is down may answer something else by now."""
        known = self._open.get(block.name)
        if known is not None:
            self._open[block.name] = replace(known, reason=block.why)

    def worker_ended(self, project: str, message: str, now_ms: int) -> None:
        """A project's worker has ended although nobody stopped it."""
        self._of(project).ended = (message, now_ms)

    def leave(self, project: str) -> None:
        """A project is not collected any more."""
        self._projects.pop(project, None)

    # ── what follows from it ─────────────────────────────────────────────────────────────────────────
    @property
    def open_circuits(self) -> list[CircuitState]:
        """The far sides that are down, each with what it said last."""
        return list(self._open.values())

    def lag_ms(self, project: str, now_ms: int) -> int | None:
        """How far behind the present a project is; None where nothing is collected yet."""
        collected_ms = self._of(project).collected_ms
        return None if collected_ms is None else max(0, now_ms - collected_ms)

    def readiness(self, now_ms: int) -> list[Reason]:
        """Why the bridge is not ready; nothing where it is.

        Args:
            now_ms: Now, in ms since the epoch, on the clock of what was heard.
        """
        reasons = [
            Reason(None, Code.CIRCUIT_OPEN, f"{state.name} is down: {state.reason}", state.since_ms or now_ms)
            for state in self._open.values()
            if now_ms - (state.since_ms or 0) >= CIRCUIT_TOLD_MS
        ]
        for name, known in self._projects.items():
            told = [
                Reason(name, each.code, each.message, each.since_ms, advice=each.advice)
                for each in known.trouble.values()
                if each.told(now_ms)
            ]
            reasons += told
            behind = self._behind(name, known, now_ms, told=bool(told))
            if behind is not None:
                reasons.append(replace(behind, follows=bool(told) or known.ended is not None))
        return reasons + self.ended()

    def ended(self) -> list[Reason]:
        """The workers that have ended although nobody stopped them: only a restart helps."""
        return [
            Reason(name, Code.WORKER_ENDED, known.ended[0], known.ended[1])
            for name, known in self._projects.items()
            if known.ended is not None
        ]

    def _behind(self, name: str, known: _Project, now_ms: int, *, told: bool) -> Reason | None:
        lag_ms = self.lag_ms(name, now_ms)
        if lag_ms is not None and lag_ms <= self._limits.lag_ms:
            return None
        starting = not known.caught_up and 0 <= now_ms - self._started_ms < self._limits.grace_ms
        if lag_ms is None:
            message, since_ms = "nothing has been collected yet", self._started_ms
        else:
            limit = format_duration(self._limits.lag_ms)
            message = f"{format_duration(lag_ms)} behind; the limit is {limit}"
            # What lies before the start is no trouble of this process.
            since_ms = self._started_ms if starting else now_ms - lag_ms + self._limits.lag_ms
        if starting and known.trouble and not told:
            # Not told by itself yet, for it may pass: but to wait for what was before would be no advice.
            newest = max(known.trouble.values(), key=lambda each: each.last_ms)
            message = f"{message}: {newest.message}"
            return Reason(name, Code.STARTING, message, since_ms, advice=TRIED_AGAIN)
        return Reason(name, Code.STARTING if starting else Code.LAGGING, message, since_ms)

    def _failed(self, project: str, error: BridgeError, now_ms: int) -> None:
        code = _code_of(error)
        at_once = code in {Code.SOURCE_REFUSED, Code.DESTINATION_REFUSED}
        advice = f"{error.advice[:1].upper()}{error.advice[1:]}." if error.advice else ""
        if isinstance(error, SourceRefused) and error.wrong_address:
            advice = WRONG_ADDRESS
        trouble = self._of(project).trouble
        known = trouble.get(code)
        if known is None:
            trouble[code] = _Trouble(code, error.fact, now_ms, now_ms, at_once=at_once, advice=advice)
        else:
            known.again(error.fact, now_ms, at_once=at_once, advice=advice)

    def _delivered(self, known: _Project) -> None:
        known.trouble.pop(Code.DESTINATION_FAILING, None)
        known.trouble.pop(Code.DESTINATION_REFUSED, None)

    def _of(self, project: str) -> _Project:
        return self._projects.setdefault(project, _Project())


def _code_of(error: BridgeError) -> Code:
    if isinstance(error, SourceRefused):
        return Code.SOURCE_REFUSED
    if isinstance(error, SourceError):
        return Code.SOURCE_FAILING
    if isinstance(error, DestinationRefused):
        return Code.DESTINATION_REFUSED
    if isinstance(error, DestinationError):
        return Code.DESTINATION_FAILING
    return Code.LEDGER_FAILING if isinstance(error, LedgerError) else Code.FAILING
