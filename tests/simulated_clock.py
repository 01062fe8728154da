"""A clock whose time passes only while everybody sleeps, or when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sized

START_MS: Final = 1_776_420_000_000  # 2026-04-17T10:00:00Z
_WAITS_FOR_SETTLING: Final = 3
_MOST_TURNS: Final = 1_000_000
_settling: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[int]]] = (
    weakref.WeakKeyDictionary()
)


class RestlessError(AssertionError):
    """Something goes on and on without sleeping."""


class SimulatedClock:
    """Implements ``otel_bridge.times.Clock`` for one event loop at a time.

    Args:
        now_ms: Where the wall clock begins, in ms since the epoch.
        auto: Whether time leaps to the next sleeper as soon as no task has anything to do. Real input and
            output is not waited for: a test with sockets turns this off and calls ``advance``.
    """

    def __init__(self, now_ms: int = START_MS, *, auto: bool = True) -> None:
        self._start_ms = now_ms
        self._elapsed_s = 0.0
        self._auto = auto
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._driver: asyncio.Task[None] | None = None
        self.naps: list[float] = []
        """Every length that was slept, in seconds, in the order of falling asleep."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._start_ms + int(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Wait until that much simulated time has passed."""
        self.naps.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._order), sleeper))
        if self._auto and (self._driver is None or self._driver.done()):
            self._driver = asyncio.create_task(self._drive())
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in the order of their times and letting each do what it can."""
        end_s = self._elapsed_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            self._wake_next()
            await settle()
        self._elapsed_s = end_s

    def step_wall_clock(self, ms: int) -> None:
        """Make the wall clock jump; sleepers and monotonic time know nothing of it."""
        self._start_ms += ms

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(not sleeper.done() for _, _, sleeper in self._sleepers)

    def _wake_next(self) -> None:
        due_s, _, sleeper = heapq.heappop(self._sleepers)
        if not sleeper.done():  # a cancelled sleeper does not make time pass
            self._elapsed_s = max(self._elapsed_s, due_s)
            sleeper.set_result(None)

    async def _drive(self) -> None:
        while self._sleepers:
            try:
                await settle()
            except RestlessError as error:
                for _, _, sleeper in self._sleepers:
                    if not sleeper.done():
                        sleeper.set_exception(error)
                self._sleepers.clear()
            if self._sleepers:
                self._wake_next()


async def settle() -> None:
    """Return when no other task of the loop can go on by itself, but for those that wait for the same.

    Two clocks may be at it at once: that of a test, and one of an example before, on the same loop, which
    something sleeps by yet.

    Raises:
        RestlessError: It would take for ever.
    """
    loop = asyncio.get_running_loop()
    ready: Sized = vars(loop)["_ready"]
    settling = _settling.setdefault(loop, [0])
    settling[0] += 1
    try:
        quiet = 0
        for _ in range(_MOST_TURNS):
            await asyncio.sleep(0)
            quiet = 0 if len(ready) >= settling[0] else quiet + 1
            if quiet == _WAITS_FOR_SETTLING:
                return
    finally:
        settling[0] -= 1
    raise RestlessError(f"it never rests: {ready}")
