"""The log entries of one project: kept in order of time, looked up, filtered, paged and counted."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from otel_bridge.emulator.records import TOOL_EXECUTION, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.emulator.queries import Filter, ListQuery, UsageQuery

Order = Literal["newest", "oldest", "shuffled"]
# A list that is paged through is matched once; a new entry empties the cache.
_REMEMBERED_LISTS: Final = 16


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list.

    Attributes:
        next_page: The page after it; None where it is the last.
    """

    records: Sequence[Record]
    next_page: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of a range of time.

    Attributes:
        tool_calls: Tool calls, failed ones too, and meta tools as well as what they ran.
        sessions: Distinct sessions among them.
        instant_charge: USD, exact.
    """

    tool_calls: int
    sessions: int
    instant_charge: Decimal


class LogStore:
    """The log entries of one project.

    Args:
        records: What it holds at first.
        to_inclusive: Whether a time range holds its end; the official page does not say.
        order: In which order a list comes; the official page does not say.
    """

    def __init__(
        self, records: Iterable[Record] = (), *, to_inclusive: bool = False, order: Order = "newest"
    ) -> None:
        self._records = sorted(records, key=lambda record: record.timestamp_ms)
        self._times = [record.timestamp_ms for record in self._records]
        self._by_id = {record.log_id: record for record in self._records}
        if len(self._by_id) != len(self._records):
            raise ValueError("two records have the same log id")
        self._bisect_to = bisect_right if to_inclusive else bisect_left
        self._order = order
        self._lists: dict[tuple[tuple[Filter, ...], float | None, float | None], Sequence[Record]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Make one more entry visible; its time may be in the past.

        Raises:
            ValueError: There is one of this log id.
        """
        if record.log_id in self._by_id:
            raise ValueError("there is a record of this log id")
        place = bisect_right(self._times, record.timestamp_ms)
        self._records.insert(place, record)
        self._times.insert(place, record.timestamp_ms)
        self._by_id[record.log_id] = record
        self._lists.clear()

    def get(self, log_id: str) -> Record | None:
        """The entry of this id."""
        return self._by_id.get(log_id)

    def log_ids(self) -> list[str]:
        """All ids, oldest entry first."""
        return [record.log_id for record in self._records]

    def page(self, query: ListQuery) -> Page:
        """One page of the list as it is now: between two pages, new entries shift what follows."""
        records = self._list(query)
        end = query.page * query.limit
        return Page(records[end - query.limit : end], query.page + 1 if end < len(records) else None)

    def usage(self, query: UsageQuery) -> Usage:
        """Count the tool calls of ``[from, to)``."""
        start, end = bisect_left(self._times, query.from_ms), bisect_left(self._times, query.to_ms)
        calls, sessions, charge = 0, set(), Decimal(0)
        for record in self._records[start:end]:
            if (
                record.type == TOOL_EXECUTION
                and (not query.user_ids or record.user_id in query.user_ids)
                and (not query.session_ids or record.session_id in query.session_ids)
            ):
                calls += 1
                sessions.add(record.session_id)
                charge += Decimal(record.instant_charge or 0)
        sessions.discard("")
        return Usage(calls, len(sessions), charge)

    def _list(self, query: ListQuery) -> Sequence[Record]:
        key = (query.filters, query.from_ms, query.to_ms)
        records = self._lists.get(key)
        if records is None:
            if len(self._lists) >= _REMEMBERED_LISTS:
                self._lists.clear()
            records = self._lists[key] = self._ordered(self._matching(query))
        return records

    def _matching(self, query: ListQuery) -> list[Record]:
        start = 0 if query.from_ms is None else bisect_left(self._times, query.from_ms)
        end = len(self._times) if query.to_ms is None else self._bisect_to(self._times, query.to_ms)
        records = self._records[start:end]
        for condition in query.filters:
            records = [record for record in records if matches(record, condition)]
        return records

    def _ordered(self, records: list[Record]) -> list[Record]:
        if self._order == "newest":
            records.reverse()
        elif self._order == "shuffled":
            # The same at every request, and without a relation to time.
            records.sort(key=lambda record: zlib.crc32(record.log_id.encode()))
        return records


def matches(record: Record, condition: Filter) -> bool:
    """Whether an entry meets one condition. A field that an entry does not have counts as an empty text."""
    value: str = getattr(record, condition.field)
    match condition.operator:
        case "==":
            return value == condition.value
        case "!=":
            return value != condition.value
        case "contains":
            return condition.value in value
        case _:
            return condition.value not in value
