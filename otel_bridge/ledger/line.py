"""Windows on a line of time: pure rules that every ledger keeps.

All times are ms since the epoch, all spans half open. Windows of one project's lane never overlap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import LedgerError
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_bridge.ledger.values import Window

DAY_MS: Final = 86_400_000
KEPT_MS: Final = 400 * DAY_MS
"""How long sealed windows are kept: the source itself keeps logs for up to a year."""
OVERLAP_MS: Final = 1_000
"""How far beyond an open window ids are kept: its passes list a little more than the window itself."""
FIRST_MS: Final = -(2**63)
LAST_MS: Final = 2**63 - 1

Span = tuple[int, int]


def named(window: Window) -> str:
    """A window for a message."""
    span = f"{format_time(window.from_ms)} to {format_time(window.to_ms)}"
    return f"window {span} of project {window.project!r} ({window.lane})"


def check_window(window: Window, project: str) -> None:
    """Guard against a caller's mistake: a window ends after it begins, and belongs to the project.

    Raises:
        LedgerError: It does not.
    """
    if window.to_ms <= window.from_ms:
        raise LedgerError(f"The {named(window)} has no length")
    if window.project != project:
        raise LedgerError(f"The {named(window)} can't be stored for project {project!r}")


def check_replaced(window: Window, replaces: Iterable[Window]) -> None:
    """Guard against a caller's mistake: what a window replaces is of its own lane.

    Raises:
        LedgerError: It is of another project or lane.
    """
    for old in replaces:
        if (old.project, old.lane) != (window.project, window.lane):
            raise LedgerError(f"The {named(window)} can't replace the {named(old)}")


def check_all_there(window: Window, replaces: Sequence[Window], found: int) -> None:
    """Guard against a window that was planned from others which have been taken back meanwhile.

    Args:
        window: What is to be stored.
        replaces: In whose place.
        found: How many of them there are.

    Raises:
        LedgerError: One is not there any more.
    """
    if found != len(replaces):
        raise LedgerError(f"The {named(window)} was planned anew meanwhile; it is collected again")


def check_same_time(old: Sequence[Window], new: Sequence[Window]) -> None:
    """Guard against a caller's mistake: a split or a merge covers the same time, each moment of it once.

    Raises:
        LedgerError: Time would appear, vanish or be covered twice, or the windows are of several lanes.
    """
    if not old and not new:
        return
    if not old or not new:
        raise LedgerError(
            f"The {named((*old, *new)[0])} can't be split or merged into nothing, or come from it"
        )
    for window in (*old, *new):
        check_window(window, old[0].project)
    check_replaced(new[0], (*old, *new))
    if merged(spans(old)) != merged(spans(new)) or sum(w.length_ms for w in new) != sum(
        to_ms - from_ms for from_ms, to_ms in merged(spans(new))
    ):
        raise LedgerError(
            f"A split or merge that begins with the {named(old[0])} does not cover the same time"
        )


def spans(windows: Iterable[Window]) -> list[Span]:
    """The windows' stretches of time, in order."""
    return sorted((window.from_ms, window.to_ms) for window in windows)


def merged(ordered: Iterable[Span]) -> list[Span]:
    """Join spans that overlap or adjoin; they come in order."""
    result: list[Span] = []
    for from_ms, to_ms in ordered:
        if result and from_ms <= result[-1][1]:
            result[-1] = (result[-1][0], max(to_ms, result[-1][1]))
        else:
            result.append((from_ms, to_ms))
    return result


def uncovered(open_spans: Iterable[Span], before_ms: int) -> Iterator[Span]:
    """The time before a moment that no open window covers, with a margin of ``OVERLAP_MS`` around each."""
    from_ms = FIRST_MS
    for start_ms, end_ms in merged((start - OVERLAP_MS, end + OVERLAP_MS) for start, end in open_spans):
        if start_ms >= before_ms:
            break
        yield from_ms, start_ms
        from_ms = end_ms
    if from_ms < before_ms:
        yield from_ms, before_ms


def joined(ordered: Iterable[Window]) -> Iterator[tuple[list[Window], Window]]:
    """Which sealed windows become one: those that adjoin within one UTC day.

    Args:
        ordered: Windows of one lane, in order of time.

    Yields:
        Two or more windows, and the one that takes their place: the sum of their records, and the fewest
        passes that any of them had.
    """
    group: list[Window] = []
    for window in ordered:
        if group and not _joins(group, window):
            if len(group) > 1:
                yield group, _one(group)
            group = []
        if window.sealed:
            group.append(window)
    if len(group) > 1:
        yield group, _one(group)


def _joins(group: Sequence[Window], window: Window) -> bool:
    same_day = group[0].from_ms // DAY_MS == (window.to_ms - 1) // DAY_MS
    return window.sealed and same_day and group[-1].to_ms == window.from_ms


def _one(group: Sequence[Window]) -> Window:
    return replace(
        group[0],
        to_ms=group[-1].to_ms,
        passes=min(window.passes for window in group),
        records=sum(window.records for window in group),
    )
