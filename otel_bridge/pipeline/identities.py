"""Which trace a record belongs to, by what the ledger remembers, the batch holds, and the source has.

The rules themselves are pure and live in ``mapping.identity``; here is what they need to be told. The outcome
does not depend on which records came together: a parent that is not at hand is fetched, and its identity is
found as its own delivery would find it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.errors import RecordNotFound, RecordUnreadable, SourceFailed
from otel_bridge.mapping.identity import (
    MAX_DEPTH,
    Identity,
    KnownParent,
    LoopingParent,
    MissingParent,
    ParentState,
    RemoteContext,
    Rule,
    identify,
)
from otel_bridge.mapping.options import TraceOptions
from otel_bridge.pipeline.family import Family
from otel_bridge.pipeline.settling import Settling, linked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from otel_bridge.ledger import DeliveredRecord, RemoteSpan
    from otel_bridge.ledger.protocol import Identities, Memory
    from otel_bridge.receiver.models import Detail

LOOP_DEPTH = -1
"""The depth that the ledger keeps for a member of a loop: a later member must not take it for its parent."""

_NONE: frozenset[str] = frozenset()


@dataclass(slots=True)
class Resolution:
    """What a batch's records are.

    Attributes:
        identities: By log id.
        orphans: Records whose parent the source does not have (yet), or whose ancestor's parent: each with
            the ancestor whose parent it is, which may be the record itself.
        unsure: Those of them for which the source could not give it just now, for a reason of its own.
        unplaced: Records that no application has placed (yet): each with the ancestor whose place would be
            its own, which may be the record itself.
        correlated_ms: When a correlation was last of use to the project, in ms since the epoch; None where
            that never was.
        family: What it was found from.
    """

    identities: dict[str, Identity]
    orphans: dict[str, Detail]
    family: Family
    unsure: set[str] = field(default_factory=set)
    unplaced: dict[str, Detail] = field(default_factory=dict)

    @property
    def correlated_ms(self) -> int | None:
        """See the class."""
        return self.family.recollection.correlated_ms


class IdentityResolver:
    """Resolves the identities of a batch.

    Args:
        project: The project's name, part of every id.
        known: The ledger.
        fetch: Fetches one detail of the source.
        memory: Remembers correlations and what was settled by them: the ledger; None for none.
        options: What may be set about traces.
    """

    def __init__(
        self,
        project: str,
        known: Identities,
        fetch: Callable[[str], Awaitable[Detail]],
        *,
        memory: Memory | None = None,
        options: TraceOptions = TraceOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._project = project
        self._known = known
        self._fetch = fetch
        self._settling = None if memory is None else Settling(project, memory, options)
        self._options = options

    async def resolve(self, records: Sequence[Detail], now_ms: int = 0) -> Resolution:
        """Resolve every record of the batch, as far as is known now.

        Args:
            records: The batch.
            now_ms: In ms since the epoch: correlations that have expired by then do not count.

        Raises:
            SourceError: The source could not be asked for a parent, for a reason that is not the parent's.
        """
        failing: set[str] = set()
        family = await self._family(records, failing)
        if self._settling is not None:
            await self._settling.recall(family, now_ms)
        identities = self._identified(family, family.remotes())
        # Those of ancestors are good for no more than this: their own may reach higher up.
        resolution = Resolution({each.id: identities[each.id] for each in records}, {}, family)
        for record in records:
            top = _orphaned_ancestor(record, family.at_hand, family.delivered)
            if top is not None:
                resolution.orphans[record.id] = top
                if top.parent_log_id in failing:
                    resolution.unsure.add(record.id)
            decider = _decider(record, family.at_hand, identities)
            if decider is not None and family.may_be_placed(decider, identities[decider.id]):
                resolution.unplaced[record.id] = decider
        return resolution

    async def settle(
        self, resolution: Resolution, log_ids: Sequence[str], now_ms: int
    ) -> dict[str, Identity]:
        """Decide for records of the batch that are about to go out: from now on their identities hold.

        Returns:
            By log id, with links to failed attempts before them.
        """
        family, identities = resolution.family, resolution.identities
        if self._settling is None:
            return {log_id: identities[log_id] for log_id in log_ids}
        settled = await self._settling.settle(family, identities, log_ids, now_ms)
        remotes = family.remotes()
        decided = {log_id: each.remote for log_id, each in settled.items()}
        if any(remotes.get(log_id) != span for log_id, span in decided.items()):
            # A registration, or another process, came between looking and deciding.
            identities = self._identified(family, remotes | decided)
        return {log_id: linked(identities[log_id], settled[log_id]) for log_id in log_ids}

    async def _family(self, records: Sequence[Detail], failing: set[str]) -> Family:
        at_hand: dict[str, Detail | None] = {record.id: record for record in records}
        delivered: dict[str, DeliveredRecord] = {}
        wanted = _parents(records) - at_hand.keys()
        for _ in range(MAX_DEPTH + 1):
            if not wanted:
                break
            found = await self._known.identities(self._project, sorted(wanted))
            delivered |= {key: each for key, each in found.items() if each.depth != LOOP_DEPTH}
            missing = sorted(wanted - delivered.keys())
            fetched = await asyncio.gather(*(self._parent(log_id, failing) for log_id in missing))
            at_hand |= dict(zip(missing, fetched, strict=True))
            wanted = _parents([each for each in fetched if each]) - at_hand.keys() - delivered.keys()
        return Family(records, at_hand, delivered)

    async def _parent(self, log_id: str, failing: set[str]) -> Detail | None:
        try:
            return await self._fetch(log_id)
        except SourceFailed:
            failing.add(log_id)
        except (RecordNotFound, RecordUnreadable):
            pass
        return None

    def _identified(self, family: Family, remotes: Mapping[str, RemoteSpan | None]) -> dict[str, Identity]:
        identities: dict[str, Identity] = {}
        for record in family.records:
            chain, looping = _chain(record, family.at_hand, identities)
            for each in reversed(chain):
                state = _parent_state(each, looping, identities, family.delivered)
                span = remotes.get(each.id)
                remote = None
                if span is not None:
                    remote = RemoteContext(span.trace_id, span.span_id, Rule.CORRELATION, span.sampled)
                identities[each.id] = identify(self._project, each, state, remote, self._options)
        return identities


def _parents(records: Sequence[Detail]) -> set[str]:
    return {record.parent_log_id for record in records if record.parent_log_id}


def _orphaned_ancestor(
    record: Detail, at_hand: Mapping[str, Detail | None], delivered: Mapping[str, DeliveredRecord]
) -> Detail | None:
    """The record, or its nearest ancestor, whose parent is nowhere; None where the line ends or loops."""
    current = record
    for _ in range(MAX_DEPTH + 1):
        parent_id = current.parent_log_id
        if not parent_id or parent_id in delivered:
            return None
        parent = at_hand.get(parent_id)
        if parent is None:
            return current
        current = parent
    return None


def _decider(
    record: Detail, at_hand: Mapping[str, Detail | None], identities: Mapping[str, Identity]
) -> Detail | None:
    """Whose place decides the record's trace: its own, or an ancestor's; None where that one is delivered."""
    current: Detail | None = record
    while current is not None and identities[current.id].rule is Rule.PARENT:
        current = at_hand.get(current.parent_log_id or "")
    return current


def _chain(
    record: Detail, at_hand: Mapping[str, Detail | None], done: Mapping[str, Identity]
) -> tuple[list[Detail], AbstractSet[str]]:
    """The record and its unresolved ancestors, nearest first, and which of them stand in a loop."""
    if record.id not in done and record.parent_log_id not in at_hand:
        return [record], _NONE
    chain: list[Detail] = []
    place: dict[str, int] = {}
    current: Detail | None = record
    while current is not None and current.id not in done:
        if current.id in place:
            return chain, {each.id for each in chain[place[current.id] :]}
        place[current.id] = len(chain)
        chain.append(current)
        current = at_hand.get(current.parent_log_id or "")
    return chain, set()


def _parent_state(
    record: Detail,
    looping: AbstractSet[str],
    identities: Mapping[str, Identity],
    delivered: Mapping[str, DeliveredRecord],
) -> ParentState | None:
    parent = record.parent_log_id
    if not parent:
        return None
    if record.id in looping:
        return LoopingParent()
    if parent in identities:
        known = identities[parent]
        return KnownParent(known.trace_id, known.depth, known.sampled)
    if parent in delivered:
        there = delivered[parent]
        return KnownParent(there.trace_id, there.depth, there.sampled)
    return MissingParent()
