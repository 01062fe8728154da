"""One process's part in a budget that several processes share: it sends only what it has claimed before.

Claims are made and counted elsewhere, by all processes in one place; here they are used up. A claim is good
for a short time only, so that the requests of any window can be told from the claims of one that is hardly
longer. Before a limit is known there is nothing to claim from, and nothing is held back.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.receiver.budget import Budget, BudgetState, Priority

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from otel_bridge.receiver.budget import _Bucket
    from otel_bridge.times import Clock

GOOD_FOR: Final = 1 / 30
"""For such a part of the window a claim is good."""
_ASK_AGAIN_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Want:
    """What a process would like to send.

    Attributes:
        requests: How many.
        bound: So many may be claimed by all in a window, at the priority of these.
        unclaimed: Requests that were sent before there was anything to claim from.
        returned: Requests that were claimed and never sent, by the moment of their claim.
    """

    requests: int
    bound: int
    unclaimed: int
    returned: dict[int, int]


@dataclass(slots=True)
class _Claim:
    until_s: float
    moment: int
    left: int


class SharedBudget(Budget):
    """As ``Budget``, under claims.

    Args:
        share: As there.
        clock: As there.
        name: As there.
        on_pause: As there.
        wanted: Set when there is something to claim.
    """

    def __init__(
        self,
        share: float,
        clock: Clock,
        name: str = "default",
        on_pause: Callable[[float], None] | None = None,
        *,
        wanted: asyncio.Event,
    ) -> None:
        super().__init__(share, clock, name, on_pause)
        self._wanted = wanted
        self._claims: deque[_Claim] = deque()
        self._used_by_all = 0
        self._asked: Priority | None = None
        self._deciding = Priority.HEAD
        self._latest: _Claim | None = None
        self._spent = 0
        self._last_claim = 0
        self._unclaimed = 0
        self._returned: Counter[int] = Counter()

    # ── claiming ─────────────────────────────────────────────────────────────────────────────────────
    @property
    def window(self) -> tuple[int, float] | None:
        """The organisation's limit, and the window's length in seconds; None while not known."""
        return None if self._limit is None else (self._limit, self._window_s)

    def learn(self, limit: int, window_s: float) -> None:
        """Take from another process what the source has said to it; what it says here counts for more."""
        if self._limit is None:
            self._window_s = window_s
            self._set_limit(limit)
            self._dispatch()

    def take_want(self) -> Want | None:
        """What to claim now; None for nothing. What it tells of is told once."""
        self._drop(self._clock.monotonic_s())
        if self._limit is None or not (self._asked is not None or self._unclaimed or self._returned):
            return None
        asked, self._asked = self._asked, None
        requests = 0
        if asked is not None:
            requests = max(sum(len(self._waiters[each]) for each in Priority if each <= asked), 1)
            requests = max(requests + self._spent - self._left, 1)
        bound = self._allowances[Priority.BACKFILL if asked is None else asked]
        want = Want(requests, bound, self._unclaimed, dict(self._returned))
        self._spent = self._unclaimed = 0
        self._returned.clear()
        return want

    def grant(self, requests: int, *, used_by_all: int, moment: int, asked_s: float) -> None:
        """So many may be sent.

        Args:
            requests: How many.
            used_by_all: What all have claimed in the last window, these included.
            moment: Of the claim.
            asked_s: When it was begun, on the clock's monotonic time.
        """
        self._used_by_all = used_by_all
        self._last_claim = requests
        if requests:
            self._claims.append(_Claim(asked_s + self._window_s * GOOD_FOR, moment, requests))
            self._dispatch()

    def failed(self, want: Want) -> None:
        """Nothing was claimed, and nothing of what was told was heard."""
        self._unclaimed += want.unclaimed
        self._returned.update(want.returned)

    @property
    def state(self) -> BudgetState:
        """How it stands now; what is used is what all have claimed."""
        state = super().state
        return replace(state, used=max(state.used, self._used_by_all - self._left))

    # ── as Budget decides ────────────────────────────────────────────────────────────────────────────
    def _earliest_s(self, priority: Priority, now_s: float) -> float:
        self._deciding = priority
        earliest_s = super()._earliest_s(priority, now_s)
        if self._limit is None or earliest_s > now_s:
            return earliest_s
        self._drop(now_s)
        if self._left and self._used_by_all - self._left < self._allowances[priority]:
            return earliest_s
        self._ask(priority)
        return now_s + _ASK_AGAIN_S

    def _take(self, now_s: float) -> _Bucket:
        if self._claims:
            claim = self._latest = self._claims[0]
            claim.left -= 1
            self._spent += 1
            if not claim.left:
                self._claims.popleft()
            if self._left < self._last_claim // 2:
                # The next claim is made while there is still something to send.
                self._ask(self._deciding)
        else:
            self._latest = None
            self._unclaimed += 1
        return super()._take(now_s)

    def _give_back(self, bucket: _Bucket) -> None:
        super()._give_back(bucket)
        claim = self._latest
        if claim is None:
            self._unclaimed = max(self._unclaimed - 1, 0)
        elif claim.until_s > self._clock.monotonic_s():
            if not claim.left:
                self._claims.appendleft(claim)
            claim.left += 1
        else:
            self._returned[claim.moment] += 1
            self._used_by_all -= 1

    @property
    def _left(self) -> int:
        return sum(claim.left for claim in self._claims)

    def _ask(self, priority: Priority) -> None:
        self._asked = priority if self._asked is None else min(self._asked, priority)
        self._wanted.set()

    def _drop(self, now_s: float) -> None:
        while self._claims and self._claims[0].until_s <= now_s:
            claim = self._claims.popleft()
            self._returned[claim.moment] += claim.left
            self._used_by_all -= claim.left
