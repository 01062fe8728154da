"""The request budget of one organisation, of which the bridge takes no more than its share.

The organisation's limit holds for everything it sends, its own tool calls first of all, so the bridge steers
by what the rate headers of every answer say, and a 429 is an accident, not the steering. Rules:

* In any stretch of time as long as the window, no more than ``share * limit`` requests are sent (at least 1,
  or nothing would ever be). Before an answer has named a limit, nothing is held back.
* Head windows may use all of that, re-checks 90 % and backfill 75 % of it, counted over what all have used: a
  burst of backfill leaves a quarter for what happens now. Among those that wait, the lower number goes first,
  and within one priority the one that came first. A busy head can therefore starve a backfill, never the
  other way round.
* Of what the organisation has left, a reserve (5 % of the limit, at least 1) is never touched: where the
  customer's own calls use the budget up, the bridge stops until the window must have begun anew.
* A 429 stops everything for ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from otel_bridge.receiver.rate_headers import read_rate_headers, read_retry_after_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_bridge.times import Clock


class Priority(IntEnum):
    """Who goes first when the budget is short."""

    HEAD = 0
    RECHECK = 1
    BACKFILL = 2


PARTS: Final = (1.0, 0.9, 0.75)
"""How much of the bridge's share each priority may use."""
RESERVE: Final = 0.05
"""How much of the organisation's limit is left to the customer whatever happens."""
DEFAULT_WINDOW_S: Final = 60.0
"""Source: the vendor's page on rate limits."""
DEFAULT_PAUSE_S: Final = 5.0
"""How long a 429 without Retry-After stops all requests."""

_BUCKETS: Final = 240  # a window's requests are remembered in about so many; the error is one bucket's length
_SHORTEST_NAP_S: Final = 0.001  # rounding must not turn the wait for a moment into a hot loop


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A snapshot, for people and metrics.

    Attributes:
        name: Whose budget it is.
        limit: The organisation's requests in a window; None while no answer has said it.
        remaining: What the organisation had left when an answer last said so; None where that is out of date.
        window_s: The window's length in seconds.
        used: Requests the bridge has sent in the last window.
        allowed: Requests the bridge may send in a window; None while the limit is not known.
        waiting: Requests that wait for their turn.
        blocked_until_ms: While a 429 or the reserve stops all requests: until when, in ms since the epoch.
    """

    name: str
    limit: int | None
    remaining: int | None
    window_s: float
    used: int
    allowed: int | None
    waiting: int
    blocked_until_ms: int | None


@dataclass(slots=True)
class _Bucket:
    """Requests sent within a short time. Counting each at the time of the last errs on the safe side."""

    first_s: float
    last_s: float
    count: int


class Budget:
    """Hands out the right to send one request. For use within one event loop.

    Args:
        share: The bridge's part of the organisation's limit; above 0, at most 1.
        clock: Tells the time and sleeps.
        name: Whose budget it is, for people.
        on_pause: Called when a 429 stops all requests, with the seconds, once for each stop.
    """

    def __init__(
        self,
        share: float,
        clock: Clock,
        name: str = "default",
        on_pause: Callable[[float], None] | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError("share must be above 0 and at most 1")
        self.name = name
        self._share = share
        self._on_pause = on_pause
        self._clock = clock
        self._limit: int | None = None
        self._allowances: tuple[int, ...] = ()
        self._reserve = 1
        self._window_s = DEFAULT_WINDOW_S
        self._buckets: deque[_Bucket] = deque()
        self._used = 0
        self._in_flight = 0
        self._remaining: int | None = None
        self._remaining_seen_s = -math.inf
        self._renewed_s = -math.inf
        self._blocked_until_s = -math.inf
        self._waiters: tuple[deque[asyncio.Future[_Bucket]], ...] = tuple(deque() for _ in Priority)
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_s = math.inf
        self._lists: deque[float] = deque()
        self.projects = 1
        """How many projects of the organisation use it."""

    def __repr__(self) -> str:
        return f"Budget({self.name!r}, share={self._share}, limit={self._limit}, used={self._used})"

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────
    async def acquire(self, priority: Priority) -> None:
        """Wait until one request may be sent, which it then must be at once.

        Each return is followed by exactly one ``observe``, ``no_answer`` or ``not_sent``. Being cancelled
        while waiting takes nothing from the budget.
        """
        now_s = self._clock.monotonic_s()
        if not any(self._waiters[: priority + 1]) and self._earliest_s(priority, now_s) <= now_s:
            self._take(now_s)
            return
        queue = self._waiters[priority]
        waiter: asyncio.Future[_Bucket] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        self._dispatch()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):
                    queue.remove(waiter)
            else:  # its turn had come in the moment of the cancellation: nothing will be sent
                self._give_back(waiter.result())
            self._dispatch()
            raise

    def observe(self, headers: Mapping[str, str], status: int, *, sent_s: float | None = None) -> None:
        """Learn from an answer's headers; one request is in flight no more.

        Args:
            headers: ``httpx.Headers``, or a dict whose keys may be in any case.
            status: The HTTP status.
            sent_s: When the request was sent, on the clock's monotonic time. Answers overtake each other:
                only by this can an old word be told from a new window. Without it the answer is taken for the
                newest.
        """
        now_s = self._clock.monotonic_s()
        self._in_flight = max(self._in_flight - 1, 0)
        said = read_rate_headers(headers)
        if said.window_s is not None:
            self._window_s = said.window_s
        if said.limit is not None and said.limit != self._limit:
            self._set_limit(said.limit)
        if said.remaining is not None:
            self._note_remaining(said.remaining, now_s, now_s if sent_s is None else sent_s)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._pause(read_retry_after_s(headers, self._clock.now_ms()), now_s)
        self._dispatch()

    def no_answer(self) -> None:
        """A request brought no headers: it failed on the way. It still counts as sent."""
        self._in_flight = max(self._in_flight - 1, 0)
        self._dispatch()

    def not_sent(self) -> None:
        """A request that was just granted is not sent after all: the next in line may go in its place."""
        now_s = self._clock.monotonic_s()
        self._expire(now_s)
        newest = (bucket for bucket in reversed(self._buckets) if bucket.count)
        self._give_back(next(newest, _Bucket(now_s, now_s, 0)))
        self._dispatch()

    @property
    def state(self) -> BudgetState:
        """How it stands now."""
        now_s = self._clock.monotonic_s()
        self._expire(now_s)
        until_s = max(self._blocked_until_s, self._reserved_until_s(now_s))
        blocked = until_s > now_s
        return BudgetState(
            name=self.name,
            limit=self._limit,
            remaining=self._remaining if now_s < self._remaining_seen_s + self._window_s else None,
            window_s=self._window_s,
            used=self._used,
            allowed=None if self._limit is None else self._allowances[Priority.HEAD],
            waiting=sum(map(len, self._waiters)),
            blocked_until_ms=self._clock.now_ms() + math.ceil((until_s - now_s) * 1000) if blocked else None,
        )

    @property
    def rate(self) -> float | None:
        """How many requests a second the bridge may send; None while the limit is not known."""
        return None if self._limit is None else self._allowances[Priority.HEAD] / self._window_s

    def note_list(self) -> None:
        """A list request of another priority than ``HEAD`` is sent."""
        self._lists.append(self._clock.monotonic_s())
        self._forget_old_lists()

    @property
    def other_lists_a_second(self) -> float:
        """List requests of other priorities than ``HEAD``, as many as were sent in the last window."""
        self._forget_old_lists()
        return len(self._lists) / self._window_s

    def _forget_old_lists(self) -> None:
        since_s = self._clock.monotonic_s() - self._window_s
        while self._lists and self._lists[0] <= since_s:
            self._lists.popleft()

    # ── learning ─────────────────────────────────────────────────────────────────────────────────────
    def _set_limit(self, limit: int) -> None:
        self._limit = limit
        allowed = max(math.floor(self._share * limit + 1e-9), 1)
        self._allowances = tuple(max(math.floor(part * allowed + 1e-9), 1) for part in PARTS)
        self._reserve = max(math.ceil(RESERVE * limit - 1e-9), 1)

    def _note_remaining(self, remaining: int, now_s: float, sent_s: float) -> None:
        if sent_s < self._renewed_s:
            return  # sent before the window began anew: it may speak of the one before
        known = self._remaining is not None and now_s < self._remaining_seen_s + self._window_s
        if known and self._remaining is not None and remaining > self._remaining:
            if sent_s < self._remaining_seen_s:
                return  # overtaken by an answer that knew of more requests
            self._renewed_s = now_s
        self._remaining = remaining
        self._remaining_seen_s = now_s

    def _pause(self, asked_s: float | None, now_s: float) -> None:
        wait_s = DEFAULT_PAUSE_S if asked_s is None else asked_s
        if self._on_pause is not None and now_s >= self._blocked_until_s:
            self._on_pause(wait_s)
        self._blocked_until_s = max(self._blocked_until_s, now_s + wait_s)
        if asked_s is not None:
            # The source has said when it takes requests again: better than a guess from what was left.
            self._remaining = None
            self._renewed_s = now_s

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────────
    def _earliest_s(self, priority: Priority, now_s: float) -> float:
        """When the next request of this priority may go, as far as is known now."""
        self._expire(now_s)
        earliest_s = max(self._blocked_until_s, self._reserved_until_s(now_s))
        if self._limit is not None and self._used >= self._allowances[priority]:
            earliest_s = max(earliest_s, self._buckets[0].last_s + self._window_s)
        return earliest_s

    def _reserved_until_s(self, now_s: float) -> float:
        """Until when the reserve forbids a request; in the past where it does not."""
        if self._remaining is None:
            return -math.inf
        until_s = self._remaining_seen_s + self._window_s
        if now_s >= until_s or self._remaining - self._in_flight - 1 >= self._reserve:
            return -math.inf
        return until_s

    def _expire(self, now_s: float) -> None:
        buckets = self._buckets
        while buckets and buckets[0].last_s + self._window_s <= now_s:
            bucket = buckets.popleft()
            self._used -= bucket.count
            bucket.count = 0

    def _take(self, now_s: float) -> _Bucket:
        self._used += 1
        self._in_flight += 1
        if self._buckets and now_s - self._buckets[-1].first_s < self._window_s / _BUCKETS:
            bucket = self._buckets[-1]
            bucket.last_s = now_s
            bucket.count += 1
        else:
            bucket = _Bucket(now_s, now_s, 1)
            self._buckets.append(bucket)
        return bucket

    def _give_back(self, bucket: _Bucket) -> None:
        self._in_flight = max(self._in_flight - 1, 0)
        if bucket.count:
            bucket.count -= 1
            self._used -= 1

    # ── waking ───────────────────────────────────────────────────────────────────────────────────────
    def _dispatch(self) -> None:
        """Let every waiter go that may go now, and see to it that the next one is woken."""
        now_s = self._clock.monotonic_s()
        for priority in Priority:
            queue = self._waiters[priority]
            while queue:
                if queue[0].done():  # cancelled, but its task has not run yet
                    queue.popleft()
                    continue
                earliest_s = self._earliest_s(priority, now_s)
                if earliest_s > now_s:
                    # What holds this one holds all that come after it.
                    self._wake_at(earliest_s, now_s)
                    return
                queue.popleft().set_result(self._take(now_s))
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _wake_at(self, moment_s: float, now_s: float) -> None:
        if self._alarm is not None and not self._alarm.done():
            if self._alarm_s <= moment_s:
                return
            self._alarm.cancel()
        self._alarm_s = moment_s
        self._alarm = asyncio.create_task(self._ring(max(moment_s - now_s, _SHORTEST_NAP_S)))

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._dispatch()
