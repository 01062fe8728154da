"""Correlations on their way in."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Correlation, CorrelationOutcome, Registration, RemoteSpan
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otel_bridge.ledger import CorrelationKind, Ledger
    from otel_bridge.mapping.traceparent import Traceparent
    from otel_bridge.pipeline.observer import Observer
    from otel_bridge.times import Clock

START_S = 5.0
"""So long does a correlation wait for the ledger of a service that starts, in seconds."""
_LOOK_S = 0.05
_EXPIRE_EVERY_MS = 60_000


class CorrelationRegister:
    """Where correlations are registered.

    Args:
        ledger: Gives the ledger; None while the service starts, which is waited for, `START_S` at most.
        observer: Gives who hears of it; None while the service starts.
        clock: The time.
        keep_ms: For how long a correlation is kept.
    """

    def __init__(
        self,
        ledger: Callable[[], Ledger | None],
        observer: Callable[[], Observer | None],
        clock: Clock,
        keep_ms: int,
    ) -> None:
        self._ledger = ledger
        self._observer = observer
        self._clock = clock
        self._keep_ms = keep_ms
        self._expired_ms: int | None = None

    async def register(self, given: Sequence[tuple[CorrelationKind, str, Traceparent]]) -> list[Registration]:
        """Keep where calls belong, and say what came too late.

        Args:
            given: Each with what the key is, the key, and the application's span.

        Returns:
            In the same order.

        Raises:
            LedgerError: The ledger can't be used, or is not open yet.
        """
        ledger = await self._opened()
        now_ms = self._clock.now_ms()
        answers = await ledger.register(
            [
                Correlation(
                    kind,
                    key,
                    RemoteSpan(parent.trace_id, parent.span_id, parent.sampled),
                    now_ms + self._keep_ms,
                )
                for kind, key, parent in given
            ],
            now_ms,
        )
        self._tell(answers)
        await self._expire(ledger, now_ms)
        return answers

    async def _opened(self) -> Ledger:
        end_s = self._clock.monotonic_s() + START_S
        while (ledger := self._ledger()) is None:
            if self._clock.monotonic_s() >= end_s:
                raise LedgerError("The ledger is not open yet")
            await self._clock.sleep(_LOOK_S)
        return ledger

    def refused(self, count: int) -> None:
        """So many were not accepted."""
        self._count(None, "refused", count)

    def _tell(self, answers: Iterable[Registration]) -> None:
        counts = Counter((answer.outcome, answer.project) for answer in answers)
        for (outcome, project), count in counts.items():
            match outcome:
                case CorrelationOutcome.LATE:
                    self._count(project, "late", count)
                    event(
                        logging.WARNING,
                        "correlation_late",
                        f"{project}: {count} correlations came when their records had gone out without them; "
                        "OTEL_BRIDGE_CORRELATION_WAIT makes records wait longer",
                        project=project,
                        count=count,
                    )
                case CorrelationOutcome.CONFLICT:
                    self._count(project, "refused", count)
                case _:
                    self._count(project, "registered", count)

    async def _expire(self, ledger: Ledger, now_ms: int) -> None:
        if self._expired_ms is not None and abs(now_ms - self._expired_ms) < _EXPIRE_EVERY_MS:
            return
        self._expired_ms = now_ms
        unused = await ledger.expire_correlations(now_ms)
        if unused:
            self._count(None, "unused", unused)
            event(
                logging.WARNING,
                "correlation_unused",
                f"{unused} correlations expired unused: no project that is collected has their logs, or "
                "these had gone out before",
                count=unused,
            )

    def _count(self, project: str | None, outcome: str, count: int) -> None:
        observer = self._observer()
        if observer is not None and count:
            observer.correlations(project, outcome, count)
