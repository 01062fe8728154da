"""The PostgreSQL ledger's counts of tool calls, forgotten ones too, inside their caller's transaction."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_bridge.ledger import forgotten
from otel_bridge.ledger.forgotten import Forgotten, day_of
from otel_bridge.ledger.limits import fit_ms
from otel_bridge.ledger.postgres_records import known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_bridge.ledger.postgres_database import Cursor
    from otel_bridge.ledger.values import DeliveredRecord, SetAside, ToolCalls


async def tool_calls(cursor: Cursor, project: str, from_ms: int, to_ms: int) -> ToolCalls:
    """How many tool calls of the range are delivered or set aside."""
    span = (project, from_ms, to_ms)
    await cursor.execute(
        "SELECT COUNT(*) FROM otel_bridge.delivered"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND time_ms >= %s AND time_ms < %s AND tool_call",
        span,
    )
    [(kept,)] = await cursor.fetchall()
    await cursor.execute(
        "SELECT reason, COUNT(*) FROM otel_bridge.set_aside"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)"
        " AND time_ms >= %s AND time_ms < %s AND tool_call GROUP BY reason ORDER BY reason",
        span,
    )
    set_aside: dict[str, int] = dict(await cursor.fetchall())
    await cursor.execute(
        "SELECT from_ms, to_ms, tool_calls, again FROM otel_bridge.forgotten"
        " WHERE project_id = (SELECT id FROM otel_bridge.projects WHERE name = %s)",
        span[:1],
    )
    days = [Forgotten(*day) for day in await cursor.fetchall()]
    return forgotten.tool_calls(kept, set_aside, days, from_ms, to_ms)


async def add_forgotten(cursor: Cursor, project_id: int, days: Mapping[int, Forgotten]) -> None:
    """Count what was just forgotten. A count that nobody has made (NULL) stays unknown."""
    if days:
        each = days.values()
        await cursor.execute(
            "INSERT INTO otel_bridge.forgotten AS there"
            " (project_id, day_ms, from_ms, to_ms, tool_calls, again) SELECT %s, * FROM"
            " unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " ON CONFLICT (project_id, day_ms) DO UPDATE SET"
            " from_ms = LEAST(there.from_ms, excluded.from_ms),"
            " to_ms = GREATEST(there.to_ms, excluded.to_ms),"
            " tool_calls = there.tool_calls + excluded.tool_calls",
            (
                project_id,
                list(days),
                [day.from_ms for day in each],
                [day.to_ms for day in each],
                [day.tool_calls for day in each],
                [day.again for day in each],
            ),
        )


async def count_again(
    cursor: Cursor, project: str, project_id: int, records: Sequence[DeliveredRecord | SetAside]
) -> None:
    """Count records, before they are put, that are not known and may be forgotten ones once more."""
    days = sorted({day_of(fit_ms(record.time_ms)) for record in records})
    if not days:
        return
    await cursor.execute(
        "SELECT day_ms, from_ms, to_ms, tool_calls FROM otel_bridge.forgotten"
        " WHERE project_id = %s AND day_ms BETWEEN %s AND %s",
        (project_id, days[0], days[-1]),
    )
    there = {day_ms: Forgotten(*rest) for day_ms, *rest in await cursor.fetchall()}
    doubtful: dict[str, int] = {}
    for record in records:
        day = there.get(day_of(record.time_ms))
        if day and day.holds(record):
            doubtful.setdefault(record.log_id, day_of(record.time_ms))
    if doubtful:
        sure = await known(cursor, project, doubtful)
        counts = Counter(day_ms for log_id, day_ms in doubtful.items() if log_id not in sure)
        await cursor.execute(
            "UPDATE otel_bridge.forgotten AS f SET again = f.again + more.again"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS more (day_ms, again)"
            " WHERE f.project_id = %s AND f.day_ms = more.day_ms",
            (list(counts), list(counts.values()), project_id),
        )
