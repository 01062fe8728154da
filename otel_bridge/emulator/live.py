"""New log entries as time passes, a few of them late."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from otel_bridge.emulator.generation import Author
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from otel_bridge.emulator.records import Record

# Sessions that began this long ago are under way when the source starts, so that its rate is the one asked
# for from the first second on.
_UNDER_WAY_MS: Final = 60_000


class LiveSource:
    """Makes log entries at a rate. It reads no clock: the caller says what time it is.

    The same seed and start give the same entries; another start gives the same ones at other times.

    Args:
        rate: Entries a second on average, above 0.
        seed: Any number.
        start_ms: When it begins, in ms since the epoch; every entry's time is later.
        late_share: The share of entries that become visible only some time after their timestamp.
        late_ms: By how much at least and at most, in ms.

    Raises:
        ValueError: The rate is not above 0.
    """

    def __init__(
        self,
        rate: float,
        seed: int,
        start_ms: int,
        *,
        late_share: float = 0.05,
        late_ms: tuple[int, int] = (5_000, 40_000),
    ) -> None:
        if rate <= 0:
            raise ValueError("the rate must be above 0")
        self._rate = rate
        self._author = Author(seed, "live-")
        self._start_ms = start_ms
        self._late_share = late_share
        self._late_ms = late_ms
        self._next_session_ms: float = start_ms - _UNDER_WAY_MS
        self._drafted = 0
        self._waiting: list[tuple[int, int, Record]] = []

    def advance(self, now_ms: int) -> list[Record]:
        """The entries that have become visible up to now and were not given out before, oldest first."""
        while self._next_session_ms <= now_ms:
            self._begin_session()
        visible = []
        while self._waiting and self._waiting[0][0] <= now_ms:
            visible.append(heapq.heappop(self._waiting)[2])
        return visible

    def _begin_session(self) -> None:
        draft = self._author.draft(format_time(int(self._next_session_ms))[:10])
        rng = draft.scene.rng
        began_ms = self._next_session_ms
        self._next_session_ms += draft.size * 1_000 / self._rate
        if began_ms + draft.length_ms <= self._start_ms:
            return
        for request in self._author.write(draft, began_ms):
            # What was over before the source began is left out, a request as a whole.
            known = request[0].timestamp_ms > self._start_ms
            for record in request:
                late = rng.random() < self._late_share
                delay = rng.randint(*self._late_ms) if late else 0
                if known:
                    heapq.heappush(self._waiting, (record.timestamp_ms + delay, self._drafted, record))
                self._drafted += 1
