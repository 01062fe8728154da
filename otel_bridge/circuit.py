"""Whether a far side is worth asking: one circuit for everybody who speaks to it.

A far side is a source's base URL, or one signal's destination. Its circuit is

* closed: everything passes. So many failures in a row, of any callers, open it, and so does one failure that
  names a time (Retry-After);
* open: nobody sends until a time that grows with each failed try (and is never before what was asked for);
* probing: one caller has been let through. Its success closes the circuit and wakes all that wait, its
  failure opens it again for longer, and where it ends without a word on the far side (cancelled, say) the
  next in line is let through.

While it is open only the probe's word counts: answers to requests sent before come late and say little.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from otel_bridge.circuit_state import CircuitOpenError, CircuitState, OnChange, Patience, Phase
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

    from otel_bridge.times import Clock

DEFAULT_BACKOFF: Final = Backoff(first_s=0.5, most_s=60.0, attempts=None)
"""How long a circuit stays open before each try."""

_SHORTEST_NAP_S: Final = 0.001  # rounding must not turn the wait for a moment into a hot loop


ENDLESS: Final = Patience()


@dataclass(eq=False, slots=True)
class Passage:
    """The right to send one request at once. The ``with`` block ends when it is known how that went.

    A block that is left without ``succeeded`` or ``failed`` says nothing of the far side.

    Attributes:
        probe: Whether this is the one request by which an open circuit finds out.
    """

    probe: bool
    _end: Callable[[Passage], None]
    _answered: bool = False
    _failure: _Failure | None = None

    @property
    def verdict(self) -> _Failure | bool:
        """How it went: the failure, True for an answer, False for nothing known."""
        return self._failure or self._answered

    def succeeded(self) -> None:
        """The far side works: it has answered, be it with a refusal."""
        self._answered, self._failure = True, None

    def unknown(self) -> None:
        """It says nothing of the far side, as if nothing had been said."""
        self._answered, self._failure = False, None

    def failed(self, why: str, *, asked_s: float | None = None, about: Hashable = None) -> None:
        """The far side seems to be down.

        Args:
            why: For people.
            asked_s: The wait in seconds that it asked of everybody, or None.
            about: What may be to blame in its stead, such as one record. While the circuit is closed,
                failures about the same thing count once.
        """
        self._failure = _Failure(why, asked_s, about)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self)


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    asked_s: float | None
    about: Hashable


class _Waiter:
    """A caller in line, and the word that it waits for: a probe's passage, or None to look again."""

    __slots__ = ("patience", "word")

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.word: asyncio.Future[Passage | None] = asyncio.get_running_loop().create_future()


class Circuit:
    """Lets requests to one far side through, or not. For use within one event loop.

    Args:
        name: The far side, as it may be shown.
        clock: Tells the time and sleeps.
        opens_after: How many failures in a row open it.
        backoff: How long it stays open; ``attempts`` means nothing here.
        on_change: See ``OnChange``.
        on_blocked: Called with its state when it opens, and with each further try that fails.
    """

    def __init__(  # noqa: PLR0913 - settings, each with its default
        self,
        name: str,
        clock: Clock,
        *,
        opens_after: int,
        backoff: Backoff = DEFAULT_BACKOFF,
        on_change: OnChange | None = None,
        on_blocked: Callable[[CircuitState], object] | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._opens_after = opens_after
        self._backoff = replace(backoff, attempts=None)
        self._on_change = on_change
        self._on_blocked = on_blocked
        self._since: tuple[int, float] | None = None  # wall clock in ms, monotonic in s
        self._openings = 0  # in a row; 0 while closed
        self._failures = 0
        self._reason = ""
        self._blamed: set[Hashable] = set()
        self._retry_s = 0.0
        self._probe: Passage | None = None
        self._waiters: deque[_Waiter] = deque()
        self._alarm: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether everything passes."""
        return not self._openings

    @property
    def state(self) -> CircuitState:
        """How it stands now."""
        now_s = self._clock.monotonic_s()
        since_ms, since_s = self._since or (None, now_s)
        retry_in_s = None
        if not self.closed:
            retry_in_s = 0.0 if self._probe else max(self._retry_s - now_s, 0.0)
        return CircuitState(
            name=self.name,
            phase=Phase.CLOSED if self.closed else Phase.PROBING if self._probe else Phase.OPEN,
            since_ms=since_ms,
            lasted_s=now_s - since_s,
            failures=self._failures,
            reason=self._reason,
            retry_in_s=retry_in_s,
            next_try_ms=None if retry_in_s is None else self._clock.now_ms() + round(retry_in_s * 1000),
            waiting=len(self._waiters),
        )

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────
    def enter_at_once(self) -> Passage | None:
        """As ``enter``, where that takes no waiting because the circuit is closed; else None."""
        return Passage(probe=False, _end=self._ended) if self.closed else None

    async def enter(self, patience: Patience = ENDLESS) -> Passage:
        """Wait until one request may be sent. What is returned must be used as a context manager.

        Being cancelled while waiting does no harm to the others.

        Raises:
            CircuitOpenError: The circuit is open, beyond the caller's patience.
        """
        while (passage := self.enter_at_once()) is None:
            if self._hopeless(patience):
                raise CircuitOpenError(self.state)
            waiter = _Waiter(patience)
            self._waiters.append(waiter)
            self._dispatch()
            try:
                passage = await waiter.word
            except asyncio.CancelledError:
                if waiter.word.cancelled():
                    with contextlib.suppress(ValueError):
                        self._waiters.remove(waiter)
                    self._dispatch()
                elif given := waiter.word.result():  # let through in the moment of the cancellation
                    self._ended(given)
                raise
            if passage is not None:
                return passage
        return passage

    def _hopeless(self, patience: Patience) -> bool:
        wait_s = self._retry_s - self._clock.monotonic_s()
        if self._probe is not None or wait_s <= 0:
            return False
        return (patience.attempts is not None and self._openings >= patience.attempts) or (
            patience.wait_s is not None and wait_s > patience.wait_s
        )

    def try_now(self) -> None:
        """Let the next probe through without its wait: what was wrong may just have been mended."""
        if not self.closed and self._probe is None:
            self._retry_s = self._clock.monotonic_s()
            self._dispatch()

    # ── learning ─────────────────────────────────────────────────────────────────────────────────────
    def _ended(self, passage: Passage) -> None:
        verdict = passage.verdict
        if passage is self._probe:
            self._probe = None
            if isinstance(verdict, _Failure):
                self._failures += 1
                self._open(verdict)
            elif verdict:
                self._close()
            self._dispatch()
        elif isinstance(verdict, _Failure):
            self._failed(verdict)
        elif verdict and self.closed:
            self._forget()

    def _failed(self, failure: _Failure) -> None:
        """A failure of a request that was sent while the circuit was closed."""
        for_all = failure.about is None
        asked_s = failure.asked_s if for_all and failure.asked_s else 0.0
        if not self.closed:
            # Nothing new, but a time that is asked for holds for everybody.
            if asked_s:
                self._retry_s = max(self._retry_s, self._clock.monotonic_s() + asked_s)
            return
        if for_all or failure.about not in self._blamed:
            self._failures += 1
            self._blamed.add(failure.about)
            self._reason = failure.why
        if asked_s or self._failures >= self._opens_after:
            self._open(failure)

    def _open(self, failure: _Failure) -> None:
        before = self.state
        now_s = self._clock.monotonic_s()
        self._openings += 1
        wait_s = self._backoff.wait_s(self._openings, failure.asked_s) or 0.0
        self._retry_s = max(self._retry_s, now_s + wait_s)
        self._reason = failure.why
        for waiter in list(self._waiters):
            if self._hopeless(waiter.patience):
                self._waiters.remove(waiter)
                _tell(waiter, None)
        if self._openings == 1:
            self._since = (self._clock.now_ms(), now_s)
            self._changed(before)
        if self._on_blocked is not None:
            self._on_blocked(self.state)

    def _close(self) -> None:
        before = self.state
        self._since = (self._clock.now_ms(), self._clock.monotonic_s())
        self._openings = 0
        self._retry_s = 0.0
        self._forget()
        while self._waiters:
            _tell(self._waiters.popleft(), None)
        self._changed(before)

    def _forget(self) -> None:
        self._failures = 0
        self._reason = ""
        self._blamed.clear()

    def _changed(self, before: CircuitState) -> None:
        if self._on_change is not None:
            self._on_change(before, self.state)

    # ── waking ───────────────────────────────────────────────────────────────────────────────────────
    def _dispatch(self) -> None:
        """Let the first in line through where it is time, and see to it that it is woken where it is not."""
        wait_s = self._retry_s - self._clock.monotonic_s()
        if self._waiters and self._probe is None and wait_s > 0:
            if self._alarm is None or self._alarm.done():
                self._alarm = asyncio.create_task(self._ring(max(wait_s, _SHORTEST_NAP_S)))
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiters and self._probe is None:
            probe = Passage(probe=True, _end=self._ended)
            if _tell(self._waiters.popleft(), probe):
                self._probe = probe

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._dispatch()


def _tell(waiter: _Waiter, word: Passage | None) -> bool:
    """Wake a waiter; False where it has been cancelled meanwhile."""
    if waiter.word.done():
        return False
    waiter.word.set_result(word)
    return True
