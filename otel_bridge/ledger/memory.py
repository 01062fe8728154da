"""A ledger that lives as long as its object: for tests, and for the demo. Nothing is written anywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.correlation_values import RemoteSpan
from otel_bridge.ledger.forgotten import Forgotten, by_day, day_of, once_more, tool_calls
from otel_bridge.ledger.limits import fit_delivered, fit_set_aside, one_line
from otel_bridge.ledger.line import (
    KEPT_MS,
    OVERLAP_MS,
    check_all_there,
    check_replaced,
    check_same_time,
    check_window,
    joined,
    named,
)
from otel_bridge.ledger.memory_correlations import MemoryCorrelations, Place
from otel_bridge.ledger.values import (
    DeliveredRecord,
    Lane,
    ProjectStatus,
    SetAside,
    ToolCalls,
    Verification,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_Line = dict[int, Window]  # a lane's windows by their start


@dataclass(slots=True)
class _Project:
    lines: dict[Lane, _Line] = field(default_factory=lambda: {lane: {} for lane in Lane})
    delivered: dict[str, DeliveredRecord] = field(default_factory=dict)
    delivered_in_all: int = 0
    set_aside: dict[str, SetAside] = field(default_factory=dict)
    forgotten: dict[int, Forgotten] = field(default_factory=dict)  # by the start of the day
    verification: Verification | None = None
    last_error: str | None = None
    last_error_ms: int | None = None
    last_success_ms: int | None = None


class MemoryLedger(MemoryCorrelations):
    """The contract of ``Ledger`` in plain dicts; what it holds survives ``close`` and ``open``."""

    def __init__(self) -> None:
        super().__init__()
        self._projects: dict[str, _Project] = {}

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────
    async def watermark_ms(self, project: str, lane: Lane) -> int | None:
        """See ``Ledger``."""
        ordered = _ordered(self._look(project).lines[lane])
        if ordered and not ordered[0].passes:
            return ordered[0].from_ms
        return _run_end(ordered, [window.passes > 0 for window in ordered])

    async def windows(
        self, project: str, lane: Lane, *, from_ms: int | None = None, to_ms: int | None = None
    ) -> list[Window]:
        """See ``Ledger``."""
        return [
            window
            for window in _ordered(self._look(project).lines[lane])
            if (to_ms is None or window.from_ms < to_ms) and (from_ms is None or window.to_ms > from_ms)
        ]

    async def due_windows(self, project: str, lane: Lane, now_ms: int, limit: int = 1000) -> list[Window]:
        """See ``Ledger``."""
        ordered = _ordered(self._look(project).lines[lane])
        return [w for w in ordered if w.due_ms is not None and w.due_ms <= now_ms][:limit]

    async def add_windows(self, windows: Sequence[Window]) -> None:
        """See ``Ledger``."""
        for window in windows:
            check_window(window, window.project)
        for window in windows:
            line = self._hold(window.project).lines[window.lane]
            if _alone(line, window):
                line[window.from_ms] = window

    async def replace_windows(self, old: Sequence[Window], new: Sequence[Window]) -> None:
        """See ``Ledger``."""
        check_same_time(old, new)
        if new:
            lines = self._hold(new[0].project).lines
            lines[new[0].lane] = _replaced(lines[new[0].lane], old, new)

    # ── records ──────────────────────────────────────────────────────────────────────────────────────
    async def known(self, project: str, log_ids: Collection[str]) -> set[str]:
        """See ``Ledger``."""
        held = self._look(project)
        return {log_id for log_id in log_ids if log_id in held.delivered or log_id in held.set_aside}

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        """See ``Ledger``."""
        delivered = self._look(project).delivered
        return {log_id: delivered[log_id] for log_id in log_ids if log_id in delivered}

    async def commit(
        self,
        project: str,
        *,
        delivered: Sequence[DeliveredRecord] = (),
        set_aside: Sequence[SetAside] = (),
        window: Window | None = None,
        replaces: Sequence[Window] = (),
    ) -> None:
        """See ``Ledger``."""
        held = self._hold(project)
        if window is not None:
            # First of all, since it alone can fail.
            check_window(window, project)
            check_replaced(window, replaces)
            there = {(each.from_ms, each.to_ms) for each in held.lines[window.lane].values()}
            check_all_there(window, replaces, sum((each.from_ms, each.to_ms) in there for each in replaces))
            line = held.lines[window.lane]
            own = [line[window.from_ms]] if window.from_ms in line else []
            held.lines[window.lane] = _replaced(line, [*replaces, *own], [window])
        for record in map(fit_delivered, delivered):
            _count_again(held, record)
            if record.log_id not in held.delivered:
                held.delivered[record.log_id] = record
                held.delivered_in_all += 1
            held.set_aside.pop(record.log_id, None)
        self._forget_settled(project, [each.log_id for each in delivered])
        for aside in map(fit_set_aside, set_aside):
            _count_again(held, aside)
            if aside.log_id not in held.delivered:
                since_ms = held.set_aside.get(aside.log_id, aside).since_ms
                held.set_aside[aside.log_id] = replace(aside, since_ms=since_ms)

    async def set_aside(
        self, project: str, *, due_ms: int | None = None, limit: int = 1000
    ) -> list[SetAside]:
        """See ``Ledger``."""
        wanted = [
            record
            for record in self._look(project).set_aside.values()
            if due_ms is None or (record.retry_ms is not None and record.retry_ms <= due_ms)
        ]
        return sorted(wanted, key=_by_age)[:limit]

    async def put_back(self, project: str, log_ids: Collection[str] | None, now_ms: int) -> int:
        """See ``Ledger``."""
        held = self._hold(project).set_aside
        chosen = [log_id for log_id in held if log_ids is None or log_id in log_ids]
        held.update({log_id: replace(held[log_id], retry_ms=now_ms) for log_id in chosen})
        return len(chosen)

    async def tool_calls(self, project: str, from_ms: int, to_ms: int) -> ToolCalls:
        """See ``Ledger``."""
        held = self._look(project)

        def counts(record: DeliveredRecord | SetAside) -> bool:
            return record.tool_call and from_ms <= record.time_ms < to_ms

        kept = sum(map(counts, held.delivered.values()))
        aside = _by_reason(filter(counts, held.set_aside.values()))
        return tool_calls(kept, aside, held.forgotten.values(), from_ms, to_ms)

    async def prune(self, project: str, before_ms: int, now_ms: int) -> int:
        """See ``Ledger``."""
        held = self._hold(project)
        windows = [window for line in held.lines.values() for window in line.values()]
        covers = [(w.from_ms - OVERLAP_MS, w.to_ms + OVERLAP_MS) for w in windows if not w.sealed]
        old = [
            record
            for record in held.delivered.values()
            if record.time_ms < before_ms and not any(start <= record.time_ms < end for start, end in covers)
        ]
        for record in old:
            del held.delivered[record.log_id]
        for day_ms, day in by_day((record.time_ms, record.tool_call) for record in old).items():
            there = held.forgotten.get(day_ms)
            held.forgotten[day_ms] = there.with_more(day) if there else day
        for line in held.lines.values():
            for group, window in list(joined(_ordered(line))):
                for part in group:
                    del line[part.from_ms]
                line[window.from_ms] = window
        if windows:
            _drop_old(held, min(now_ms, max(window.to_ms for window in windows)) - KEPT_MS)
        self._drop_settled(project, before_ms, now_ms)
        return len(old)

    # ── state for people ─────────────────────────────────────────────────────────────────────────────
    async def note_success(self, project: str, now_ms: int) -> None:
        """See ``Ledger``."""
        held = self._hold(project)
        held.last_success_ms, held.last_error, held.last_error_ms = now_ms, None, None

    async def note_error(self, project: str, message: str, now_ms: int) -> None:
        """See ``Ledger``."""
        held = self._hold(project)
        held.last_error, held.last_error_ms = one_line(message), now_ms

    async def note_verification(self, project: str, verification: Verification) -> None:
        """See ``Ledger``."""
        self._hold(project).verification = verification

    async def status(self, projects: Sequence[str]) -> list[ProjectStatus]:
        """See ``Ledger``."""
        return [await self._status(name) for name in dict.fromkeys([*projects, *sorted(self._projects)])]

    async def _status(self, project: str) -> ProjectStatus:
        held = self._look(project)
        live = _ordered(held.lines[Lane.LIVE])
        return ProjectStatus(
            project=project,
            watermark_ms=await self.watermark_ms(project, Lane.LIVE),
            sealed_ms=_run_end(live, [window.sealed for window in live]),
            delivered=held.delivered_in_all,
            set_aside=_by_reason(held.set_aside.values()),
            open_windows=sum(not w.sealed for line in held.lines.values() for w in line.values()),
            last_error=held.last_error,
            last_error_ms=held.last_error_ms,
            last_success_ms=held.last_success_ms,
            verification=held.verification,
        )

    def _delivered_place(self, log_id: str) -> Place | None:
        for name, held in self._projects.items():
            record = held.delivered.get(log_id)
            if record is not None:
                parent = record.parent_span_id
                return name, None if parent is None else RemoteSpan(record.trace_id, parent)
        return None

    def _look(self, project: str) -> _Project:
        self._check_open()
        return self._projects.get(project) or _Project()

    def _hold(self, project: str) -> _Project:
        held = self._look(project)
        return self._projects.setdefault(project, held)


def _ordered(line: _Line) -> list[Window]:
    return sorted(line.values(), key=attrgetter("from_ms"))


def _by_age(record: SetAside) -> tuple[int, bytes]:
    return record.time_ms, record.log_id.encode("utf-8", "surrogatepass")


def _by_reason(records: Iterable[SetAside]) -> dict[str, int]:
    counts = Counter(record.reason.value for record in records)
    return {reason: counts[reason] for reason in sorted(counts)}


def _run_end(ordered: Sequence[Window], wanted: Sequence[bool]) -> int | None:
    """The end of the run of wanted windows that begins with the first; None where that is unwanted."""
    if not ordered or not wanted[0]:
        return None
    for (window, following), wants_following in zip(pairwise(ordered), wanted[1:], strict=True):
        if not wants_following or following.from_ms != window.to_ms:
            return window.to_ms
    return ordered[-1].to_ms


def _alone(line: _Line, window: Window) -> bool:
    return all(other.to_ms <= window.from_ms or other.from_ms >= window.to_ms for other in line.values())


def _replaced(line: _Line, old: Iterable[Window], new: Iterable[Window]) -> _Line:
    gone = {(window.from_ms, window.to_ms) for window in old}
    kept = {start: window for start, window in line.items() if (start, window.to_ms) not in gone}
    for window in new:
        if not _alone(kept, window):
            raise LedgerError(f"The {named(window)} shares time with another one that it does not replace")
        kept[window.from_ms] = window
    return kept


def _count_again(held: _Project, record: DeliveredRecord | SetAside) -> None:
    day_ms = day_of(record.time_ms)
    day = held.forgotten.get(day_ms)
    known = record.log_id in held.delivered or record.log_id in held.set_aside
    if day and not known and day.holds(record):
        held.forgotten[day_ms] = once_more(day, 1)


def _drop_old(held: _Project, horizon_ms: int) -> None:
    for lane, line in held.lines.items():
        held.lines[lane] = {
            start: window for start, window in line.items() if not window.sealed or window.to_ms > horizon_ms
        }
    held.set_aside = {
        log_id: record
        for log_id, record in held.set_aside.items()
        if record.time_ms >= horizon_ms or record.since_ms >= horizon_ms
    }
    held.forgotten = {day_ms: day for day_ms, day in held.forgotten.items() if day.to_ms > horizon_ms}
