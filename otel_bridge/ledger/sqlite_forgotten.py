"""The SQLite ledger's counts of tool calls, forgotten ones too, inside their caller's transaction."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_bridge.ledger import forgotten
from otel_bridge.ledger.forgotten import Forgotten, day_of
from otel_bridge.ledger.limits import fit_ms
from otel_bridge.ledger.sqlite_projects import find_project
from otel_bridge.ledger.sqlite_records import known

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from otel_bridge.ledger.values import DeliveredRecord, SetAside, ToolCalls


def tool_calls(connection: sqlite3.Connection, project: str, from_ms: int, to_ms: int) -> ToolCalls:
    """How many tool calls of the range are delivered or set aside."""
    span = (find_project(connection, project), from_ms, to_ms)
    (kept,) = connection.execute(
        "SELECT COUNT(*) FROM delivered WHERE project_id = ? AND time_ms >= ? AND time_ms < ? AND tool_call",
        span,
    ).fetchone()
    set_aside = connection.execute(
        "SELECT reason, COUNT(*) FROM set_aside WHERE project_id = ? AND time_ms >= ? AND time_ms < ?"
        " AND tool_call GROUP BY reason ORDER BY reason",
        span,
    ).fetchall()
    days = connection.execute(
        "SELECT from_ms, to_ms, tool_calls, again FROM forgotten WHERE project_id = ?",
        span[:1],
    ).fetchall()
    return forgotten.tool_calls(kept, dict(set_aside), [Forgotten(*day) for day in days], from_ms, to_ms)


def add_forgotten(connection: sqlite3.Connection, project_id: int, days: Mapping[int, Forgotten]) -> None:
    """Count what was just forgotten. A count that nobody has made (NULL) stays unknown."""
    connection.executemany(
        "INSERT INTO forgotten (project_id, day_ms, from_ms, to_ms, tool_calls, again)"
        " VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (project_id, day_ms) DO UPDATE SET"
        " from_ms = MIN(from_ms, excluded.from_ms), to_ms = MAX(to_ms, excluded.to_ms),"
        " tool_calls = tool_calls + excluded.tool_calls",
        [
            (project_id, day_ms, day.from_ms, day.to_ms, day.tool_calls, day.again)
            for day_ms, day in days.items()
        ],
    )


def count_again(
    connection: sqlite3.Connection, project: str, records: Sequence[DeliveredRecord | SetAside]
) -> None:
    """Count records, before they are put, that are not known and may be forgotten ones once more."""
    days = sorted({day_of(fit_ms(record.time_ms)) for record in records})
    if not days:
        return
    project_id = find_project(connection, project)
    rows = connection.execute(
        "SELECT day_ms, from_ms, to_ms, tool_calls FROM forgotten"
        " WHERE project_id = ? AND day_ms BETWEEN ? AND ?",
        (project_id, days[0], days[-1]),
    )
    there = {day_ms: Forgotten(*rest) for day_ms, *rest in rows}
    doubtful: dict[str, int] = {}
    for record in records:
        day = there.get(day_of(record.time_ms))
        if day and day.holds(record):
            doubtful.setdefault(record.log_id, day_of(record.time_ms))
    if doubtful:
        sure = known(connection, project, doubtful)
        counts = Counter(day_ms for log_id, day_ms in doubtful.items() if log_id not in sure)
        connection.executemany(
            "UPDATE forgotten SET again = again + ? WHERE project_id = ? AND day_ms = ?",
            [(count, project_id, day_ms) for day_ms, count in counts.items()],
        )
