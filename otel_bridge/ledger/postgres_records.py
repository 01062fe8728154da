"""The PostgreSQL ledger's records, delivered or set aside: functions inside a transaction of their caller.

A batch goes in one statement a table, however many records it has. Those that write need the project's row
locked (``hold_project``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from otel_bridge.ledger.limits import fit_ms, fit_set_aside
from otel_bridge.ledger.log_ids import from_bytes, to_bytes
from otel_bridge.ledger.postgres_projects import clean
from otel_bridge.ledger.values import DeliveredRecord, Reason, SetAside

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger.postgres_database import Cursor


async def known(cursor: Cursor, project: str, log_ids: Collection[str]) -> set[str]:
    """Which of these ids are delivered or set aside."""
    ids = [to_bytes(log_id) for log_id in log_ids]
    # LIMIT keeps the planner, which knows nothing of a young table, from reading all of a project's rows.
    await cursor.execute(
        "SELECT k.log_id FROM unnest(%s::bytea[]) AS k (log_id), otel_bridge.projects AS p,"
        " LATERAL (SELECT FROM otel_bridge.delivered AS d WHERE d.project_id = p.id AND d.log_id = k.log_id"
        " UNION ALL SELECT FROM otel_bridge.set_aside AS a"
        " WHERE a.project_id = p.id AND a.log_id = k.log_id LIMIT 1) AS there"
        " WHERE p.name = %s",
        (ids, project),
    )
    return {from_bytes(log_id) for (log_id,) in await cursor.fetchall()}


async def identities(cursor: Cursor, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
    """The delivered records of these ids."""
    await cursor.execute(
        "SELECT k.log_id, d.* FROM unnest(%s::bytea[]) AS k (log_id), otel_bridge.projects AS p,"
        " LATERAL (SELECT time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled"
        " FROM otel_bridge.delivered WHERE project_id = p.id AND log_id = k.log_id LIMIT 1) AS d"
        " WHERE p.name = %s",
        ([to_bytes(log_id) for log_id in log_ids], project),
    )
    rows = await cursor.fetchall()
    return {from_bytes(log_id): DeliveredRecord(from_bytes(log_id), *rest) for log_id, *rest in rows}


async def put_delivered(cursor: Cursor, project_id: int, records: Sequence[DeliveredRecord]) -> None:
    """Remember delivered records; those that are there stay as they were."""
    if not records:
        return
    ids = [to_bytes(record.log_id) for record in records]
    await cursor.execute(
        "WITH new AS ("
        " INSERT INTO otel_bridge.delivered"
        " (project_id, log_id, time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled)"
        " SELECT %(project)s, * FROM unnest(%(ids)s::bytea[], %(times)s::bigint[], %(traces)s::bytea[],"
        " %(spans)s::bytea[], %(parents)s::bytea[], %(depths)s::int[], %(tool_calls)s::boolean[],"
        " %(sampled)s::boolean[])"
        " ON CONFLICT DO NOTHING RETURNING 1)"
        " UPDATE otel_bridge.projects SET delivered = delivered + (SELECT count(*) FROM new)"
        " WHERE id = %(project)s",
        {
            "project": project_id,
            "ids": ids,
            "times": [fit_ms(record.time_ms) for record in records],
            "traces": [record.trace_id for record in records],
            "spans": [record.span_id for record in records],
            "parents": [record.parent_span_id for record in records],
            "depths": [record.depth for record in records],
            "tool_calls": [record.tool_call for record in records],
            "sampled": [record.sampled for record in records],
        },
    )
    await cursor.execute(
        "DELETE FROM otel_bridge.set_aside WHERE project_id = %s AND log_id = ANY(%s::bytea[])",
        (project_id, ids),
    )


async def put_set_aside(cursor: Cursor, project_id: int, records: Sequence[SetAside]) -> None:
    """Set records aside, unless they are delivered; one that is there keeps its first ``since_ms``."""
    if not records:
        return
    latest: dict[str, SetAside] = {}
    for record in records:
        since_ms = latest.get(record.log_id, record).since_ms
        latest[record.log_id] = replace(fit_set_aside(record), since_ms=since_ms)
    rows = latest.values()
    await cursor.execute(
        "INSERT INTO otel_bridge.set_aside AS there"
        " (project_id, log_id, time_ms, reason, message, attempts, since_ms, retry_ms, tool_call)"
        " SELECT %(project)s, new.* FROM unnest(%(ids)s::bytea[], %(times)s::bigint[], %(reasons)s::text[],"
        " %(messages)s::text[], %(attempts)s::int[], %(since)s::bigint[], %(retries)s::bigint[],"
        " %(tool_calls)s::boolean[]) AS new (log_id)"
        " WHERE NOT EXISTS (SELECT 1 FROM otel_bridge.delivered AS d"
        " WHERE d.project_id = %(project)s AND d.log_id = new.log_id)"
        " ON CONFLICT (project_id, log_id) DO UPDATE SET"
        " time_ms = excluded.time_ms, reason = excluded.reason, message = excluded.message,"
        " attempts = excluded.attempts, retry_ms = excluded.retry_ms, tool_call = excluded.tool_call",
        {
            "project": project_id,
            "ids": [to_bytes(record.log_id) for record in rows],
            "times": [record.time_ms for record in rows],
            "reasons": [record.reason.value for record in rows],
            "messages": [clean(record.message) for record in rows],
            "attempts": [record.attempts for record in rows],
            "since": [record.since_ms for record in rows],
            "retries": [record.retry_ms for record in rows],
            "tool_calls": [record.tool_call for record in rows],
        },
    )


async def set_aside(cursor: Cursor, project: str, due_ms: int | None, limit: int) -> list[SetAside]:
    """What is set aside, oldest first."""
    await cursor.execute(
        "SELECT log_id, time_ms, reason, message, attempts, since_ms, retry_ms, tool_call"
        " FROM otel_bridge.set_aside"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND (%s::bigint IS NULL OR retry_ms <= %s::bigint) ORDER BY time_ms, log_id LIMIT %s",
        (project, due_ms, due_ms, limit),
    )
    return [
        SetAside(from_bytes(log_id), at_ms, _reason(reason), *rest)
        for log_id, at_ms, reason, *rest in await cursor.fetchall()
    ]


async def put_back(cursor: Cursor, project_id: int, log_ids: Collection[str] | None, now_ms: int) -> int:
    """Make set-aside records due; returns how many."""
    ids = None if log_ids is None else [to_bytes(log_id) for log_id in log_ids]
    await cursor.execute(
        "UPDATE otel_bridge.set_aside SET retry_ms = %s"
        " WHERE project_id = %s AND (%s::bytea[] IS NULL OR log_id = ANY(%s::bytea[]))",
        (now_ms, project_id, ids, ids),
    )
    return cursor.rowcount


def _reason(text: str) -> Reason:
    # A row of a newer program: the record stays listed.
    return Reason(text) if text in set(Reason) else Reason.UNREADABLE
