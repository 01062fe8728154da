"""The PostgreSQL ledger's size, kept within bounds in steps that are each one short transaction.

Space is given back by PostgreSQL's own autovacuum. The steps need the project's row locked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.forgotten import by_day
from otel_bridge.ledger.line import KEPT_MS, joined, uncovered
from otel_bridge.ledger.postgres_forgotten import add_forgotten
from otel_bridge.ledger.postgres_windows import join_windows, sealed_windows

if TYPE_CHECKING:
    from otel_bridge.ledger.postgres_database import Cursor
    from otel_bridge.ledger.values import Lane

ROWS_A_STEP: Final = 5_000


async def forget_delivered(cursor: Cursor, project_id: int, before_ms: int) -> int:
    """Forget some delivered ids older than ``before_ms`` that no open window covers, and count them.

    Returns:
        How many; fewer than ``ROWS_A_STEP`` when there are no more.
    """
    await cursor.execute(
        "SELECT from_ms, to_ms FROM otel_bridge.windows WHERE project_id = %s AND due_ms IS NOT NULL"
        " ORDER BY from_ms",
        (project_id,),
    )
    spans = [(from_ms, to_ms) for from_ms, to_ms in await cursor.fetchall()]
    forgotten = 0
    for from_ms, to_ms in uncovered(spans, before_ms):
        await cursor.execute(
            "DELETE FROM otel_bridge.delivered WHERE ctid = ANY (ARRAY("
            " SELECT ctid FROM otel_bridge.delivered"
            " WHERE project_id = %s AND time_ms >= %s AND time_ms < %s ORDER BY time_ms LIMIT %s))"
            " RETURNING time_ms, tool_call",
            (project_id, from_ms, to_ms, ROWS_A_STEP - forgotten),
        )
        rows = [(time_ms, tool_call) for time_ms, tool_call in await cursor.fetchall()]
        await add_forgotten(cursor, project_id, by_day(rows))
        forgotten += len(rows)
        if forgotten >= ROWS_A_STEP:
            break
    return forgotten


async def join_sealed(cursor: Cursor, project: str, project_id: int, lane: Lane, from_ms: int) -> int | None:
    """Join some sealed windows that adjoin within a day.

    Returns:
        Where the next step begins; None when there are no more.
    """
    rows = await sealed_windows(cursor, project, lane, from_ms, ROWS_A_STEP)
    groups = list(joined(rows))
    await join_windows(cursor, project_id, lane, groups)
    if len(rows) < ROWS_A_STEP:
        return None
    # The last row may go on beyond this step: its group is looked at again.
    last_group, last_window = groups[-1] if groups else ([], rows[-1])
    return last_window.from_ms if rows[-1] in last_group else rows[-1].from_ms


async def drop_old(cursor: Cursor, project_id: int, now_ms: int) -> int:
    """Drop some sealed windows, and records set aside, that the source has forgotten long ago.

    Their age is counted from the project's newest window, so that a clock that jumps ahead drops nothing.

    Returns:
        How many; 0 when there are no more.
    """
    await cursor.execute("SELECT MAX(to_ms) FROM otel_bridge.windows WHERE project_id = %s", (project_id,))
    [(newest_ms,)] = await cursor.fetchall()
    if newest_ms is None:
        return 0
    horizon_ms = min(now_ms, newest_ms) - KEPT_MS
    await cursor.execute(
        "DELETE FROM otel_bridge.windows WHERE ctid = ANY (ARRAY("
        " SELECT ctid FROM otel_bridge.windows"
        " WHERE project_id = %s AND due_ms IS NULL AND to_ms <= %s LIMIT %s))",
        (project_id, horizon_ms, ROWS_A_STEP),
    )
    dropped = cursor.rowcount
    await cursor.execute(
        "DELETE FROM otel_bridge.set_aside WHERE ctid = ANY (ARRAY("
        " SELECT ctid FROM otel_bridge.set_aside"
        " WHERE project_id = %s AND time_ms < %s AND since_ms < %s LIMIT %s))",
        (project_id, horizon_ms, horizon_ms, ROWS_A_STEP),
    )
    dropped += cursor.rowcount
    # At most one row a day.
    await cursor.execute(
        "DELETE FROM otel_bridge.forgotten WHERE project_id = %s AND to_ms <= %s", (project_id, horizon_ms)
    )
    return dropped
