"""Records of one project, a ledger, and processes that place the records under their applications' spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_bridge.errors import RecordNotFound
from otel_bridge.ledger import (
    Correlation,
    CorrelationKind,
    DeliveredRecord,
    MemoryLedger,
    RemoteSpan,
)
from otel_bridge.mapping.options import TraceOptions
from otel_bridge.pipeline.identities import LOOP_DEPTH, IdentityResolver
from otel_bridge.receiver.models import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.mapping.identity import Identity

NOW = 1_000
PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"
UNSAMPLED = f"00-{'ab' * 16}-{'ef' * 8}-00"


def span(number: int, *, sampled: bool = True) -> RemoteSpan:
    return RemoteSpan(bytes([number + 1]) * 16, bytes([number + 1]) * 8, sampled)


class World:
    """All records there are, and a ledger; each call is a process of its own."""

    def __init__(self, records: Sequence[Detail], options: TraceOptions) -> None:
        self.records = {each.id: each for each in records}
        self.options = options
        self.ledger = MemoryLedger()

    async def fetch(self, log_id: str) -> Detail:
        if log_id not in self.records:
            raise RecordNotFound(log_id)
        return self.records[log_id]

    async def correlate(self, key: str, to: RemoteSpan, kind: str = "log_id") -> str:
        (answer,) = await self.ledger.register([Correlation(CorrelationKind(kind), key, to, NOW * 2)], NOW)
        return answer.outcome.value

    async def send(self, log_ids: Sequence[str]) -> dict[str, Identity]:
        """A batch up to the moment before it is committed."""
        resolver = IdentityResolver("p", self.ledger, self.fetch, memory=self.ledger, options=self.options)
        resolution = await resolver.resolve([self.records[each] for each in log_ids], NOW)
        return await resolver.settle(resolution, log_ids, NOW)

    async def commit(self, sent: dict[str, Identity]) -> None:
        delivered = [
            DeliveredRecord(
                log_id,
                0,
                each.trace_id,
                each.span_id,
                each.parent_span_id,
                LOOP_DEPTH if each.looping else each.depth,
                sampled=each.sampled,
            )
            for log_id, each in sent.items()
        ]
        await self.ledger.commit("p", delivered=delivered)


async def opened(records: Sequence[Detail], options: TraceOptions | None = None) -> World:
    world = World(records, options or TraceOptions())
    await world.ledger.open()
    return world


def record(log_id: str, parent: str | None = None, request_id: str | None = None, **fields: Any) -> Detail:
    return Detail.of_value(
        {
            "id": log_id,
            "parent": parent and {"log_id": parent},
            "context": {"request_id": request_id},
            **fields,
        }
    )
