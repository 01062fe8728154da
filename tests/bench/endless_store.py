"""A project's log that takes no memory for what it holds: a block of records, repeated under other ids."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from otel_bridge.emulator.generation import generate
from otel_bridge.emulator.store import LogStore, Page, Usage
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from otel_bridge.emulator.queries import ListQuery, UsageQuery
    from otel_bridge.emulator.records import Record

_MARK = 5
_CHANGING = re.compile(
    rb'"log_(?=[\w-]{12}")|"trs_|"(?:request|trace)_id":"\w{5}|"timestamp":"[^"]*"|"(?:start|end)_time":[\d.]+'
)


class EndlessStore(LogStore):
    """Serves ``count`` records that lie ``1 / rate`` seconds apart on average and end at ``end_ms``.

    Args:
        count: How many; a multiple of ``block``, or less than it.
        rate: Records a second.
        end_ms: In ms since the epoch.
        block: How many of them are made up; the others are these at other times, with other ids.
        series: Tells the stores of one source apart, 0 or more.

    Raises:
        ValueError: The last block would not be whole.
    """

    def __init__(self, count: int, rate: float, end_ms: int, *, block: int, series: int = 0) -> None:
        super().__init__()
        self._count = count
        size = min(block, count)
        if count % size:
            raise ValueError(f"{count} records can't be made of blocks of {size}")
        self._block_ms = round(size / rate * 1000)
        self._block = generate(size, series + 1, 0, self._block_ms - 1)
        self._block_times = [each.timestamp_ms for each in self._block]
        self._places = {each.log_id: place for place, each in enumerate(self._block)}
        self._first_ms = end_ms - round(count / rate * 1000)
        self._mark = series * (count // len(self._block) + 1)

    def __len__(self) -> int:
        return self._count

    def get(self, log_id: str) -> Record | None:
        """The entry of this id, made up anew."""
        place = self._places.get("log_" + log_id[4 + _MARK :])
        if place is None:
            return None
        number = (int(log_id[4 : 4 + _MARK], 16) - self._mark) * len(self._block) + place
        return self._record(number) if 0 <= number < self._count else None

    def log_ids(self) -> list[str]:
        """All ids, oldest entry first."""
        return [self._id(number) for number in range(self._count)]

    def page(self, query: ListQuery) -> Page:
        """One page, newest first; filters are not known here."""
        first = 0 if query.from_ms is None else self._from(query.from_ms)
        end = self._count if query.to_ms is None else self._from(query.to_ms)
        newest = end - (query.page - 1) * query.limit
        oldest = max(newest - query.limit, first)
        records = [self._record(number) for number in range(newest - 1, oldest - 1, -1)]
        return Page(records, query.page + 1 if oldest > first else None)

    def usage(self, query: UsageQuery) -> Usage:
        """How many there are in a range, whatever they are."""
        return Usage(self._from(query.to_ms) - self._from(query.from_ms), 0, Decimal(0))

    def _from(self, ms: float) -> int:
        """The number of the first record that is not before a time."""
        block, within_ms = divmod(ms - self._first_ms, self._block_ms)
        number = int(block) * len(self._block) + bisect_left(self._block_times, within_ms)
        return min(max(number, 0), self._count)

    def _id(self, number: int) -> str:
        block, place = divmod(number, len(self._block))
        return f"log_{block + self._mark:0{_MARK}x}{self._block[place].log_id[4:]}"

    def _record(self, number: int) -> Record:
        block, place = divmod(number, len(self._block))
        made = self._block[place]
        shift_ms = self._first_ms + block * self._block_ms
        time_ms = made.timestamp_ms + shift_ms
        stamp = b'"timestamp":"%b"' % format_time(time_ms).encode()
        mark = b"%0*x" % (_MARK, block + self._mark)

        def changed(found: re.Match[bytes]) -> bytes:
            text = found[0]
            if text.startswith(b'"timestamp'):
                return stamp
            name, separator, value = text.partition(b":")
            if not separator:
                return text + mark
            if value.startswith(b'"'):
                return b'%b:"%b' % (name, mark)
            return b"%b:%b" % (name, format(float(value) + shift_ms, ".3f").encode())

        entry, rest = _CHANGING.sub(changed, made.entry), _CHANGING.sub(changed, made.rest)
        return replace(made, log_id=self._id(number), timestamp_ms=time_ms, entry=entry, rest=rest)
