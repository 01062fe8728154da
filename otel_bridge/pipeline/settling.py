"""What the records of a batch do not say themselves is looked up once, and decided once.

A record may go out twice: after a crash, or where a destination failed half-way. What was registered
meanwhile must not change it. So what was found is written to the ledger before the record goes out for the
first time, and holds from then on, in every process that shares the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.ledger import CorrelationKind, FailedAttempt, Settled
from otel_bridge.mapping.attempts import Attempt, FailedAttempts, attempt_keys, attempts_in
from otel_bridge.mapping.conventions import LINK_TYPE, PREVIOUS_ATTEMPT
from otel_bridge.pipeline.family import Family, request_id_of
from otel_bridge.signals import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_bridge.ledger import Recollection
    from otel_bridge.ledger.protocol import Memory
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.options import TraceOptions
    from otel_bridge.receiver.models import Detail


class Settling:
    """Looks up and decides for one project.

    Args:
        project: Its name.
        memory: The ledger.
        options: What may be set about traces.
    """

    def __init__(self, project: str, memory: Memory, options: TraceOptions) -> None:
        self._project = project
        self._memory = memory
        self._link_retries = options.link_retries

    async def recall(self, family: Family, now_ms: int) -> None:
        """Look up all that is remembered of a batch and its ancestors, in one call."""
        records = [each for each in family.at_hand.values() if each]
        keys = {each.id: attempt_keys(each) for each in family.records} if self._link_retries else {}
        family.recollection = await self._memory.recall(
            self._project,
            log_ids={each.id for each in records},
            request_ids={each for each in map(request_id_of, records) if each},
            attempt_keys={key for each in keys.values() for key in each},
            now_ms=now_ms,
        )
        if self._link_retries:
            failed = (each.key for each in family.recollection.failed)
            family.attempts = {each.log_id: each for each in attempts_in(family.records, keys, failed)}

    async def settle(
        self, family: Family, identities: Mapping[str, Identity], log_ids: Sequence[str], now_ms: int
    ) -> dict[str, Settled]:
        """Decide for these records, and for the ancestors at hand that their traces depend on.

        Returns:
            By log id: what holds.
        """
        memory = family.recollection
        going = {log_id: record for log_id in log_ids if (record := family.at_hand[log_id])}
        attempts = {log_id: each for log_id, each in family.attempts.items() if log_id in going}
        earlier = _earlier_attempts(attempts.values(), memory.failed)
        places = {each.log_id: (each.trace_id, each.span_id) for each in memory.failed}
        places |= {log_id: (identities[log_id].trace_id, identities[log_id].span_id) for log_id in attempts}
        needed = {each.id: each for record in going.values() for each in family.line(record)}
        spans = family.remotes()
        proposed = []
        for log_id in needed:
            there = memory.settled.get(log_id)
            if there is None or (log_id in going and not there.retries):
                attempt = attempts.get(log_id)
                before = earlier.before(attempt) if attempt else None
                retry_of = places[before.log_id] if before else None
                proposed.append(Settled(log_id, spans.get(log_id), log_id in going, retry_of))
        if not proposed:
            return {log_id: memory.settled[log_id] for log_id in needed}
        settled = await self._memory.settle(
            self._project,
            proposed,
            failed=_failed(attempts.values(), places),
            used={key for each in proposed for key in _used(needed[each.log_id], memory)}
            if memory.names_spans
            else set(),
            now_ms=now_ms,
        )
        return {log_id: settled.get(log_id) or memory.settled[log_id] for log_id in needed}


def linked(identity: Identity, settled: Settled) -> Identity:
    """The identity with a link to the failed attempt before it, where there was one."""
    if settled.retry_of is None:
        return identity
    link = Link(*settled.retry_of, {LINK_TYPE: PREVIOUS_ATTEMPT})
    return replace(identity, links=(*identity.links, link))


def _used(record: Detail, memory: Recollection) -> Iterable[tuple[CorrelationKind, str]]:
    if record.id in memory.settled:
        return
    request_id = request_id_of(record)
    if record.id in memory.by_log_id:
        yield CorrelationKind.LOG_ID, record.id
    elif request_id in memory.by_request_id:
        yield CorrelationKind.REQUEST_ID, request_id


def _earlier_attempts(attempts: Iterable[Attempt], failed: Iterable[FailedAttempt]) -> FailedAttempts:
    kept = (Attempt(each.log_id, (each.key,), each.start_ns, each.end_ns, failed=True) for each in failed)
    return FailedAttempts([*kept, *attempts])


def _failed(attempts: Iterable[Attempt], places: Mapping[str, tuple[bytes, bytes]]) -> list[FailedAttempt]:
    return [
        FailedAttempt(key, each.log_id, each.start_ns, each.end_ns, *places[each.log_id])
        for each in attempts
        if each.failed
        for key in each.keys
    ]
