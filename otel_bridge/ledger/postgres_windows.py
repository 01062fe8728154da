"""The PostgreSQL ledger's windows: functions inside a transaction of their caller.

Those that write need the project's row locked (``hold_project``).
"""

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
from otel_bridge.ledger.postgres_projects import hold_project
from otel_bridge.ledger.values import Lane, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.ledger.postgres_database import Cursor

Standing = dict[int, tuple[int | None, int | None]]
"""By project id: the end of the collected run, and of the sealed run, that begin with the first window."""

_STANDING = """
WITH line AS (
    SELECT project_id, from_ms, to_ms, passes, due_ms, lag(to_ms) OVER by_time AS before_ms
    FROM otel_bridge.windows
    WHERE lane = %s
        AND (%s::text IS NULL OR project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s))
    WINDOW by_time AS (PARTITION BY project_id ORDER BY from_ms)
), runs AS (
    SELECT *,
        count(*) FILTER (WHERE before_ms IS NOT NULL AND (passes = 0 OR from_ms <> before_ms))
            OVER by_time AS uncollected,
        count(*) FILTER (WHERE before_ms IS NOT NULL AND (due_ms IS NOT NULL OR from_ms <> before_ms))
            OVER by_time AS unsealed
    FROM line
    WINDOW by_time AS (PARTITION BY project_id ORDER BY from_ms)
)
SELECT project_id,
    CASE WHEN bool_or(before_ms IS NULL AND passes = 0) THEN min(from_ms)
        ELSE max(to_ms) FILTER (WHERE uncollected = 0) END,
    CASE WHEN NOT bool_or(before_ms IS NULL AND due_ms IS NOT NULL)
        THEN max(to_ms) FILTER (WHERE unsealed = 0) END
FROM runs GROUP BY project_id
"""


async def standing(cursor: Cursor, lane: Lane, project: str | None = None) -> Standing:
    """How far the lane of one project, or of all, has come."""
    await cursor.execute(_STANDING, (lane.value, project, project))
    return {project_id: (watermark, sealed) for project_id, watermark, sealed in await cursor.fetchall()}


async def watermark_ms(cursor: Cursor, project: str, lane: Lane) -> int | None:
    """The end of the collected run that begins with the lane's earliest window; None without windows."""
    found = await standing(cursor, lane, project)
    return next((watermark for watermark, _ in found.values()), None)


async def windows(
    cursor: Cursor, project: str, lane: Lane, from_ms: int | None, to_ms: int | None
) -> list[Window]:
    """The lane's windows that share time with the range."""
    await cursor.execute(
        "SELECT from_ms, to_ms, passes, due_ms, records FROM otel_bridge.windows"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND lane = %s AND from_ms < %s AND to_ms > %s ORDER BY from_ms",
        (
            project,
            lane.value,
            LAST_MS if to_ms is None else to_ms,
            FIRST_MS if from_ms is None else from_ms,
        ),
    )
    return [Window(project, lane, *row) for row in await cursor.fetchall()]


async def due_windows(cursor: Cursor, project: str, lane: Lane, now_ms: int, limit: int) -> list[Window]:
    """The lane's open windows whose next pass is due."""
    await cursor.execute(
        "SELECT from_ms, to_ms, passes, due_ms, records FROM otel_bridge.windows"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND lane = %s AND due_ms IS NOT NULL AND due_ms <= %s ORDER BY from_ms LIMIT %s",
        (project, lane.value, now_ms, limit),
    )
    return [Window(project, lane, *row) for row in await cursor.fetchall()]


async def sealed_windows(cursor: Cursor, project: str, lane: Lane, from_ms: int, limit: int) -> list[Window]:
    """The lane's sealed windows from a moment on."""
    await cursor.execute(
        "SELECT from_ms, to_ms, passes, due_ms, records FROM otel_bridge.windows"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND lane = %s AND due_ms IS NULL AND from_ms >= %s ORDER BY from_ms LIMIT %s",
        (project, lane.value, from_ms, limit),
    )
    return [Window(project, lane, *row) for row in await cursor.fetchall()]


async def add_windows(cursor: Cursor, planned: Sequence[Window]) -> None:
    """Add those that share no time with one that is there, or with one before them."""
    for window in planned:
        check_window(window, window.project)
    # In order of name, so that two who plan for the same projects don't wait for each other.
    lines = sorted({(window.project, window.lane) for window in planned})
    for project, lane in lines:
        project_id = await hold_project(cursor, project)
        plan = [window for window in planned if (window.project, window.lane) == (project, lane)]
        there = await _there(cursor, project_id, lane, plan)
        free: list[Window] = []
        for window in plan:
            if _alone(there, window):
                free.append(window)
                there.append((window.from_ms, window.to_ms))
        await _insert(cursor, project_id, lane, free)


async def replace_windows(
    cursor: Cursor, project_id: int, old: Sequence[Window], new: Sequence[Window]
) -> None:
    """Put the new ones in the place of the old ones."""
    check_same_time(old, new)
    lane = new[0].lane
    await delete_windows(cursor, project_id, lane, old)
    await _insert_alone(cursor, project_id, lane, new)


async def put_window(
    cursor: Cursor, project_id: int, project: str, window: Window, replaces: Sequence[Window]
) -> None:
    """Put a window in the place of those it replaces and of a row with its own start."""
    check_window(window, project)
    check_replaced(window, replaces)
    check_all_there(window, replaces, await delete_windows(cursor, project_id, window.lane, replaces))
    await cursor.execute(
        "DELETE FROM otel_bridge.windows WHERE project_id = %s AND lane = %s AND from_ms = %s",
        (project_id, window.lane.value, window.from_ms),
    )
    await _insert_alone(cursor, project_id, window.lane, [window])


async def join_windows(
    cursor: Cursor, project_id: int, lane: Lane, groups: Iterable[tuple[list[Window], Window]]
) -> None:
    """Put one window in the place of each group that it is made of."""
    joined = list(groups)
    await delete_windows(cursor, project_id, lane, [window for group, _ in joined for window in group])
    await _insert(cursor, project_id, lane, [window for _, window in joined])


async def delete_windows(cursor: Cursor, project_id: int, lane: Lane, old: Sequence[Window]) -> int:
    """Delete windows by their start and end; returns how many of them there were."""
    if not old:
        return 0
    await cursor.execute(
        "DELETE FROM otel_bridge.windows AS w"
        " USING unnest(%s::bigint[], %s::bigint[]) AS old (from_ms, to_ms)"
        " WHERE w.project_id = %s AND w.lane = %s AND w.from_ms = old.from_ms AND w.to_ms = old.to_ms",
        ([each.from_ms for each in old], [each.to_ms for each in old], project_id, lane.value),
    )
    return cursor.rowcount


async def _insert_alone(cursor: Cursor, project_id: int, lane: Lane, new: Sequence[Window]) -> None:
    there = await _there(cursor, project_id, lane, new)
    for window in new:
        if not _alone(there, window):
            raise LedgerError(f"The {named(window)} shares time with another one that it does not replace")
    await _insert(cursor, project_id, lane, new)


async def _there(
    cursor: Cursor, project_id: int, lane: Lane, windows: Sequence[Window]
) -> list[tuple[int, int]]:
    """The spans of all rows that any of these windows may meet."""
    await cursor.execute(
        "SELECT from_ms, to_ms FROM otel_bridge.windows"
        " WHERE project_id = %s AND lane = %s AND from_ms < %s AND to_ms > %s",
        (
            project_id,
            lane.value,
            max(window.to_ms for window in windows),
            min(window.from_ms for window in windows),
        ),
    )
    return [(from_ms, to_ms) for from_ms, to_ms in await cursor.fetchall()]


def _alone(there: Iterable[tuple[int, int]], window: Window) -> bool:
    return all(to_ms <= window.from_ms or from_ms >= window.to_ms for from_ms, to_ms in there)


async def _insert(cursor: Cursor, project_id: int, lane: Lane, new: Sequence[Window]) -> None:
    if new:
        await cursor.execute(
            "INSERT INTO otel_bridge.windows (project_id, lane, from_ms, to_ms, passes, due_ms, records)"
            " SELECT %s, %s, * FROM"
            " unnest(%s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[])",
            (
                project_id,
                lane.value,
                [each.from_ms for each in new],
                [each.to_ms for each in new],
                [each.passes for each in new],
                [each.due_ms for each in new],
                [each.records for each in new],
            ),
        )
