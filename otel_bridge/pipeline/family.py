"""A batch's records, their ancestors, and what the ledger remembers of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Recollection
from otel_bridge.mapping.identity import MAX_DEPTH, Identity, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.ledger import DeliveredRecord, RemoteSpan
    from otel_bridge.mapping.attempts import Attempt
    from otel_bridge.receiver.models import Detail

_PLACED: Final = frozenset({Rule.CORRELATION, Rule.TRACEPARENT, Rule.UNSAMPLED})


@dataclass(slots=True)
class Family:
    """A batch's records and their ancestors.

    Attributes:
        records: The batch.
        at_hand: By log id: the batch, and ancestors that were fetched; None for those that can't be had.
        delivered: Ancestors that the ledger has.
        recollection: What is remembered of those at hand.
        attempts: Those of the batch that failed, or that a failed one may have come before, by log id.
    """

    records: Sequence[Detail]
    at_hand: dict[str, Detail | None]
    delivered: dict[str, DeliveredRecord]
    recollection: Recollection = field(default_factory=Recollection)
    attempts: dict[str, Attempt] = field(default_factory=dict)

    def remotes(self) -> dict[str, RemoteSpan | None]:
        """The application's span of each record at hand, as far as is remembered."""
        if not self.recollection.names_spans:
            return {}  # nearly always, where the applications' request ids say it
        return {each.id: remote_span_of(each, self.recollection) for each in self.at_hand.values() if each}

    def may_be_placed(self, record: Detail, identity: Identity) -> bool:
        """Whether a correlation that comes now would still count."""
        undecided = record.id not in self.recollection.settled
        return undecided and record.is_tool_execution and identity.rule not in _PLACED

    def line(self, record: Detail) -> list[Detail]:
        """The record and its ancestors that are at hand, nearest first, each once."""
        if not record.parent_log_id:
            return [record]
        line = {record.id: record}
        parent = self.at_hand.get(record.parent_log_id or "")
        while parent is not None and parent.id not in line and len(line) <= MAX_DEPTH:
            line[parent.id] = parent
            parent = self.at_hand.get(parent.parent_log_id or "")
        return list(line.values())


def remote_span_of(record: Detail, memory: Recollection) -> RemoteSpan | None:
    """The application's span of a record: as it was decided, else as it is registered now."""
    settled = memory.settled.get(record.id)
    if settled is not None:
        return settled.remote
    by_log_id = memory.by_log_id.get(record.id)
    return by_log_id or memory.by_request_id.get(request_id_of(record) or "")


def request_id_of(record: Detail) -> str | None:
    """The id of the request that made the call, or None."""
    return (record.context.request_id or None) if record.context is not None else None
