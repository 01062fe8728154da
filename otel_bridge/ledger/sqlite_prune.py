"""The SQLite ledger's size, kept within bounds in steps that are each one short transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.forgotten import by_day
from otel_bridge.ledger.line import KEPT_MS, joined, uncovered
from otel_bridge.ledger.sqlite_forgotten import add_forgotten
from otel_bridge.ledger.sqlite_projects import find_project
from otel_bridge.ledger.sqlite_windows import join_windows, sealed_windows
from otel_bridge.ledger.values import Lane

if TYPE_CHECKING:
    import sqlite3

ROWS_A_STEP: Final = 5_000
PAGES_A_STEP: Final = 1_000
_FREE_SHARE: Final = 4  # a quarter of the file may stay free for what comes next


def forget_delivered(connection: sqlite3.Connection, project: str, before_ms: int) -> int:
    """Forget some delivered ids older than ``before_ms`` that no open window covers, and count them.

    Returns:
        How many; fewer than ``ROWS_A_STEP`` when there are no more.
    """
    project_id = find_project(connection, project)
    spans = connection.execute(
        "SELECT from_ms, to_ms FROM windows WHERE project_id = ? AND due_ms IS NOT NULL ORDER BY from_ms",
        (project_id,),
    ).fetchall()
    forgotten = 0
    for from_ms, to_ms in uncovered(spans, before_ms):
        rows = connection.execute(
            "SELECT rowid, time_ms, tool_call FROM delivered"
            " WHERE project_id = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms LIMIT ?",
            (project_id, from_ms, to_ms, ROWS_A_STEP - forgotten),
        ).fetchall()
        connection.executemany("DELETE FROM delivered WHERE rowid = ?", [row[:1] for row in rows])
        add_forgotten(connection, project_id, by_day((row[1], bool(row[2])) for row in rows))
        forgotten += len(rows)
        if forgotten >= ROWS_A_STEP:
            break
    return forgotten


def join_sealed(connection: sqlite3.Connection, project: str, lane: Lane, from_ms: int) -> int | None:
    """Join some sealed windows that adjoin within a day.

    Returns:
        Where the next step begins; None when there are no more.
    """
    rows = sealed_windows(connection, project, lane, from_ms, ROWS_A_STEP)
    groups = list(joined(rows))
    join_windows(connection, find_project(connection, project), groups)
    if len(rows) < ROWS_A_STEP:
        return None
    # The last row may go on beyond this step: its group is looked at again.
    last_group, last_window = groups[-1] if groups else ([], rows[-1])
    return last_window.from_ms if rows[-1] in last_group else rows[-1].from_ms


def drop_old(connection: sqlite3.Connection, project: str, now_ms: int) -> int:
    """Drop some sealed windows, and records set aside, that the source has forgotten long ago.

    Their age is counted from the project's newest window, so that a clock that jumps ahead drops nothing.

    Returns:
        How many; 0 when there are no more.
    """
    project_id = find_project(connection, project)
    (newest_ms,) = connection.execute(
        "SELECT MAX(to_ms) FROM windows WHERE project_id = ?", (project_id,)
    ).fetchone()
    if newest_ms is None:
        return 0
    horizon_ms = min(now_ms, newest_ms) - KEPT_MS
    dropped = 0
    for lane in Lane:
        dropped += connection.execute(
            "DELETE FROM windows WHERE project_id = ?1 AND lane = ?2 AND from_ms IN ("
            " SELECT from_ms FROM windows"
            " WHERE project_id = ?1 AND lane = ?2 AND due_ms IS NULL AND to_ms <= ?3 LIMIT ?4)",
            (project_id, lane.value, horizon_ms, ROWS_A_STEP),
        ).rowcount
    dropped += connection.execute(
        "DELETE FROM set_aside WHERE project_id = ?1 AND log_id IN ("
        " SELECT log_id FROM set_aside WHERE project_id = ?1 AND time_ms < ?2 AND since_ms < ?2 LIMIT ?3)",
        (project_id, horizon_ms, ROWS_A_STEP),
    ).rowcount
    # At most one row a day.
    connection.execute("DELETE FROM forgotten WHERE project_id = ? AND to_ms <= ?", (project_id, horizon_ms))
    return dropped


def give_back_space(connection: sqlite3.Connection) -> bool:
    """Cut some free pages off the file; returns whether there are more to cut."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    surplus = free - pages // _FREE_SHARE
    if surplus <= 0:
        return False
    for _ in range(min(surplus, PAGES_A_STEP)):
        # Python's module steps this pragma only once, which frees one page, whatever number it is given.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return bool(surplus > PAGES_A_STEP)
