"""Which window comes next: pure functions over what the ledger says, in ms since the epoch.

A window is ``[from, to)``. The source is asked for ``[from, to]`` and the next window begins at ``to``, so
that adjoining windows share that one millisecond and no reading of an undocumented bound loses a record; the
ledger drops what was seen twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_bridge.ledger import Lane, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_RECORDS = 100
"""The most records in one page of the list, as documented."""

WINDOW_PAGES = 10
"""A window with more pages than this is split, so that a pass stays short and its memory bounded."""

FIRST_SPAN_MS = 60_000
"""A window that turns out too full is listed in vain: a new process begins with little time, and learns."""
LONGEST_SPAN_MS = 24 * 3_600_000
LOOK_BACK_MS = 30_000
"""How far before its window a poll looks at most: what comes later than that is found by the re-checks."""

_GOAL_SHARE = 0.6
_MERGED_RECORDS = WINDOW_PAGES * PAGE_RECORDS * 8 // 10
_SLACK_SHARE = 4
_LEAST_LOOK_BACK_MS = 2_000
_DEEP_LOOK_BACK_MS = 10_000
_PAGE_FILL = 0.8


@dataclass(slots=True)
class Span:
    """How much time the next new window should cover while catching up, learnt from the last ones."""

    ms: int = FIRST_SPAN_MS
    _left_ms: int = 0
    _left_records: int = 0

    def expect(self, length_ms: int, records: int) -> None:
        """So many records are in the stretch that comes next, by the source's own count."""
        self._left_ms, self._left_records = length_ms, max(records, 1)
        self.ms = max(1, min(self._expected_ms(WINDOW_PAGES), LONGEST_SPAN_MS))

    def _expected_ms(self, pages: int) -> int:
        """How much time so many pages cover, by what is left of the count; much where there is none."""
        if self._left_records <= 0 or self._left_ms <= 0:
            return LONGEST_SPAN_MS
        return round(_GOAL_SHARE * pages * PAGE_RECORDS * self._left_ms / self._left_records)

    def too_full(self, window: Window, covered_ms: int) -> None:
        """The window had more pages than one pass takes.

        Args:
            window: Which one.
            covered_ms: The stretch of time that the pages read so far lie in. In a list that is in order it
                tells how dense the records are; in any other it is about the whole window, and says nothing.
        """
        self.ms = max(1, min(window.length_ms // 2, covered_ms * 6 // 10))

    def collected(self, window: Window, records: int, pages: int = WINDOW_PAGES) -> None:
        """The window held this many records, and the next one may have so many pages."""
        self._left_ms -= window.length_ms
        self._left_records -= records
        if window.length_ms < self.ms:
            return  # it ended at the present, and says nothing of density
        density = max(records, 1) / window.length_ms
        goal = round(_GOAL_SHARE * pages * PAGE_RECORDS / density)
        # A window that is nearly empty says little of the next one, which may be the first that is not.
        growth = 4 if records >= PAGE_RECORDS // 2 else 2
        self.ms = max(1, min(goal, self.ms * growth, self._expected_ms(pages), LONGEST_SPAN_MS))


def next_head(  # noqa: PLR0913, PLR0917 - the facts that decide it
    project: str,
    watermark_ms: int | None,
    start_ms: int,
    now_ms: int,
    span_ms: int,
    edge_ms: int | None = None,
) -> Window | None:
    """The next new window of the live lane, or None where the watermark has reached the present.

    No window lies on both sides of ``edge_ms``, before which no re-check is needed: what is older is sealed
    at once, and not listed again with what is newer.
    """
    from_ms = start_ms if watermark_ms is None else watermark_ms
    to_ms = min(now_ms, from_ms + span_ms)
    if edge_ms is not None and from_ms < edge_ms:
        to_ms = min(to_ms, edge_ms)
    if to_ms <= from_ms:
        return None
    return Window(project, Lane.LIVE, from_ms, to_ms)


def look_back(window: Window, behind: Sequence[Window], *, deep: bool = True) -> int:
    """Where a poll begins to list, in ms since the epoch: some time before its window.

    A record that becomes visible a moment after its time, or after its call has ended if the time is that of
    its beginning, would miss its own window's poll and wait for the first re-check. So each poll lists again
    what costs it no page more. Where the records are dense that is little: then two seconds, and now and then
    ten, if one listing has room for them.

    Args:
        window: The poll's own.
        behind: The lane's windows that share time with ``LOOK_BACK_MS`` before it, in order. Only the
            unbroken row of those counts that are collected and open with no re-check due: that lists them
            anyway, and may seal them.
        deep: Whether dense records are looked back over for ten seconds rather than two.
    """
    reach_ms, records = window.from_ms, 0
    for each in reversed(behind):
        if each.to_ms != reach_ms or not each.passes or each.due_ms is None or each.due_ms <= window.to_ms:
            break
        reach_ms = each.from_ms
        records += each.records
    if not records:
        return max(reach_ms, window.from_ms - LOOK_BACK_MS)
    density = records / (window.from_ms - reach_ms)
    own = density * window.length_ms
    beside = _PAGE_FILL * (PAGE_RECORDS - own % PAGE_RECORDS)
    least_ms = _DEEP_LOOK_BACK_MS if deep else _LEAST_LOOK_BACK_MS
    wanted = min(max(beside, density * least_ms), max(0.0, _MERGED_RECORDS - own))
    return max(reach_ms, window.from_ms - min(LOOK_BACK_MS, int(wanted / density)))


def pages_of(records: int) -> int:
    """How many list requests so many records took."""
    return max(1, -(-records // PAGE_RECORDS))


def completed(window: Window, ages_ms: Sequence[int], now_ms: int, records: int) -> Window:
    """The window after a pass that listed it to its end: with the next re-check's time, or sealed.

    A re-check whose age the pass has already reached is not made again: the pass was it.
    """
    age = now_ms - window.to_ms
    due = next((window.to_ms + each for each in ages_ms if each > age), None)
    return replace(window, passes=window.passes + 1, due_ms=due, records=records)


def recheck_group(due: Sequence[Window], now_ms: int, *, patient: bool) -> list[Window]:
    """The due windows that one list request should cover, oldest first; empty for none yet.

    Quiet neighbours are listed as one. ``patient`` lets a group grow for a quarter of its re-check's age, so
    that there are neighbours to join; without it whatever is due is taken.
    """
    groups: list[list[Window]] = []
    for window in due:
        group = groups[-1] if groups else []
        if (
            group
            and group[-1].to_ms == window.from_ms
            and sum(each.records for each in group) + window.records <= _MERGED_RECORDS
        ):
            group.append(window)
        else:
            groups.append([window])
    for index, group in enumerate(groups):
        full = index + 1 < len(groups) and groups[index + 1][0].from_ms == group[-1].to_ms
        if not patient or full or any(_overripe(window, now_ms) for window in group):
            return group
    return []


def _overripe(window: Window, now_ms: int) -> bool:
    due = window.due_ms or 0
    return now_ms >= due + (due - window.to_ms) // _SLACK_SHARE


def joined(group: Sequence[Window]) -> Window:
    """Adjoining windows as one."""
    first, last = group[0], group[-1]
    return replace(
        first,
        to_ms=last.to_ms,
        passes=min(window.passes for window in group),
        records=sum(window.records for window in group),
    )


def halves(window: Window) -> tuple[Window, Window]:
    """A window too full for one pass as two. The records counted so far stay with the first."""
    middle = window.from_ms + window.length_ms // 2
    return replace(window, to_ms=middle), replace(window, from_ms=middle, records=0)
