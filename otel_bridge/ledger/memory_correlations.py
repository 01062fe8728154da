"""The correlations of a ledger in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.correlation_values import (
    Correlation,
    CorrelationKind,
    FailedAttempt,
    Outcome,
    Recollection,
    Registration,
    RemoteSpan,
    Settled,
)
from otel_bridge.ledger.limits import ATTEMPTS_KEPT_MS, MOST_CORRELATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Place = tuple[str, RemoteSpan | None]
"""Whose record it is, and the application's span that it stands under."""


@dataclass(slots=True)
class _Kept:
    correlation: Correlation
    used: bool = False


@dataclass(slots=True)
class _Project:
    settled: dict[str, tuple[Settled, int]] = field(default_factory=dict)
    failed: dict[tuple[bytes, str], tuple[FailedAttempt, int]] = field(default_factory=dict)
    correlated_ms: int | None = None


class MemoryCorrelations(ABC):
    """The part of a ledger in memory that knows correlations, and whether it is open."""

    def __init__(self) -> None:
        self._kept: dict[tuple[CorrelationKind, str], _Kept] = {}
        self._held: dict[str, _Project] = {}
        self._is_open = False

    async def open(self) -> None:
        """Make it usable."""
        self._is_open = True

    async def close(self) -> None:
        """Let go of it."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise LedgerError("The ledger in memory is not open")

    @abstractmethod
    def _delivered_place(self, log_id: str) -> Place | None:
        """Where a delivered record stands."""

    async def register(self, correlations: Sequence[Correlation], now_ms: int) -> list[Registration]:
        """See ``Ledger``."""
        self._check_open()
        answers = [self._registered(each, now_ms) for each in correlations]
        if len(self._kept) > MOST_CORRELATIONS:
            order = sorted(
                self._kept.items(), key=lambda item: (not item[1].used, item[1].correlation.expires_ms)
            )
            for key, _ in order[: len(self._kept) - MOST_CORRELATIONS]:
                del self._kept[key]
        return answers

    def _registered(self, correlation: Correlation, now_ms: int) -> Registration:
        key = (correlation.kind, correlation.key)
        kept = self._kept.get(key)
        if kept is not None and kept.correlation.expires_ms > now_ms:
            if kept.correlation.span != correlation.span:
                return Registration(Outcome.CONFLICT)
            expires_ms = max(kept.correlation.expires_ms, correlation.expires_ms)
            kept.correlation = replace(correlation, expires_ms=expires_ms)
            return Registration(Outcome.KNOWN)
        place = self._place(correlation.key) if correlation.kind is CorrelationKind.LOG_ID else None
        if place is None:
            self._kept[key] = _Kept(correlation)
            return Registration(Outcome.REGISTERED)
        project, span = place
        if span is not None and span.is_same(correlation.span):
            return Registration(Outcome.KNOWN)
        self._remembered(project).correlated_ms = now_ms
        return Registration(Outcome.LATE, project)

    def _place(self, log_id: str) -> Place | None:
        for name, project in self._held.items():
            if log_id in project.settled:
                return name, project.settled[log_id][0].remote
        return self._delivered_place(log_id)

    async def recall(
        self,
        project: str,
        *,
        log_ids: Collection[str],
        request_ids: Collection[str],
        attempt_keys: Collection[bytes],
        now_ms: int,
    ) -> Recollection:
        """See ``Ledger``."""
        self._check_open()
        held = self._held.get(project) or _Project()
        return Recollection(
            settled={each: held.settled[each][0] for each in log_ids if each in held.settled},
            by_log_id=self._spans(CorrelationKind.LOG_ID, log_ids, now_ms),
            by_request_id=self._spans(CorrelationKind.REQUEST_ID, request_ids, now_ms),
            failed=[each for (key, _), (each, _) in held.failed.items() if key in attempt_keys],
            correlated_ms=held.correlated_ms,
        )

    def _spans(self, kind: CorrelationKind, keys: Collection[str], now_ms: int) -> dict[str, RemoteSpan]:
        found = {key: self._kept.get((kind, key)) for key in keys}
        return {
            key: kept.correlation.span
            for key, kept in found.items()
            if kept is not None and kept.correlation.expires_ms > now_ms
        }

    async def settle(
        self,
        project: str,
        settled: Sequence[Settled],
        *,
        failed: Sequence[FailedAttempt] = (),
        used: Collection[tuple[CorrelationKind, str]] = (),
        now_ms: int,
    ) -> dict[str, Settled]:
        """See ``Ledger``."""
        self._check_open()
        held = self._remembered(project)
        for each in settled:
            there, since_ms = held.settled.get(each.log_id, (each, now_ms))
            if each.retries and not there.retries:
                there = replace(there, retries=True, retry_of=each.retry_of)
            held.settled[each.log_id] = (there, since_ms)
        for attempt in failed:
            held.failed.setdefault((attempt.key, attempt.log_id), (attempt, now_ms))
        for key in used:
            if key in self._kept:
                self._kept[key].used = True
        if used:
            held.correlated_ms = now_ms
        return {each.log_id: held.settled[each.log_id][0] for each in settled}

    def _forget_settled(self, project: str, log_ids: Collection[str]) -> None:
        """What was settled for records that are delivered now is done with."""
        held = self._remembered(project)
        for log_id in log_ids:
            held.settled.pop(log_id, None)

    def _drop_settled(self, project: str, before_ms: int, now_ms: int) -> None:
        """Drop what was settled long ago for records that never were delivered, and old failed attempts."""
        held = self._remembered(project)
        held.settled = {key: each for key, each in held.settled.items() if each[1] >= before_ms}
        horizon_ms = now_ms - ATTEMPTS_KEPT_MS
        held.failed = {key: each for key, each in held.failed.items() if each[1] >= horizon_ms}

    async def expire_correlations(self, now_ms: int) -> int:
        """See ``Ledger``."""
        self._check_open()
        expired = {key: kept for key, kept in self._kept.items() if kept.correlation.expires_ms <= now_ms}
        for key in expired:
            del self._kept[key]
        return sum(not kept.used for kept in expired.values())

    def _remembered(self, project: str) -> _Project:
        return self._held.setdefault(project, _Project())
