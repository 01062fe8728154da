"""The SQLite ledger's records, delivered or set aside: functions inside a transaction of their caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.ledger.limits import fit_ms, fit_set_aside
from otel_bridge.ledger.log_ids import from_bytes, to_bytes
from otel_bridge.ledger.sqlite_projects import find_project
from otel_bridge.ledger.values import DeliveredRecord, Reason, SetAside

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

_IDS_A_QUERY = 500  # SQLite before 3.32 takes 999 variables


def known(connection: sqlite3.Connection, project: str, log_ids: Collection[str]) -> set[str]:
    """Which of these ids are delivered or set aside."""
    project_id = find_project(connection, project)
    found: set[str] = set()
    for ids, marks in chunks(log_ids):
        rows = connection.execute(
            f"SELECT log_id FROM delivered WHERE project_id = ? AND log_id IN ({marks})"  # noqa: S608 - marks: ?,?,…
            f" UNION ALL SELECT log_id FROM set_aside WHERE project_id = ? AND log_id IN ({marks})",
            (project_id, *ids, project_id, *ids),
        )
        found.update(from_bytes(log_id) for (log_id,) in rows)
    return found


def identities(
    connection: sqlite3.Connection, project: str, log_ids: Collection[str]
) -> dict[str, DeliveredRecord]:
    """The delivered records of these ids."""
    project_id = find_project(connection, project)
    found: dict[str, DeliveredRecord] = {}
    for ids, marks in chunks(log_ids):
        rows = connection.execute(
            "SELECT log_id, time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled"  # noqa: S608
            f" FROM delivered WHERE project_id = ? AND log_id IN ({marks})",  # S608: marks is ?,?,…
            (project_id, *ids),
        )
        for log_id, time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled in rows:
            name = from_bytes(log_id)
            found[name] = DeliveredRecord(
                name, time_ms, trace_id, span_id, parent_span_id, depth, bool(tool_call), bool(sampled)
            )
    return found


def put_delivered(
    connection: sqlite3.Connection, project_id: int, records: Sequence[DeliveredRecord]
) -> None:
    """Remember delivered records; those that are there stay as they were."""
    if not records:
        return
    cursor = connection.executemany(
        "INSERT OR IGNORE INTO delivered"
        " (project_id, log_id, time_ms, trace_id, span_id, parent_span_id, depth, tool_call, sampled)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                project_id,
                to_bytes(record.log_id),
                fit_ms(record.time_ms),
                record.trace_id,
                record.span_id,
                record.parent_span_id,
                record.depth,
                record.tool_call,
                record.sampled,
            )
            for record in records
        ],
    )
    connection.execute(
        "UPDATE projects SET delivered = delivered + ? WHERE id = ?", (cursor.rowcount, project_id)
    )
    waiting = connection.execute("SELECT 1 FROM set_aside WHERE project_id = ? LIMIT 1", (project_id,))
    if waiting.fetchone():
        connection.executemany(
            "DELETE FROM set_aside WHERE project_id = ? AND log_id = ?",
            [(project_id, to_bytes(record.log_id)) for record in records],
        )


def put_set_aside(connection: sqlite3.Connection, project_id: int, records: Sequence[SetAside]) -> None:
    """Set records aside, unless they are delivered; one that is there keeps its first ``since_ms``."""
    connection.executemany(
        "INSERT INTO set_aside"
        " (project_id, log_id, time_ms, reason, message, attempts, since_ms, retry_ms, tool_call)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
        " WHERE NOT EXISTS (SELECT 1 FROM delivered WHERE project_id = ?1 AND log_id = ?2)"
        " ON CONFLICT (project_id, log_id) DO UPDATE SET"
        " time_ms = excluded.time_ms, reason = excluded.reason, message = excluded.message,"
        " attempts = excluded.attempts, retry_ms = excluded.retry_ms, tool_call = excluded.tool_call",
        [
            (
                project_id,
                to_bytes(record.log_id),
                record.time_ms,
                record.reason.value,
                record.message,
                record.attempts,
                record.since_ms,
                record.retry_ms,
                record.tool_call,
            )
            for record in map(fit_set_aside, records)
        ],
    )


def set_aside(connection: sqlite3.Connection, project: str, due_ms: int | None, limit: int) -> list[SetAside]:
    """What is set aside, oldest first."""
    condition = "" if due_ms is None else "AND retry_ms <= ? "
    rows = connection.execute(
        "SELECT log_id, time_ms, reason, message, attempts, since_ms, retry_ms, tool_call"  # noqa: S608
        " FROM set_aside"
        f" WHERE project_id = ? {condition}ORDER BY time_ms, log_id LIMIT ?",  # S608: one of two constants
        (find_project(connection, project), *(() if due_ms is None else (due_ms,)), limit),
    )
    return [
        SetAside(
            from_bytes(log_id), at_ms, _reason(reason), message, attempts, since_ms, retry_ms, bool(tool_call)
        )
        for log_id, at_ms, reason, message, attempts, since_ms, retry_ms, tool_call in rows
    ]


def put_back(
    connection: sqlite3.Connection, project: str, log_ids: Collection[str] | None, now_ms: int
) -> int:
    """Make set-aside records due; returns how many."""
    project_id = find_project(connection, project)
    if log_ids is None:
        return connection.execute(
            "UPDATE set_aside SET retry_ms = ? WHERE project_id = ?", (now_ms, project_id)
        ).rowcount
    return connection.executemany(
        "UPDATE set_aside SET retry_ms = ? WHERE project_id = ? AND log_id = ?",
        [(now_ms, project_id, to_bytes(log_id)) for log_id in set(log_ids)],
    ).rowcount


def chunks(keys: Collection[str] | Collection[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """As many keys as one query takes, as the blobs they are kept as, with a mark for each."""
    blobs = [to_bytes(key) if isinstance(key, str) else key for key in keys]
    for start in range(0, len(blobs), _IDS_A_QUERY):
        chunk = blobs[start : start + _IDS_A_QUERY]
        yield chunk, ",".join("?" * len(chunk))


def _reason(text: str) -> Reason:
    # A flipped bit, or a row of a newer program: the record stays listed.
    return Reason(text) if text in set(Reason) else Reason.UNREADABLE
