"""The SQLite ledger's windows: functions inside a transaction of their caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.line import (
    FIRST_MS,
    LAST_MS,
    check_all_there,
    check_replaced,
    check_same_time,
    check_window,
    named,
)
from otel_bridge.ledger.sqlite_projects import find_project, intern_project
from otel_bridge.ledger.values import Lane, Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

_COLUMNS = "from_ms, to_ms, passes, due_ms, records"


def watermark_ms(connection: sqlite3.Connection, project: str, lane: Lane) -> int | None:
    """The end of the collected run that begins with the lane's earliest window; None without windows."""
    key = (find_project(connection, project), lane.value)
    earliest = connection.execute(
        "SELECT from_ms, passes FROM windows WHERE project_id = ? AND lane = ? ORDER BY from_ms LIMIT 1", key
    ).fetchone()
    if earliest is None:
        return None
    from_ms, passes = earliest
    if not passes:
        return int(from_ms)
    end = connection.execute(
        "SELECT w.to_ms FROM windows w WHERE w.project_id = ? AND w.lane = ? AND NOT EXISTS ("
        " SELECT 1 FROM windows n WHERE n.project_id = w.project_id AND n.lane = w.lane"
        " AND n.from_ms = w.to_ms AND n.passes > 0"
        ") ORDER BY w.from_ms LIMIT 1",
        key,
    ).fetchone()
    return int(end[0])


def sealed_ms(connection: sqlite3.Connection, project: str, lane: Lane) -> int | None:
    """The end of the sealed run that begins with the lane's earliest window; None where that is open."""
    key = (find_project(connection, project), lane.value)
    earliest = connection.execute(
        "SELECT due_ms FROM windows WHERE project_id = ? AND lane = ? ORDER BY from_ms LIMIT 1", key
    ).fetchone()
    if earliest is None or earliest[0] is not None:
        return None
    end = connection.execute(
        "SELECT w.to_ms FROM windows w WHERE w.project_id = ? AND w.lane = ? AND NOT EXISTS ("
        " SELECT 1 FROM windows n WHERE n.project_id = w.project_id AND n.lane = w.lane"
        " AND n.from_ms = w.to_ms AND n.due_ms IS NULL"
        ") ORDER BY w.from_ms LIMIT 1",
        key,
    ).fetchone()
    return int(end[0])


def windows(
    connection: sqlite3.Connection, project: str, lane: Lane, from_ms: int | None, to_ms: int | None
) -> list[Window]:
    """The lane's windows that share time with the range."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM windows"  # noqa: S608 - only our own column names
        " WHERE project_id = ? AND lane = ? AND from_ms < ? AND to_ms > ? ORDER BY from_ms",
        (
            find_project(connection, project),
            lane.value,
            LAST_MS if to_ms is None else to_ms,
            FIRST_MS if from_ms is None else from_ms,
        ),
    )
    return [Window(project, lane, *row) for row in rows]


def due_windows(
    connection: sqlite3.Connection, project: str, lane: Lane, now_ms: int, limit: int
) -> list[Window]:
    """The lane's open windows whose next pass is due."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM windows"  # noqa: S608 - only our own column names
        " WHERE project_id = ? AND lane = ? AND due_ms IS NOT NULL AND due_ms <= ? ORDER BY from_ms LIMIT ?",
        (find_project(connection, project), lane.value, now_ms, limit),
    )
    return [Window(project, lane, *row) for row in rows]


def sealed_windows(
    connection: sqlite3.Connection, project: str, lane: Lane, from_ms: int, limit: int
) -> list[Window]:
    """The lane's sealed windows from a moment on."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM windows"  # noqa: S608 - only our own column names
        " WHERE project_id = ? AND lane = ? AND due_ms IS NULL AND from_ms >= ? ORDER BY from_ms LIMIT ?",
        (find_project(connection, project), lane.value, from_ms, limit),
    )
    return [Window(project, lane, *row) for row in rows]


def add_windows(connection: sqlite3.Connection, planned: Sequence[Window]) -> None:
    """Add those that share no time with one that is there."""
    for window in planned:
        check_window(window, window.project)
        project_id = intern_project(connection, window.project)
        if _last_before(connection, project_id, window) <= window.from_ms:
            _insert(connection, project_id, window)


def replace_windows(connection: sqlite3.Connection, old: Sequence[Window], new: Sequence[Window]) -> None:
    """Put the new ones in the place of the old ones."""
    check_same_time(old, new)
    if new:
        project_id = intern_project(connection, new[0].project)
        delete_windows(connection, project_id, old)
        for window in new:
            _insert_alone(connection, project_id, window)


def put_window(
    connection: sqlite3.Connection, project_id: int, project: str, window: Window, replaces: Sequence[Window]
) -> None:
    """Put a window in the place of those it replaces and of a row with its own start."""
    check_window(window, project)
    check_replaced(window, replaces)
    check_all_there(window, replaces, delete_windows(connection, project_id, replaces))
    connection.execute(
        "DELETE FROM windows WHERE project_id = ? AND lane = ? AND from_ms = ?",
        (project_id, window.lane.value, window.from_ms),
    )
    _insert_alone(connection, project_id, window)


def join_windows(
    connection: sqlite3.Connection, project_id: int, groups: Iterable[tuple[list[Window], Window]]
) -> None:
    """Put one window in the place of each group that it is made of."""
    for group, window in groups:
        delete_windows(connection, project_id, group)
        _insert(connection, project_id, window)


def delete_windows(connection: sqlite3.Connection, project_id: int, old: Sequence[Window]) -> int:
    """Delete windows by their start and end; returns how many of them there were."""
    if not old:
        return 0
    cursor = connection.executemany(
        "DELETE FROM windows WHERE project_id = ? AND lane = ? AND from_ms = ? AND to_ms = ?",
        [(project_id, window.lane.value, window.from_ms, window.to_ms) for window in old],
    )
    return cursor.rowcount


def _insert_alone(connection: sqlite3.Connection, project_id: int, window: Window) -> None:
    if _last_before(connection, project_id, window) > window.from_ms:
        raise LedgerError(f"The {named(window)} shares time with another one that it does not replace")
    _insert(connection, project_id, window)


def _last_before(connection: sqlite3.Connection, project_id: int, window: Window) -> int:
    # Windows of a lane never overlap, so of those that begin before this one's end the last one ends last.
    row = connection.execute(
        "SELECT to_ms FROM windows WHERE project_id = ? AND lane = ? AND from_ms < ?"
        " ORDER BY from_ms DESC LIMIT 1",
        (project_id, window.lane.value, window.to_ms),
    ).fetchone()
    return FIRST_MS if row is None else int(row[0])


def _insert(connection: sqlite3.Connection, project_id: int, window: Window) -> None:
    connection.execute(
        "INSERT INTO windows (project_id, lane, from_ms, to_ms, passes, due_ms, records)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            project_id,
            window.lane.value,
            window.from_ms,
            window.to_ms,
            window.passes,
            window.due_ms,
            window.records,
        ),
    )
