"""Which trace a record belongs to when that is its parent's: the ledger knows, the batch, or the source.

The rules themselves are pure and live in ``mapping.identity``; here is what they need to be told. The outcome
does not depend on which records came together: a parent that is not at hand is fetched.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from otel_bridge.errors import RecordNotFound, RecordUnreadable, SourceFailed
from otel_bridge.mapping.identity import (
    MAX_DEPTH,
    Identity,
    KnownParent,
    LoopingParent,
    MissingParent,
    ParentState,
    identify,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from otel_bridge.ledger import DeliveredRecord
    from otel_bridge.receiver.models import Detail

LOOP_DEPTH = -1
"""The depth that the ledger keeps for a member of a loop: a later member must not take it for its parent."""


class KnownIdentities(Protocol):
    """Where identities of delivered records are found: the ledger."""

    async def identities(self, project: str, log_ids: Sequence[str]) -> dict[str, DeliveredRecord]:
        """The delivered records of these ids."""
        ...


@dataclass(slots=True)
class Resolution:
    """What a batch's records are.

    Attributes:
        identities: By log id.
        orphans: Records whose parent the source does not have (yet), or whose ancestor's parent: each with
            the ancestor whose parent it is, which may be the record itself.
        unsure: Those of them for which the source could not give it just now, for a reason of its own.
    """

    identities: dict[str, Identity] = field(default_factory=dict)
    orphans: dict[str, Detail] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)


class IdentityResolver:
    """Resolves the identities of a batch.

    Args:
        project: The project's name, part of every id.
        known: The ledger.
        fetch: Fetches one detail of the source.
    """

    def __init__(
        self, project: str, known: KnownIdentities, fetch: Callable[[str], Awaitable[Detail]]
    ) -> None:
        self._project = project
        self._known = known
        self._fetch = fetch

    async def resolve(self, records: Sequence[Detail]) -> Resolution:
        """Resolve every record of the batch.

        Raises:
            SourceError: The source could not be asked for a parent, for a reason that is not the parent's.
        """
        at_hand: dict[str, Detail | None] = {record.id: record for record in records}
        delivered: dict[str, DeliveredRecord] = {}
        failing: set[str] = set()
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
        resolution = self._resolved(records, at_hand, delivered)
        resolution.unsure = {
            log_id for log_id, top in resolution.orphans.items() if top.parent_log_id in failing
        }
        return resolution

    async def _parent(self, log_id: str, failing: set[str]) -> Detail | None:
        try:
            return await self._fetch(log_id)
        except SourceFailed:
            failing.add(log_id)
        except (RecordNotFound, RecordUnreadable):
            pass
        return None

    def _resolved(
        self,
        records: Sequence[Detail],
        at_hand: Mapping[str, Detail | None],
        delivered: Mapping[str, DeliveredRecord],
    ) -> Resolution:
        identities: dict[str, Identity] = {}
        for record in records:
            chain, looping = _chain(record, at_hand, identities)
            for each in reversed(chain):
                state = _parent_state(each, looping, identities, delivered)
                identities[each.id] = identify(self._project, each, state)
        resolution = Resolution()
        for record in records:
            resolution.identities[record.id] = identities[record.id]
            top = _orphaned_ancestor(record, at_hand, delivered)
            if top is not None:
                resolution.orphans[record.id] = top
        return resolution


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


def _chain(
    record: Detail, at_hand: Mapping[str, Detail | None], done: Mapping[str, Identity]
) -> tuple[list[Detail], set[str]]:
    """The record and its unresolved ancestors, nearest first, and which of them stand in a loop."""
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
    looping: set[str],
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
        return KnownParent(known.trace_id, known.depth)
    if parent in delivered:
        return KnownParent(delivered[parent].trace_id, delivered[parent].depth)
    return MissingParent()
