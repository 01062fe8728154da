"""What the PostgreSQL ledger has decided for records before they go out, in their caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.ledger.correlation_values import FailedAttempt, RemoteSpan, Settled
from otel_bridge.ledger.limits import ATTEMPTS_KEPT_MS
from otel_bridge.ledger.log_ids import from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger.correlation_values import CorrelationKind
    from otel_bridge.ledger.postgres_database import Cursor


async def settle(  # noqa: PLR0913 - as the protocol
    cursor: Cursor,
    project_id: int,
    *,
    settled: Sequence[Settled],
    failed: Sequence[FailedAttempt],
    used: Collection[tuple[CorrelationKind, str]],
    now_ms: int,
) -> dict[str, Settled]:
    """Decide for records; what is decided stays."""
    await _put_settled(cursor, project_id, _each_once(settled), now_ms)
    if failed:
        await cursor.execute(
            "INSERT INTO otel_bridge.failed_attempts"
            " (project_id, noted_ms, key, log_id, start_ns, end_ns, trace_id, span_id)"
            " SELECT %s, %s, * FROM unnest(%s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[],"
            " %s::bytea[], %s::bytea[]) ON CONFLICT DO NOTHING",
            (
                project_id,
                now_ms,
                [each.key for each in failed],
                [to_bytes(each.log_id) for each in failed],
                [each.start_ns for each in failed],
                [each.end_ns for each in failed],
                [each.trace_id for each in failed],
                [each.span_id for each in failed],
            ),
        )
    if used:
        await cursor.execute(
            # In order of key, so that two who use the same ones don't wait for each other.
            "UPDATE otel_bridge.correlations SET used = true WHERE (kind, key) IN ("
            " SELECT c.kind, c.key FROM otel_bridge.correlations AS c"
            " JOIN unnest(%s::text[], %s::bytea[]) AS u (kind, key) ON c.kind = u.kind AND c.key = u.key"
            " WHERE NOT c.used ORDER BY c.kind, c.key FOR UPDATE OF c)",
            ([kind.value for kind, _ in used], [to_bytes(key) for _, key in used]),
        )
        await cursor.execute(
            "UPDATE otel_bridge.projects SET correlated_ms = %s WHERE id = %s", (now_ms, project_id)
        )
    return await settled_of(cursor, project_id, [each.log_id for each in settled])


async def forget_settled(cursor: Cursor, project_id: int, log_ids: Sequence[str]) -> None:
    """What was settled for records that are delivered now is done with."""
    if log_ids:
        await cursor.execute(
            "DELETE FROM otel_bridge.settled WHERE project_id = %s AND log_id = ANY(%s::bytea[])",
            (project_id, [to_bytes(log_id) for log_id in log_ids]),
        )


async def drop_settled(cursor: Cursor, project_id: int, *, before_ms: int, now_ms: int) -> None:
    """Drop what was settled long ago for records that never were delivered, and old failed attempts."""
    await cursor.execute(
        "DELETE FROM otel_bridge.settled WHERE project_id = %s AND settled_ms < %s", (project_id, before_ms)
    )
    await cursor.execute(
        "DELETE FROM otel_bridge.failed_attempts WHERE project_id = %s AND noted_ms < %s",
        (project_id, now_ms - ATTEMPTS_KEPT_MS),
    )


async def settled_of(cursor: Cursor, project_id: int, log_ids: Collection[str]) -> dict[str, Settled]:
    """What is decided for these records."""
    if not log_ids:
        return {}
    await cursor.execute(
        "SELECT log_id, trace_id, span_id, sampled, retries, retry_trace_id, retry_span_id"
        " FROM otel_bridge.settled WHERE project_id = %s AND log_id = ANY(%s::bytea[])",
        (project_id, [to_bytes(log_id) for log_id in log_ids]),
    )
    return {
        from_bytes(log_id): Settled(
            from_bytes(log_id),
            None if trace_id is None else RemoteSpan(trace_id, span_id, sampled),
            retries,
            None if retry_trace_id is None else (retry_trace_id, retry_span_id),
        )
        for log_id, trace_id, span_id, sampled, retries, retry_trace_id, retry_span_id in (
            await cursor.fetchall()
        )
    }


async def failed_with(cursor: Cursor, project_id: int, keys: Collection[bytes]) -> list[FailedAttempt]:
    """Failed attempts with one of these keys."""
    if not keys:
        return []
    await cursor.execute(
        "SELECT key, log_id, start_ns, end_ns, trace_id, span_id FROM otel_bridge.failed_attempts"
        " WHERE project_id = %s AND key = ANY(%s::bytea[])",
        (project_id, list(keys)),
    )
    return [FailedAttempt(key, from_bytes(log_id), *rest) for key, log_id, *rest in await cursor.fetchall()]


def _each_once(settled: Sequence[Settled]) -> list[Settled]:
    """One proposal a record, as if they had been made one after the other."""
    found: dict[str, Settled] = {}
    for each in settled:
        there = found.setdefault(each.log_id, each)
        if each.retries and not there.retries:
            found[each.log_id] = Settled(each.log_id, there.remote, retries=True, retry_of=each.retry_of)
    return list(found.values())


async def _put_settled(cursor: Cursor, project_id: int, settled: Sequence[Settled], now_ms: int) -> None:
    if settled:
        await cursor.execute(
            "INSERT INTO otel_bridge.settled AS there (project_id, settled_ms, log_id, trace_id, span_id,"
            " sampled, retries, retry_trace_id, retry_span_id)"
            " SELECT %s, %s, * FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[], %s::boolean[],"
            " %s::boolean[], %s::bytea[], %s::bytea[])"
            " ON CONFLICT (project_id, log_id) DO UPDATE SET retries = excluded.retries,"
            " retry_trace_id = excluded.retry_trace_id, retry_span_id = excluded.retry_span_id"
            " WHERE NOT there.retries AND excluded.retries",
            (
                project_id,
                now_ms,
                [to_bytes(each.log_id) for each in settled],
                [each.remote.trace_id if each.remote else None for each in settled],
                [each.remote.span_id if each.remote else None for each in settled],
                [each.remote is None or each.remote.sampled for each in settled],
                [each.retries for each in settled],
                [each.retry_of[0] if each.retry_of else None for each in settled],
                [each.retry_of[1] if each.retry_of else None for each in settled],
            ),
        )
