"""Where a record stood when it was delivered, from what the ledger keeps of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.mapping.identity import (
    Identity,
    KnownParent,
    LoopingParent,
    MissingParent,
    ParentState,
    RemoteContext,
    Rule,
    identify,
)
from otel_bridge.pipeline.identities import LOOP_DEPTH

if TYPE_CHECKING:
    from otel_bridge.ledger import DeliveredRecord, RemoteSpan
    from otel_bridge.mapping.options import TraceOptions
    from otel_bridge.receiver.models import Detail


def stood(
    project: str,
    record: Detail,
    row: DeliveredRecord,
    registered: RemoteSpan | None,
    options: TraceOptions,
) -> Identity:
    """The identity that a record went out with, whatever has come since: its parent, or a correlation.

    Args:
        project: The project's name.
        record: As the source has it.
        row: As it was delivered.
        registered: The application's span that the ledger still remembers for it.
        options: What may be set about traces.
    """
    parent = _parent(record, row)
    remotes = [_context(registered), _given(record, row), None]
    found = [identify(project, record, parent, remote, options) for remote in remotes]
    same = next((each for each in found if _place(each) == _place(row)), None)
    # Of what no longer follows from the record (another OTEL_BRIDGE_GROUP_BY) the place still holds.
    return same or replace(
        found[-1], trace_id=row.trace_id, parent_span_id=row.parent_span_id, sampled=row.sampled
    )


def _parent(record: Detail, row: DeliveredRecord) -> ParentState | None:
    if not record.parent_log_id:
        return None
    if row.depth == LOOP_DEPTH:
        return LoopingParent()
    return KnownParent(row.trace_id, row.depth - 1, row.sampled) if row.depth else MissingParent()


def _context(span: RemoteSpan | None) -> RemoteContext | None:
    return (
        None if span is None else RemoteContext(span.trace_id, span.span_id, Rule.CORRELATION, span.sampled)
    )


def _given(record: Detail, row: DeliveredRecord) -> RemoteContext | None:
    """The application's span over a record that names no parent: the ledger keeps it as the parent span."""
    if record.parent_log_id or row.parent_span_id is None:
        return None
    return RemoteContext(row.trace_id, row.parent_span_id, Rule.CORRELATION, row.sampled)


def _place(each: Identity | DeliveredRecord) -> tuple[bytes, bytes | None, bool]:
    return each.trace_id, each.parent_span_id, each.sampled
