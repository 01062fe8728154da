"""Deliver one signal's records: halve what is not taken, and find out which record is to blame, if any.

One rule for every protocol and every answer but those that only ask to wait:

* A batch that is not taken is sent in halves, down to single records: it was too large, too slow, refused,
  or made the destination fail. Where the cause may be a rate limit or an outage, there is a wait before.
* A partial success is searched in the same way, until every record has been answered for by itself or in a
  part that was taken whole. Nothing is inferred from the counts: a destination that counts differently the
  second time would make a lost record look delivered.
* A record that is not taken alone is a suspect. It is refused for good only where the destination is seen
  to take records both before its last try and, unless only a few suspects stand in a row, after it.
* Where nothing of the batch shows that, a few other records are tried alone, and then a record that the
  destination has taken before. Is none of them taken, the destination is to blame: nothing is refused, and
  from then on one record at a time is tried, when the circuit says so.
* An answer with an open cause (500, no answer, a rate limit) makes a suspect only after several tries with
  waits between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.batching import Batch, batches, halves
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.evidence import SEVERAL
from otel_bridge.exporter.route import HaltedError, Progress, Route, Sending, refuses_all
from otel_bridge.exporter.sender import (
    Accepted,
    Failed,
    NoAnswer,
    NotTaken,
    Refused,
    TooLarge,
    is_of_its_age,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from otel_bridge.exporter.encoding import Encoded

_TRIES_FAILED: Final = 3
"""So often a record must have been tried alone before an answer with an open cause speaks against it."""
_TRIES_LIMITED: Final = 6
"""As above, where the cause may be a rate limit: that passes, and the waits have grown by then."""

_DOUBT_S: Final = 120.0
"""So long a few records that are refused wait for another one that shows whether they are to blame."""

_GOLDEN: Final = 0.618034  # multiples of it, without their whole part, spread evenly over 0 to 1


async def deliver(route: Route, records: Iterable[Encoded], progress: Progress, halt: asyncio.Event) -> None:
    """Deliver records in their order.

    Args:
        route: Where to.
        records: What to deliver, all of the route's signal.
        progress: Where to note what became of each.
        halt: Once it is set, no request begins and no wait goes on; what is not settled stays so.

    Raises:
        DestinationUnavailable: The backoff has given up, after so many tries of its own, or of others
            while it waited.
        DestinationRefused: The destination as a whole says no.
    """
    try:
        await _Search(route, records, progress, halt).deliver()
    except HaltedError:
        return
    except DestinationRefused as error:
        if not error.unsupported or route.signal is Signal.TRACES:
            raise
        if not route.optional:
            raise DestinationRefused(
                f"{error}; OTEL_BRIDGE_SIGNALS asks for {route.signal}: leave it out there, "
                "or give it an endpoint of its own",
                unsupported=True,
            ) from None
        route.off = True
        progress.warnings[
            f"{route.signal}: {route.where} does not take {route.signal}; "
            f"leave {route.signal} out of OTEL_BRIDGE_SIGNALS to say so"
        ] = None


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A record that was not taken although it was alone.

    Attributes:
        taken_before: How many requests the destination had taken by then.
    """

    record: Encoded
    answer: NotTaken
    taken_before: int

    @property
    def _tries(self) -> int:
        if isinstance(self.answer, (Failed, NoAnswer)):
            return _TRIES_FAILED
        return _TRIES_LIMITED if isinstance(self.answer, TooLarge) and not self.answer.certain else 1

    @property
    def refused(self) -> bool:
        """Whether the answer is a plain no, with no cause left open."""
        return self._tries == 1

    def due(self, tries: int, attempts: int | None) -> bool:
        """Whether it has been tried often enough to be judged."""
        return tries >= min(self._tries, attempts or self._tries)


class _Search:
    """The delivery of one signal's records in one call of the exporter."""

    def __init__(
        self, route: Route, records: Iterable[Encoded], progress: Progress, halt: asyncio.Event
    ) -> None:
        self._route = route
        self._evidence = route.evidence
        self._batches = batches(records, route.limits)
        self._progress = progress
        self._sending = Sending(route, halt)
        self._partial: list[tuple[Batch, Accepted]] = []
        self._suspects: list[_Suspect] = []
        self._most_in_a_row = SEVERAL
        self._picks = 0
        self._doubt_began_s: float | None = None
        # What the destination had taken when a batch began, or after the last wait.
        self._began = 0

    async def deliver(self) -> None:
        for batch in self._batches:
            await self._settle(batch)
            self._compare_counts()

    async def _settle(self, remaining: Batch) -> None:
        """Try a batch until each of its records is taken or refused, in rounds."""
        tries = 1
        self._most_in_a_row = SEVERAL
        self._doubt_began_s = None
        self._began = self._evidence.taken
        in_doubt = self._evidence.doubted
        while remaining:
            taken, unsettled = self._evidence.taken, len(remaining)
            await self._send(remaining, in_doubt=in_doubt)
            due = [each for each in self._suspects if each.due(tries, self._route.backoff.attempts)]
            if due and self._nothing_to_compare():
                # What comes later in this call may show it.
                remaining += tuple(one for batch in self._batches for one in batch)
                await self._find_one_that_is_taken(remaining, look_around=not in_doubt)
            in_doubt = self._judge(due, remaining)
            remaining = self._left(remaining)
            progressed = len(remaining) < unsettled or self._evidence.taken > taken
            if remaining and (in_doubt or not progressed or self._only_time_helps(remaining, tries)):
                await self._sending.wait(tries, self._why_it_waits(in_doubt=in_doubt))
                tries += 1
                self._began = self._evidence.taken

    async def _send(self, remaining: Batch, *, in_doubt: bool) -> None:
        """One round. In doubt a record alone shows first whether all the others need be sent."""
        taken = self._evidence.taken
        self._suspects = []
        self._sending.begin_search()
        if in_doubt:
            await self._part((self._one_of(remaining),))
            if self._evidence.taken == taken:
                return
        for batch in batches(self._left(remaining), self._route.limits):
            await self._part(batch)

    def _judge(self, due: list[_Suspect], remaining: Batch) -> bool:
        """Refuse who is to blame; tell whether it is in doubt that the destination takes anything."""
        blameless = self._in_a_row() if self._nothing_to_compare() else []
        for each in due:
            if each.taken_before > self._began and each not in blameless:
                self._refuse(each)
        if not blameless:
            self._doubt_began_s = None
        elif due:
            self._evidence.doubted = True
            self._give_way(remaining)
        return bool(blameless)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────
    async def _part(self, batch: Batch) -> None:
        """Send records, and halves of them, until each is taken or a suspect, or too many are suspects."""
        if len(self._in_a_row()) >= self._most_in_a_row:
            return  # left unsettled: the next round has them again
        await self._try(batch)

    async def _try(self, batch: Batch) -> None:
        answer = await self._sending.ask(batch)
        if isinstance(answer, Accepted):
            await self._accepted(batch, answer)
        elif len(batch) == 1:
            self._suspect(batch, answer)
        else:
            if isinstance(answer, NoAnswer) or (isinstance(answer, TooLarge) and not answer.certain):
                await self._sending.wait(1, DestinationUnavailable(answer.message))
            if isinstance(answer, (Refused, Failed)):
                self._resent(batch)
            await self._halves(batch)

    async def _accepted(self, batch: Batch, answer: Accepted) -> None:
        if not answer.rejected:
            self._progress.acknowledged.update(record.position for record in batch)
            if answer.message:
                self._warn(answer.message)
        elif answer.rejected >= len(batch):
            # All of them are named, so no half need be asked about.
            self._suspect(batch, Refused(answer.message or "rejected without a reason"))
        else:
            self._partial.append((batch, answer))
            self._resent(batch)
            await self._halves(batch)

    async def _halves(self, batch: Batch) -> None:
        for half in halves(batch):
            await self._part(half)

    async def _find_one_that_is_taken(self, remaining: Batch, *, look_around: bool) -> None:
        """Try records until the destination takes one: a few of those not tried alone, then the control."""
        taken = self._evidence.taken
        known = {each.record.position for each in self._suspects}
        others = tuple(one for one in self._left(remaining) if one.position not in known)
        for _ in range(min(SEVERAL, len(others)) if look_around else 0):
            await self._try((self._one_of(others),))
            if self._evidence.taken > taken:
                break
        if self._evidence.taken == taken and self._evidence.control is not None:
            await self._sending.ask((self._evidence.control,))
        if self._evidence.taken > taken:
            self._most_in_a_row *= 2

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────
    def _suspect(self, batch: Batch, answer: NotTaken) -> None:
        """None of these was taken, and each of them was answered for."""
        for record in batch:
            suspect = _Suspect(record, answer, self._evidence.taken)
            if isinstance(answer, Refused) and is_of_its_age(answer.message):
                self._refuse(suspect)
            else:
                self._evidence.refused(record)
                self._suspects.append(suspect)

    def _in_a_row(self) -> list[_Suspect]:
        """The suspects since the destination has taken something."""
        return [each for each in self._suspects if each.taken_before == self._evidence.taken]

    def _nothing_to_compare(self) -> bool:
        """Whether nothing shows that the destination takes records while it does not take the suspects."""
        return (self._evidence.taken == self._began or len(self._in_a_row()) >= self._most_in_a_row) and bool(
            self._in_a_row()
        )

    def _only_time_helps(self, remaining: Batch, tries: int) -> bool:
        """Whether all that is left was tried, and must be tried again after a wait before it is judged."""
        attempts = self._route.backoff.attempts
        undue = {each.record.position for each in self._suspects if not each.due(tries, attempts)}
        return undue.issuperset(one.position for one in remaining)

    def _give_way(self, remaining: Batch) -> None:
        """Refuse a few records for now, if nothing has shown for long whether they are to blame.

        Nothing else of their project comes while they wait, so it could go on for ever.
        """
        now_s = self._route.clock.monotonic_s()
        if self._doubt_began_s is None:
            self._doubt_began_s = now_s
        refused = {each.record.position: each for each in self._suspects if each.refused}
        few = len(self._left(remaining)) < SEVERAL and not self._evidence.several
        if few and refused and now_s - self._doubt_began_s >= _DOUBT_S and not self._route.backoff.attempts:
            last = next(iter(refused.values()))
            for record in self._left(remaining):
                self._refuse(refused.get(record.position, _Suspect(record, last.answer, 0)))
                self._progress.doubtful.add(record.position)

    def _refuse(self, suspect: _Suspect) -> None:
        self._progress.refused[suspect.record.position] = f"{self._route.signal}: {suspect.answer.message}"

    def _left(self, batch: Batch) -> Batch:
        return tuple(one for one in batch if not self._progress.settled(one.position))

    def _one_of(self, batch: Batch) -> Encoded:
        """Another one each time, from all over the batch: neighbours often share their fault."""
        self._picks += 1
        return batch[int(len(batch) * (self._picks * _GOLDEN % 1))]

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────
    def _why_it_waits(self, *, in_doubt: bool) -> DestinationUnavailable:
        last = self._suspects[-1]
        if not in_doubt or not last.refused:
            return DestinationUnavailable(last.answer.message)
        return DestinationUnavailable(f"{self._route.where}: {refuses_all(last.answer.message)}")

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
        self._partial.clear()

    def _resent(self, batch: Batch) -> None:
        self._progress.resent.update(record.position for record in batch)

    def _warn(self, what: str) -> None:
        self._progress.warnings[f"{self._route.signal}: {what}"] = None
