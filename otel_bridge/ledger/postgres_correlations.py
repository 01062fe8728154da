"""The PostgreSQL ledger's correlations: functions in a transaction of their caller.

Registrations come one after the other, whoever takes them, under an advisory lock: an application may report
one call to several replicas. Rows are locked in one order everywhere, projects before correlations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.correlation_values import (
    Correlation,
    CorrelationKind,
    Outcome,
    Recollection,
    Registration,
    RemoteSpan,
)
from otel_bridge.ledger.limits import MOST_CORRELATIONS
from otel_bridge.ledger.log_ids import from_bytes, to_bytes
from otel_bridge.ledger.postgres_settled import failed_with, settled_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from otel_bridge.ledger.postgres_database import Cursor

_Held = tuple[str, RemoteSpan | None]
_LOCK: Final = 0x6F74656C_636F7272
"""The advisory lock of registrations: ``otelcorr``."""


async def register(cursor: Cursor, correlations: Sequence[Correlation], now_ms: int) -> list[Registration]:
    """Keep what can still be used, within ``MOST_CORRELATIONS``."""
    await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    there = {
        kind: await _registered(
            cursor, kind, [each.key for each in correlations if each.kind is kind], now_ms
        )
        for kind in CorrelationKind
    }
    gone = await _gone(cursor, [each.key for each in correlations if each.kind is CorrelationKind.LOG_ID])
    answers: list[Registration] = []
    fresh: dict[tuple[CorrelationKind, str], Correlation] = {}
    longer: dict[tuple[CorrelationKind, str], int] = {}
    for each in correlations:
        answer = _answer(each, there[each.kind], gone)
        answers.append(answer)
        key = (each.kind, each.key)
        if answer.outcome is Outcome.REGISTERED:
            fresh[key] = each
            there[each.kind][each.key] = each.span
        elif answer.outcome is Outcome.KNOWN and each.key in there[each.kind]:
            longer[key] = max(longer.get(key, 0), each.expires_ms)
    await _note_correlated(cursor, {each.project for each in answers if each.project is not None}, now_ms)
    await _put(cursor, list(fresh.values()))
    await _prolong(cursor, longer)
    await _keep_bounded(cursor)
    return answers


async def recall(  # noqa: PLR0913 - what a batch may be remembered by
    cursor: Cursor,
    project: str,
    *,
    log_ids: Collection[str],
    request_ids: Collection[str],
    attempt_keys: Collection[bytes],
    now_ms: int,
) -> Recollection:
    """All that is remembered of a batch."""
    await cursor.execute("SELECT id, correlated_ms FROM otel_bridge.projects WHERE name = %s", (project,))
    project_id, correlated_ms = await cursor.fetchone() or (0, None)
    return Recollection(
        settled=await settled_of(cursor, project_id, log_ids),
        by_log_id=await _registered(cursor, CorrelationKind.LOG_ID, log_ids, now_ms),
        by_request_id=await _registered(cursor, CorrelationKind.REQUEST_ID, request_ids, now_ms),
        failed=await failed_with(cursor, project_id, attempt_keys),
        correlated_ms=correlated_ms,
    )


async def expire(cursor: Cursor, now_ms: int) -> int:
    """Drop what has expired; returns how many were never used."""
    await cursor.execute(
        "WITH gone AS (DELETE FROM otel_bridge.correlations WHERE expires_ms <= %s RETURNING used)"
        " SELECT count(*) FILTER (WHERE NOT used) FROM gone",
        (now_ms,),
    )
    [(unused,)] = await cursor.fetchall()
    return int(unused)


def _answer(correlation: Correlation, there: dict[str, RemoteSpan], gone: dict[str, _Held]) -> Registration:
    kept = there.get(correlation.key)
    if kept is not None:
        return Registration(Outcome.KNOWN if kept == correlation.span else Outcome.CONFLICT)
    held = gone.get(correlation.key) if correlation.kind is CorrelationKind.LOG_ID else None
    if held is None:
        return Registration(Outcome.REGISTERED)
    project, span = held
    if span is not None and span.is_same(correlation.span):
        return Registration(Outcome.KNOWN)
    return Registration(Outcome.LATE, project)


async def _put(cursor: Cursor, fresh: Sequence[Correlation]) -> None:
    if fresh:
        await cursor.execute(
            "INSERT INTO otel_bridge.correlations (kind, key, trace_id, span_id, sampled, expires_ms)"
            " SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bytea[], %s::bytea[], %s::boolean[],"
            " %s::bigint[])"
            # An expired row in the way is as good as none.
            " ON CONFLICT (kind, key) DO UPDATE SET trace_id = excluded.trace_id,"
            " span_id = excluded.span_id, sampled = excluded.sampled, expires_ms = excluded.expires_ms,"
            " used = false",
            (
                [each.kind.value for each in fresh],
                [to_bytes(each.key) for each in fresh],
                [each.span.trace_id for each in fresh],
                [each.span.span_id for each in fresh],
                [each.span.sampled for each in fresh],
                [each.expires_ms for each in fresh],
            ),
        )


async def _prolong(cursor: Cursor, longer: dict[tuple[CorrelationKind, str], int]) -> None:
    if longer:
        await cursor.execute(
            "UPDATE otel_bridge.correlations AS c SET expires_ms = GREATEST(c.expires_ms, l.expires_ms)"
            " FROM unnest(%s::text[], %s::bytea[], %s::bigint[]) AS l (kind, key, expires_ms)"
            " WHERE c.kind = l.kind AND c.key = l.key",
            (
                [kind.value for kind, _ in longer],
                [to_bytes(key) for _, key in longer],
                list(longer.values()),
            ),
        )


async def _keep_bounded(cursor: Cursor) -> None:
    await cursor.execute("SELECT COUNT(*) FROM otel_bridge.correlations")
    [(count,)] = await cursor.fetchall()
    if count > MOST_CORRELATIONS:
        await cursor.execute(
            "DELETE FROM otel_bridge.correlations WHERE (kind, key) IN"
            " (SELECT kind, key FROM otel_bridge.correlations ORDER BY used DESC, expires_ms LIMIT %s)",
            (count - MOST_CORRELATIONS,),
        )


async def _note_correlated(cursor: Cursor, projects: Iterable[str], now_ms: int) -> None:
    for name in sorted(projects):
        await cursor.execute(
            "UPDATE otel_bridge.projects SET correlated_ms = %s WHERE name = %s", (now_ms, name)
        )


async def _registered(
    cursor: Cursor, kind: CorrelationKind, keys: Collection[str], now_ms: int
) -> dict[str, RemoteSpan]:
    if not keys:
        return {}
    await cursor.execute(
        "SELECT key, trace_id, span_id, sampled FROM otel_bridge.correlations"
        " WHERE kind = %s AND expires_ms > %s AND key = ANY(%s::bytea[])",
        (kind.value, now_ms, [to_bytes(key) for key in keys]),
    )
    return {from_bytes(key): RemoteSpan(*rest) for key, *rest in await cursor.fetchall()}


async def _gone(cursor: Cursor, log_ids: Collection[str]) -> dict[str, _Held]:
    """What went out already, or is about to: whose it is, and the application's span that it stands under."""
    found: dict[str, _Held] = {}
    if not log_ids:
        return found
    # LIMIT keeps the planner from reading a whole table where a look at the index for each project will do.
    await cursor.execute(
        "SELECT 0, k.log_id, p.name, s.trace_id, s.span_id"
        " FROM unnest(%(ids)s::bytea[]) AS k (log_id) CROSS JOIN otel_bridge.projects AS p,"
        " LATERAL (SELECT trace_id, span_id FROM otel_bridge.settled"
        " WHERE project_id = p.id AND log_id = k.log_id LIMIT 1) AS s"
        " UNION ALL SELECT 1, k.log_id, p.name, d.trace_id, d.parent_span_id"
        " FROM unnest(%(ids)s::bytea[]) AS k (log_id) CROSS JOIN otel_bridge.projects AS p,"
        " LATERAL (SELECT trace_id, parent_span_id FROM otel_bridge.delivered"
        " WHERE project_id = p.id AND log_id = k.log_id LIMIT 1) AS d"
        " ORDER BY 1",
        {"ids": [to_bytes(log_id) for log_id in log_ids]},
    )
    for _, log_id, name, trace_id, span_id in await cursor.fetchall():
        span = None if trace_id is None or span_id is None else RemoteSpan(trace_id, span_id)
        found[from_bytes(log_id)] = (name, span)
    return found
