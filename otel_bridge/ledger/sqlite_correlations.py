"""The SQLite ledger's correlations and what was settled: functions inside a transaction of their caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.correlation_values import (
    Correlation,
    CorrelationKind,
    FailedAttempt,
    Outcome,
    Recollection,
    Registration,
    RemoteSpan,
    Settled,
)
from otel_bridge.ledger.limits import ATTEMPTS_KEPT_MS, MOST_CORRELATIONS
from otel_bridge.ledger.log_ids import from_bytes, to_bytes
from otel_bridge.ledger.sqlite_projects import find_project, intern_project
from otel_bridge.ledger.sqlite_records import chunks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

_Held = tuple[str, RemoteSpan | None]
_SETTLED: Final = "log_id, trace_id, span_id, sampled, retries, retry_trace_id, retry_span_id"


def register(
    connection: sqlite3.Connection, correlations: Sequence[Correlation], now_ms: int
) -> list[Registration]:
    """Keep what can still be used, within ``MOST_CORRELATIONS``."""
    there = {
        kind: _registered(connection, kind, [each.key for each in correlations if each.kind is kind], now_ms)
        for kind in CorrelationKind
    }
    gone = _gone(connection, [each.key for each in correlations if each.kind is CorrelationKind.LOG_ID])
    answers = []
    late: set[str] = set()
    for each in correlations:
        answer = _answer(each, there[each.kind], gone)
        answers.append(answer)
        if answer.project is not None:
            late.add(answer.project)
        if answer.outcome is Outcome.REGISTERED or each.key in there[each.kind]:
            _put(connection, each, answer.outcome)
            there[each.kind].setdefault(each.key, each.span)
    _note_correlated(connection, late, now_ms)
    _keep_bounded(connection)
    return answers


def recall(  # noqa: PLR0913 - what a batch may be remembered by
    connection: sqlite3.Connection,
    project: str,
    *,
    log_ids: Collection[str],
    request_ids: Collection[str],
    attempt_keys: Collection[bytes],
    now_ms: int,
) -> Recollection:
    """All that is remembered of a batch."""
    project_id = find_project(connection, project)
    row = connection.execute("SELECT correlated_ms FROM projects WHERE id = ?", (project_id,)).fetchone()
    # Most often nothing is registered, and all that was settled is delivered: no need to look for each.
    registered = _holds(connection, "correlations")
    return Recollection(
        settled=_settled(connection, project_id, log_ids) if _holds(connection, "settled") else {},
        by_log_id=_registered(connection, CorrelationKind.LOG_ID, log_ids if registered else (), now_ms),
        by_request_id=_registered(
            connection, CorrelationKind.REQUEST_ID, request_ids if registered else (), now_ms
        ),
        failed=list(_failed(connection, project_id, attempt_keys)),
        correlated_ms=None if row is None else row[0],
    )


def _holds(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None  # noqa: S608 - our own names


def settle(  # noqa: PLR0913 - as the protocol
    connection: sqlite3.Connection,
    project: str,
    settled: Sequence[Settled],
    *,
    failed: Sequence[FailedAttempt],
    used: Collection[tuple[CorrelationKind, str]],
    now_ms: int,
) -> dict[str, Settled]:
    """Decide for records; what is decided stays."""
    project_id = intern_project(connection, project)
    inserted = connection.executemany(
        "INSERT OR IGNORE INTO settled (project_id, settled_ms, log_id, trace_id, span_id, sampled, retries,"
        " retry_trace_id, retry_span_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(project_id, now_ms, *_row(each)) for each in settled],
    ).rowcount
    connection.executemany(
        "INSERT OR IGNORE INTO failed_attempts"
        " (project_id, noted_ms, key, log_id, start_ns, end_ns, trace_id, span_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                project_id,
                now_ms,
                each.key,
                to_bytes(each.log_id),
                each.start_ns,
                each.end_ns,
                each.trace_id,
                each.span_id,
            )
            for each in failed
        ],
    )
    if used:
        connection.executemany(
            "UPDATE correlations SET used = 1 WHERE kind = ? AND key = ? AND NOT used",
            [(kind.value, to_bytes(key)) for kind, key in used],
        )
        _note_correlated(connection, [project], now_ms)
    if inserted == len(settled):
        return {each.log_id: each for each in settled}
    _add_retries(connection, project_id, settled)
    return _settled(connection, project_id, [each.log_id for each in settled])


def _add_retries(connection: sqlite3.Connection, project_id: int, settled: Iterable[Settled]) -> None:
    """Decide on the attempt before for what was settled without."""
    connection.executemany(
        "UPDATE settled SET retries = 1, retry_trace_id = ?, retry_span_id = ?"
        " WHERE project_id = ? AND log_id = ? AND NOT retries",
        [
            (*(each.retry_of or (None, None)), project_id, to_bytes(each.log_id))
            for each in settled
            if each.retries
        ],
    )


def forget_settled(connection: sqlite3.Connection, project_id: int, log_ids: Iterable[str]) -> None:
    """What was settled for records that are delivered now is done with."""
    connection.executemany(
        "DELETE FROM settled WHERE project_id = ? AND log_id = ?",
        [(project_id, to_bytes(log_id)) for log_id in log_ids],
    )


def drop_settled(connection: sqlite3.Connection, project: str, before_ms: int, now_ms: int) -> None:
    """Drop what was settled long ago for records that never were delivered, and old failed attempts."""
    project_id = find_project(connection, project)
    connection.execute("DELETE FROM settled WHERE project_id = ? AND settled_ms < ?", (project_id, before_ms))
    connection.execute(
        "DELETE FROM failed_attempts WHERE project_id = ? AND noted_ms < ?",
        (project_id, now_ms - ATTEMPTS_KEPT_MS),
    )


def expire(connection: sqlite3.Connection, now_ms: int) -> int:
    """Drop what has expired; returns how many were never used."""
    (unused,) = connection.execute(
        "SELECT COUNT(*) FROM correlations WHERE used = 0 AND expires_ms <= ?", (now_ms,)
    ).fetchone()
    connection.execute("DELETE FROM correlations WHERE used IN (0, 1) AND expires_ms <= ?", (now_ms,))
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


def _put(connection: sqlite3.Connection, each: Correlation, outcome: Outcome) -> None:
    if outcome is Outcome.REGISTERED:
        connection.execute(
            # An expired row in the way is as good as none.
            "INSERT OR REPLACE INTO correlations (kind, key, trace_id, span_id, sampled, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                each.kind.value,
                to_bytes(each.key),
                each.span.trace_id,
                each.span.span_id,
                each.span.sampled,
                each.expires_ms,
            ),
        )
    elif outcome is Outcome.KNOWN:
        connection.execute(
            "UPDATE correlations SET expires_ms = MAX(expires_ms, ?) WHERE kind = ? AND key = ?",
            (each.expires_ms, each.kind.value, to_bytes(each.key)),
        )


def _keep_bounded(connection: sqlite3.Connection) -> None:
    (count,) = connection.execute("SELECT COUNT(*) FROM correlations").fetchone()
    if count > MOST_CORRELATIONS:
        connection.execute(
            "DELETE FROM correlations WHERE (kind, key) IN"
            " (SELECT kind, key FROM correlations ORDER BY used DESC, expires_ms LIMIT ?)",
            (count - MOST_CORRELATIONS,),
        )


def _note_correlated(connection: sqlite3.Connection, projects: Iterable[str], now_ms: int) -> None:
    connection.executemany(
        "UPDATE projects SET correlated_ms = ? WHERE name = ?", [(now_ms, name) for name in projects]
    )


def _registered(
    connection: sqlite3.Connection, kind: CorrelationKind, keys: Collection[str], now_ms: int
) -> dict[str, RemoteSpan]:
    found: dict[str, RemoteSpan] = {}
    for blobs, marks in chunks(keys):
        rows = connection.execute(
            "SELECT key, trace_id, span_id, sampled FROM correlations"  # noqa: S608 - marks: ?,?,…
            f" WHERE kind = ? AND expires_ms > ? AND key IN ({marks})",
            (kind.value, now_ms, *blobs),
        )
        for key, trace_id, span_id, sampled in rows:
            found[from_bytes(key)] = RemoteSpan(trace_id, span_id, bool(sampled))
    return found


def _gone(connection: sqlite3.Connection, log_ids: Collection[str]) -> dict[str, _Held]:
    """What went out already, or is about to: whose it is, and the application's span that it stands under."""
    found: dict[str, _Held] = {}
    for table, parent in (("settled", "span_id"), ("delivered", "parent_span_id")):
        for blobs, marks in chunks(log_ids):
            rows = connection.execute(
                f"SELECT log_id, name, trace_id, {parent} FROM projects CROSS JOIN {table}"  # noqa: S608
                f" ON project_id = id WHERE log_id IN ({marks})",  # S608: our own names, and ?,?,…
                blobs,
            )
            for log_id, name, trace_id, span_id in rows:
                span = None if trace_id is None or span_id is None else RemoteSpan(trace_id, span_id)
                found[from_bytes(log_id)] = (name, span)
    return found


def _settled(connection: sqlite3.Connection, project_id: int, log_ids: Collection[str]) -> dict[str, Settled]:
    found: dict[str, Settled] = {}
    for blobs, marks in chunks(log_ids):
        rows = connection.execute(
            f"SELECT {_SETTLED} FROM settled WHERE project_id = ? AND log_id IN ({marks})",  # noqa: S608 - marks
            (project_id, *blobs),
        )
        for log_id, trace_id, span_id, sampled, retries, retry_trace_id, retry_span_id in rows:
            found[from_bytes(log_id)] = Settled(
                from_bytes(log_id),
                None if trace_id is None else RemoteSpan(trace_id, span_id, bool(sampled)),
                bool(retries),
                None if retry_trace_id is None else (retry_trace_id, retry_span_id),
            )
    return found


def _failed(
    connection: sqlite3.Connection, project_id: int, keys: Collection[bytes]
) -> Iterable[FailedAttempt]:
    for blobs, marks in chunks(keys):
        rows = connection.execute(
            "SELECT key, log_id, start_ns, end_ns, trace_id, span_id FROM failed_attempts"  # noqa: S608 - marks
            f" WHERE project_id = ? AND key IN ({marks})",
            (project_id, *blobs),
        )
        for key, log_id, *rest in rows:
            yield FailedAttempt(key, from_bytes(log_id), *rest)


def _row(each: Settled) -> tuple[object, ...]:
    span = each.remote
    return (
        to_bytes(each.log_id),
        None if span is None else span.trace_id,
        None if span is None else span.span_id,
        span is None or span.sampled,
        each.retries,
        *(each.retry_of or (None, None)),
    )
