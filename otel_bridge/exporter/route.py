"""One signal's way to its destination, and the sending of one request over it.

All who deliver over a route share its circuit: while the destination is down, one request at a time finds out
whether it still is. What a destination refuses is looked for in `search`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from otel_bridge.circuit import Circuit, Passage
from otel_bridge.circuit_state import CircuitOpenError, Patience
from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.encoding import request
from otel_bridge.exporter.evidence import Evidence
from otel_bridge.exporter.sender import Accepted, Answer, Failed, NoAnswer, Sender, TooLarge

if TYPE_CHECKING:
    from otel_bridge.exporter.batching import Batch
    from otel_bridge.exporter.learnt_limits import LearntLimits
    from otel_bridge.retry import Backoff
    from otel_bridge.times import Clock

T = TypeVar("T")

OnRetry = Callable[[Signal, DestinationUnavailable, int, float], None]
"""Called before each wait: the signal, what happened, failures so far, seconds until the next try."""

OnSent = Callable[[Signal, int, int, float, DestinationError | None], None]
"""Called when a request has ended: the signal, its records, its bytes before compression, the seconds from
sending to the answer, and what was wrong; None where it was taken, if not all of its records.
"""


@dataclass(slots=True)
class Progress:
    """What became of one signal's records, by their position among the deliveries.

    Attributes:
        acknowledged: Taken by the destination.
        refused: Not acceptable, with the reason.
        doubtful: Those of the refused of which nothing shows whether they or the destination are to blame.
        resent: Sent more than once to find refused ones.
        warnings: What else there is to say, each once, in order.
    """

    acknowledged: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    resent: set[int] = field(default_factory=set)
    warnings: dict[str, None] = field(default_factory=dict)

    def settled(self, position: int) -> bool:
        """Whether there is nothing left to do for a record."""
        return position in self.acknowledged or position in self.refused


@dataclass(slots=True)
class Route:
    """One signal's sender, and how it is used.

    Attributes:
        where: The destination as it may be shown.
        circuit: Of the destination, for this signal.
        limits: How large a request may be, as the destination has shown.
        evidence: Whether it takes records at all.
        optional: Whether the signal may be switched off when the destination does not know it.
        off: Whether that has happened.
    """

    signal: Signal
    sender: Sender
    where: str
    backoff: Backoff
    clock: Clock
    limits: LearntLimits
    on_retry: OnRetry
    on_sent: OnSent
    circuit: Circuit
    optional: bool = False
    off: bool = False
    evidence: Evidence = field(default_factory=Evidence)


class HaltedError(Exception):
    """The halt was set: no request begins and no wait goes on."""


class Sending:
    """Sends requests over a route, one after the other, for one delivery.

    Args:
        route: Where to.
        halt: Once it is set, every method raises ``HaltedError``.
    """

    def __init__(self, route: Route, halt: asyncio.Event) -> None:
        self._route = route
        self._halt = halt
        self._failed_before = False
        self._search = object()

    def begin_search(self) -> None:
        """Failures from here on may have one cause, a record, and count once at the circuit."""
        self._search = object()

    async def ask(self, batch: Batch) -> Answer:
        """Send until there is an answer to act on: one that is about this request, or takes it.

        Raises:
            DestinationUnavailable: The backoff has given up.
            DestinationRefused: The destination as a whole says no.
        """
        body = request(batch)
        failures = 0
        while True:
            answer = await self._send(body, batch)
            if isinstance(answer, DestinationUnavailable):
                error = answer
            elif isinstance(answer, Failed) and not self._failed_before:
                self._failed_before = True
                error = DestinationUnavailable(answer.message)
            else:
                return answer
            failures += 1
            await self.wait(failures, error)

    async def wait(self, failures: int, error: DestinationUnavailable) -> None:
        """Wait as long as the backoff says after so many failures, or leave that to the circuit.

        Raises:
            DestinationUnavailable: ``error``, where the backoff gives up.
        """
        route = self._route
        seconds = route.backoff.wait_s(failures, error.retry_after_s)
        if seconds is None:
            raise error
        held_s = route.circuit.state.retry_in_s
        route.on_retry(route.signal, error, failures, seconds if held_s is None else held_s)
        if held_s is None:
            await self._unless_halted(route.clock.sleep(seconds))
        # Else the next request waits at the circuit, which has the say on when.

    async def _send(self, body: bytes, batch: Batch) -> Answer | DestinationUnavailable:
        """Send once, as soon as the circuit lets it through, which learns how that went.

        Raises:
            DestinationUnavailable: The circuit is open, and the backoff gives up.
            DestinationRefused: As the sender.
        """
        if self._halt.is_set():
            raise HaltedError
        route = self._route
        with route.circuit.enter_at_once() or await self._let_through() as passage:
            try:
                answer = await self._timed(body, len(batch))
            except DestinationUnavailable as error:
                passage.failed(str(error), asked_s=error.retry_after_s)
                return error
            except DestinationRefused:
                passage.succeeded()
                raise
            if isinstance(answer, Accepted) and answer.rejected < len(batch):
                route.evidence.took(() if answer.rejected else batch)
            self._tell(passage, answer, alone=len(batch) == 1)
        self._learn(answer, len(batch), len(body))
        return answer

    def _tell(self, passage: Passage, answer: Answer, *, alone: bool) -> None:
        """Tell the circuit what an answer says of the destination."""
        evidence = self._route.evidence
        if isinstance(answer, NoAnswer):
            passage.failed(answer.message)
        elif isinstance(answer, Failed):
            # A record may be to blame, and the search for it meets it again and again.
            passage.failed(answer.message, about=self._search)
        elif isinstance(answer, TooLarge) and not answer.certain:
            passage.failed(answer.message, about=None if alone else self._search)
        elif evidence.doubted:
            passage.failed(refuses_all(answer.message or "no reason given"))
        else:
            passage.succeeded()

    def _learn(self, answer: Answer, records: int, size: int) -> None:
        limits = self._route.limits
        if isinstance(answer, Accepted):
            limits.taken(size)
        elif isinstance(answer, (TooLarge, NoAnswer)) and records > 1:
            limits.too_large(size)

    async def _timed(self, body: bytes, records: int) -> Answer:
        """Send once, and tell how that went."""
        route = self._route
        began_s = route.clock.monotonic_s()
        error: DestinationError | None = None
        try:
            answer = await route.sender.send(body)
            if isinstance(answer, NoAnswer):
                error = DestinationUnavailable(answer.message)
            elif not isinstance(answer, Accepted):
                error = DestinationRefused(answer.message)
        except DestinationError as failure:
            error = failure
            raise
        else:
            return answer
        finally:
            route.on_sent(route.signal, records, len(body), route.clock.monotonic_s() - began_s, error)

    async def _let_through(self) -> Passage:
        route = self._route
        try:
            return await self._unless_halted(route.circuit.enter(Patience(route.backoff.attempts)))
        except CircuitOpenError as error:
            raise DestinationUnavailable(str(error), error.state.retry_in_s) from None

    async def _unless_halted(self, doing: Coroutine[Any, Any, T]) -> T:
        """What ``doing`` comes to, or ``HaltedError`` as soon as the halt is set."""
        task, halted = asyncio.ensure_future(doing), asyncio.ensure_future(self._halt.wait())
        wanted = False
        try:
            try:
                await asyncio.wait({task, halted}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                task.cancel()
                halted.cancel()
                await asyncio.gather(task, halted, return_exceptions=True)
            wanted = not self._halt.is_set()
        finally:
            if not wanted:
                task.add_done_callback(_let_go)
        if not wanted:
            raise HaltedError
        return task.result()


def refuses_all(message: str) -> str:
    """What to say of a destination that refuses whatever it is asked, with its last answer."""
    return f"it refuses every record: {message}"


def _let_go(task: asyncio.Task[Any]) -> None:
    """Give up what a wait that nobody waits for any more has brought."""
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), Passage):
        with task.result():
            pass
