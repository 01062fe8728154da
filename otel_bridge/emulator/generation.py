"""Synthetic log entries from a seed: a fixed number over a range of time, or one session after another."""

from __future__ import annotations

import random
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from otel_bridge.emulator.events import Event
from otel_bridge.emulator.plans import make_scene, plan_session
from otel_bridge.emulator.synthesis import Directory, Session, make_setting
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from otel_bridge.emulator.records import Record

# One such entry in six drafts makes about 2 % of all entries.
_EVENT_SHARE: Final = 0.17
_UNLIMITED: Final = 1_000


class Author:
    """Drafts sessions and writes them. The same seed gives the same drafts, whatever their times.

    Args:
        seed: Any number.
        series: Keeps several authors of one seed apart.
    """

    def __init__(self, seed: int, series: str) -> None:
        self._name = f"{seed}/{series}"
        self._series = series
        self._drafted = 0
        self._directory = Directory(seed)

    def draft(self, day: str, budget: int = _UNLIMITED) -> Session | Event:
        """The next draft, of at most ``budget`` entries.

        Args:
            day: The date its payloads speak of, ``YYYY-MM-DD``.
            budget: 1 or more.
        """
        self._drafted += 1
        rng = random.Random(f"{self._name}/{self._drafted}")  # noqa: S311 - made-up data
        scene = make_scene(rng, day)
        if rng.random() < _EVENT_SHARE:
            return Event(scene)
        setting = make_setting(scene, f"{self._series}{self._drafted}")
        return Session(scene, plan_session(scene, budget), setting)

    def write(self, draft: Session | Event, start_ms: float) -> list[list[Record]]:
        """Place a draft in time: its entries in order, one list a request."""
        return draft.write(self._directory, start_ms)


def generate(count: int, seed: int, start_ms: int, end_ms: int) -> list[Record]:
    """Make exactly ``count`` log entries with times in ``(start_ms, end_ms]``, spread over it in sessions.

    The same arguments give the same records, byte for byte; another range gives the same sessions at
    other times.

    Returns:
        The records in order of time.

    Raises:
        ValueError: The range is shorter than a ms.
    """
    if end_ms <= start_ms:
        raise ValueError("the range must be at least 1 ms long")
    author = Author(seed, "")
    day = format_time(end_ms)[:10]
    # An entry at the start itself would be outside of the range.
    first_ms, span_ms = start_ms + 1, end_ms - start_ms - 1
    records: list[Record] = []
    while len(records) < count:
        draft = author.draft(day, count - len(records)).fitted(span_ms)
        begin_ms = first_ms + (span_ms - draft.length_ms) * draft.scene.rng.random()
        for request in author.write(draft, begin_ms):
            records += request
    records.sort(key=attrgetter("timestamp_ms"))
    return records
