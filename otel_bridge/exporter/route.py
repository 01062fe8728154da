"""One signal's way to its destination: retry what may pass, split what is too large, find what is refused.

The rules, for one batch:

* unavailable: the same request again after a wait, as often as the backoff allows;
* too large: the two halves; a record that is too large alone is refused;
* refused: the two halves, until the records that are not acceptable stand alone;
* some rejected (partial success): both halves again, until every record has been answered for by itself or
  in a part that was taken whole. Nothing is inferred from the counts: a destination that counts differently
  the second time would make a lost record look delivered;
* failed, with the cause open (HTTP 500): once more after a wait, then the halves. A record that fails alone,
  three times with waits between, is refused where another one of the batch was taken meanwhile; otherwise
  the destination is to blame, and all of them wait.

All who deliver over a route share its circuit: while the destination is down, one request at a time finds out
whether it still is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_bridge.circuit import Circuit, Passage
from otel_bridge.circuit_state import CircuitOpenError, Patience
from otel_bridge.counting import counted
from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.batching import Batch, Limits, batches, halves
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.encoding import Encoded, request
from otel_bridge.exporter.sender import Accepted, Answer, Failed, Sender, TooLarge

if TYPE_CHECKING:
    from otel_bridge.retry import Backoff
    from otel_bridge.times import Clock

# How many records may fail alone, with none taken, before the destination is held to be down. It bounds the
# requests that a search makes at a server that fails whatever it is sent.
_MOST_SUSPECTS: Final = 4

# How often a record must have failed alone before it is refused.
_ROUNDS: Final = 3

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
        resent: Sent more than once to find refused ones.
        warnings: What else there is to say, each once, in order.
    """

    acknowledged: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
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
        optional: Whether the signal may be switched off when the destination does not know it.
        off: Whether that has happened.
    """

    signal: Signal
    sender: Sender
    where: str
    backoff: Backoff
    clock: Clock
    limits: Limits
    on_retry: OnRetry
    on_sent: OnSent
    circuit: Circuit
    optional: bool = False
    off: bool = False

    async def deliver(self, records: Iterable[Encoded], progress: Progress, halt: asyncio.Event) -> None:
        """Deliver records in their order.

        Args:
            records: What to deliver, all of this route's signal.
            progress: Where to note what became of each.
            halt: Once it is set, no request begins and no wait goes on; what is not settled stays so.

        Raises:
            DestinationUnavailable: The backoff has given up, after so many tries of its own, or of others
                while it waited.
            DestinationRefused: The destination as a whole says no.
        """
        try:
            for batch in batches(records, self.limits):
                await _Run(self, progress, halt).deliver(batch)
        except _HaltedError:
            return
        except DestinationRefused as error:
            if not error.unsupported or self.signal is Signal.TRACES:
                raise
            if not self.optional:
                raise DestinationRefused(
                    f"{error}; OTEL_BRIDGE_SIGNALS asks for {self.signal}: leave it out there, "
                    "or give it an endpoint of its own",
                    unsupported=True,
                ) from None
            self.off = True
            progress.warnings[
                f"{self.signal}: {self.where} does not take {self.signal}; "
                f"leave {self.signal} out of OTEL_BRIDGE_SIGNALS to say so"
            ] = None


class _HaltedError(Exception):
    """The halt was set."""


class _Run:
    """The delivery of one batch."""

    def __init__(self, route: Route, progress: Progress, halt: asyncio.Event) -> None:
        self._route = route
        self._progress = progress
        self._halt = halt
        self._some_taken = False
        self._failed_before = False
        self._partial: list[tuple[Batch, Accepted]] = []
        self._suspects: list[tuple[Encoded, Failed]] = []
        self._round = object()

    async def deliver(self, batch: Batch) -> None:
        remaining, rounds = batch, 0
        attempts = self._route.backoff.attempts
        while remaining:
            rounds += 1
            self._suspects = []
            self._round = object()
            await self._part(remaining)
            if self._some_taken and rounds >= min(_ROUNDS, attempts or _ROUNDS):
                for record, failed in self._suspects:
                    self._refuse((record,), failed.message)
            remaining = tuple(one for one in remaining if not self._progress.settled(one.position))
            if remaining:
                await self._wait(rounds, DestinationUnavailable(self._suspects[-1][1].message))
        self._compare_counts()

    async def _part(self, batch: Batch) -> None:
        if len(self._suspects) >= _MOST_SUSPECTS and not self._some_taken:
            return  # left unsettled: the next round has it again
        answer = await self._ask(batch)
        if isinstance(answer, Accepted):
            await self._accepted(batch, answer)
        elif len(batch) > 1:
            if isinstance(answer, TooLarge):
                if not answer.certain:
                    await self._wait(1, DestinationUnavailable(answer.message))
                await self._halves(batch)
            else:
                await self._search(batch)
        elif isinstance(answer, Failed):
            self._suspects.append((batch[0], answer))
        else:
            self._refuse(batch, answer.message)

    async def _accepted(self, batch: Batch, answer: Accepted) -> None:
        if answer.rejected >= len(batch):
            self._refuse(batch, answer.message or "rejected without a reason")
            return
        self._some_taken = True
        if not answer.rejected:
            self._progress.acknowledged.update(record.position for record in batch)
            if answer.message:
                self._warn(answer.message)
            return
        self._partial.append((batch, answer))
        await self._search(batch)

    async def _search(self, batch: Batch) -> None:
        self._progress.resent.update(record.position for record in batch)
        await self._halves(batch)

    async def _halves(self, batch: Batch) -> None:
        for half in halves(batch):
            await self._part(half)

    async def _ask(self, batch: Batch) -> Answer:
        """Send until there is an answer to act on."""
        body = request(batch)
        failures = 0
        while True:
            answer = await self._send(body, len(batch))
            if isinstance(answer, DestinationUnavailable):
                error = answer
            elif isinstance(answer, Failed) and not self._failed_before:
                self._failed_before = True
                error = DestinationUnavailable(answer.message)
            elif isinstance(answer, TooLarge) and not answer.certain and len(batch) == 1:
                error = DestinationUnavailable(answer.message)
            else:
                return answer
            failures += 1
            await self._wait(failures, error)

    async def _send(self, body: bytes, records: int) -> Answer | DestinationUnavailable:
        """Send once, as soon as the circuit lets it through, which learns how that went.

        Raises:
            DestinationUnavailable: The circuit is open, and the backoff gives up.
            DestinationRefused: As the sender.
        """
        if self._halt.is_set():
            raise _HaltedError
        circuit = self._route.circuit
        with circuit.enter_at_once() or await self._let_through() as passage:
            try:
                answer = await self._timed(body, records)
            except DestinationUnavailable as error:
                passage.failed(str(error), asked_s=error.retry_after_s)
                return error
            except DestinationRefused:
                passage.succeeded()
                raise
            passage.succeeded()
            if isinstance(answer, Failed):
                # A record may be to blame, and the search for it meets it again and again.
                passage.failed(answer.message, about=self._round)
            elif isinstance(answer, TooLarge) and not answer.certain:
                passage.failed(answer.message, about=None if records == 1 else self._round)
            return answer

    async def _timed(self, body: bytes, records: int) -> Answer:
        """Send once, and tell how that went."""
        route = self._route
        began_s = route.clock.monotonic_s()
        error: DestinationError | None = None
        try:
            answer = await route.sender.send(body)
            if not isinstance(answer, Accepted):
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

    async def _wait(self, failures: int, error: DestinationUnavailable) -> None:
        route = self._route
        seconds = route.backoff.wait_s(failures, error.retry_after_s)
        if seconds is None:
            raise error
        held_s = route.circuit.state.retry_in_s
        route.on_retry(route.signal, error, failures, seconds if held_s is None else held_s)
        if held_s is None:
            await self._unless_halted(route.clock.sleep(seconds))
        # Else the next request waits at the circuit, which has the say on when.

    async def _unless_halted(self, doing: Coroutine[Any, Any, T]) -> T:
        """What ``doing`` comes to, or ``_HaltedError`` as soon as the halt is set."""
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
            raise _HaltedError
        return task.result()

    def _compare_counts(self) -> None:
        """Tell where a destination rejected one number of records and, asked again, another."""
        told: set[int] = set()
        for batch, answer in self._partial:
            positions = {record.position for record in batch}
            if positions <= told:
                continue  # a part of one that is compared as a whole
            told |= positions
            named = len(positions & self._progress.refused.keys())
            if named != answer.rejected:
                self._warn(
                    f"{self._route.where} rejected {answer.rejected} of {counted(len(batch), 'record')}, "
                    f"and {named} when asked again: {answer.message or 'no reason given'}"
                )

    def _refuse(self, batch: Batch, why: str) -> None:
        for record in batch:
            self._progress.refused[record.position] = f"{self._route.signal}: {why}"

    def _warn(self, what: str) -> None:
        self._progress.warnings[f"{self._route.signal}: {what}"] = None


def _let_go(task: asyncio.Task[Any]) -> None:
    """Give up what a wait that nobody waits for any more has brought."""
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), Passage):
        with task.result():
            pass
