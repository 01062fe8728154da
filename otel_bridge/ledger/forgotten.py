"""Delivered ids that are no longer kept: pure rules for counting them, which every ledger keeps.

Of each UTC day the ledger remembers how many tool calls it has forgotten, and between which times. It can't
tell a record that comes there afterwards (delivered, or set aside) from one that it has forgotten: such
records are counted, and make the count a span from ``least`` to ``most``.

All times are ms since the epoch, all spans half open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_bridge.ledger.line import DAY_MS, merged
from otel_bridge.ledger.values import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_bridge.ledger.values import DeliveredRecord, SetAside


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten of one day.

    Attributes:
        from_ms: The time of the oldest.
        to_ms: One ms after the time of the newest.
        tool_calls: How many of them were tool calls; None where nobody has counted.
        again: Tool calls between these times that came afterwards.
    """

    from_ms: int
    to_ms: int
    tool_calls: int | None
    again: int = 0

    def with_more(self, other: Forgotten) -> Forgotten:
        """Both together."""
        counted = self.tool_calls is not None and other.tool_calls is not None
        return Forgotten(
            min(self.from_ms, other.from_ms),
            max(self.to_ms, other.to_ms),
            (self.tool_calls or 0) + (other.tool_calls or 0) if counted else None,
            self.again + other.again,
        )

    def holds(self, record: DeliveredRecord | SetAside) -> bool:
        """Whether this record may be one that was forgotten, and counts."""
        return record.tool_call and self.from_ms <= record.time_ms < self.to_ms


def day_of(time_ms: int) -> int:
    """The start of the UTC day of a moment."""
    return time_ms - time_ms % DAY_MS


def by_day(records: Iterable[tuple[int, bool]]) -> dict[int, Forgotten]:
    """What forgetting these records comes to.

    Args:
        records: The time of each, and whether it is a tool call.

    Returns:
        By the start of the day.
    """
    days: dict[int, Forgotten] = {}
    for time_ms, tool_call in records:
        one = Forgotten(time_ms, time_ms + 1, int(tool_call))
        day_ms = day_of(time_ms)
        days[day_ms] = days[day_ms].with_more(one) if day_ms in days else one
    return days


def tool_calls(
    kept: int, set_aside: dict[str, int], forgotten: Iterable[Forgotten], from_ms: int, to_ms: int
) -> ToolCalls:
    """What the ledger knows of a range.

    Args:
        kept: Delivered tool calls of the range whose ids are kept.
        set_aside: Tool calls of the range that are set aside, by reason.
        forgotten: Of each day.
        from_ms: Where the range begins.
        to_ms: Where it ends.
    """
    least = kept + sum(set_aside.values())
    most: int | None = least
    spans = []
    for day in forgotten:
        if day.from_ms >= to_ms or day.to_ms <= from_ms:
            continue
        spans.append((max(day.from_ms, from_ms), min(day.to_ms, to_ms)))
        if from_ms <= day.from_ms and day.to_ms <= to_ms:
            # Where the range cuts through, all of them may lie on its other side.
            least += max(0, (day.tool_calls or 0) - day.again)
        most = None if most is None or day.tool_calls is None else most + day.tool_calls
    return ToolCalls(least, most, set_aside, tuple(merged(sorted(spans))))


def once_more(day: Forgotten, count: int) -> Forgotten:
    """The day after so many records came that it may hold."""
    return replace(day, again=day.again + count)
