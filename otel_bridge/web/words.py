"""Sentences and numbers for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Reason as Aside
from otel_bridge.times import format_duration, format_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.ledger import Verification
    from otel_bridge.receiver.budget import BudgetState
    from otel_bridge.web.snapshot import ProjectSnapshot, Snapshot

_NS_PER_MS: Final = 1_000_000
_SECOND_MS: Final = 1_000

ASIDE: Final = {
    Aside.NOT_FOUND: "listed, but its detail is not there",
    Aside.SOURCE_FAILED: "Composio fails when asked for it",
    Aside.UNREADABLE: "not readable",
    Aside.UNMAPPABLE: "can't be made into a span",
    Aside.REFUSED: "refused by the destination",
    Aside.WAITING_FOR_PARENT: "waiting for its parent",
    Aside.WAITING_FOR_CORRELATION: "waiting for its application to say where it belongs",
}
"""Why a record is set aside."""
_WAITING: Final = {
    Aside.WAITING_FOR_PARENT: "a parent",
    Aside.WAITING_FOR_CORRELATION: "their application",
}
_NEARLY_ALL: Final = 0.95


def ago(ms: int) -> str:
    """How long ago, in words."""
    return "now" if ms < _SECOND_MS else f"{rounded(ms)} ago"


def rounded(ms: int) -> str:
    """A duration in whole seconds, one at least, two units at most."""
    return format_duration(max(_SECOND_MS, ms // _SECOND_MS * _SECOND_MS))


def duration(ns: int) -> str:
    """How long a call took."""
    return format_length(ns / _NS_PER_MS)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sentence(project: ProjectSnapshot) -> str:
    """A project's state: "3 s behind, 1,204 delivered in the last hour, nothing set aside"."""
    delivered = sum(minute.delivered for minute in project.hour)
    known = project.ledger
    parts = [
        behind(project.lag_ms),
        f"{delivered:,} delivered in the last hour",
        set_aside(known.set_aside if known else {}),
    ]
    lost = missing(known.verification) if known else 0
    return ", ".join([*parts, f"{lost:,} missing"] if lost else parts)


def behind(lag_ms: int | None) -> str:
    """How far behind, in words."""
    if lag_ms is None:
        return "nothing collected yet"
    return "up to date" if lag_ms < _SECOND_MS else f"{rounded(lag_ms)} behind"


def set_aside(counts: Mapping[str, int]) -> str:
    """How many records are set aside; those that wait for something come by themselves and are told apart."""
    held = stuck(counts)
    parts = [f"{held:,} set aside" if held else "nothing set aside"]
    for reason, what in _WAITING.items():
        if counts.get(reason):
            parts.append(f"{counts[reason]:,} waiting for {what}")
    return ", ".join(parts)


def stuck(counts: Mapping[str, int]) -> int:
    """How many records are set aside for another reason than that they wait for something to come."""
    return sum(number for reason, number in counts.items() if reason not in _WAITING)


def by_reason(snapshot: Snapshot) -> Counter[str]:
    """How many records of all projects are set aside, by reason."""
    counts: Counter[str] = Counter()
    for project in snapshot.projects:
        counts.update(project.ledger.set_aside if project.ledger else {})
    return counts


def reasons(counts: Mapping[str, int]) -> str:
    """Why records are set aside, the commonest first."""
    common = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number:,} {ASIDE[Aside(reason)]}" for reason, number in common if number)


def missing(verification: Verification | None) -> int:
    """How many records the last daily comparison found missing and did not fetch."""
    return 0 if verification is None else max(0, verification.missing - verification.repaired)


def budget(state: BudgetState) -> str:
    """What of the request budget is used, in words."""
    window = rounded(round(state.window_s * _SECOND_MS))
    if state.limit is None:
        return f"{count(state.used, 'request')} in the last {window}; Composio has named no limit"
    words = f"{state.used:,} of the bridge's {state.allowed or 0:,} requests used in the last {window}"
    if state.remaining is not None:
        words += f"; {state.remaining:,} of the organisation's {state.limit:,} left"
    return words


def waits(state: BudgetState, now_ms: int) -> str | None:
    """What holds requests back, in words; None where nothing does."""
    if state.blocked_until_ms is not None:
        return f"No request is sent for {rounded(state.blocked_until_ms - now_ms)}, to leave the rest."
    if state.allowed and state.waiting and state.used >= state.allowed * _NEARLY_ALL:
        return "The bridge waits for its share, which OTEL_BRIDGE_RATE_SHARE sets."
    return None
