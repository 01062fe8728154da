"""The PostgreSQL ledger's projects: their ids, and what people see of their state."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import astuple
from typing import TYPE_CHECKING

from otel_bridge.ledger.limits import one_line
from otel_bridge.ledger.values import ProjectStatus, Verification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.ledger.postgres_database import Cursor


async def hold_project(cursor: Cursor, project: str) -> int:
    """The project's id, with its row locked until the transaction ends; it gets one where it has none.

    So all that is written for one project comes one after the other.
    """
    while True:
        await cursor.execute(
            "SELECT id FROM otel_bridge.projects WHERE name = %s FOR NO KEY UPDATE", (project,)
        )
        row = await cursor.fetchone()
        if row is not None:
            return int(row[0])
        await cursor.execute(
            "INSERT INTO otel_bridge.projects (name) VALUES (%s) ON CONFLICT DO NOTHING", (project,)
        )


async def note_success(cursor: Cursor, project: str, now_ms: int) -> None:
    """A pass ended well: the last error is history."""
    await cursor.execute(
        "INSERT INTO otel_bridge.projects AS p (name, last_success_ms) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET"
        " last_success_ms = excluded.last_success_ms, last_error = NULL, last_error_ms = NULL",
        (project, now_ms),
    )


async def note_error(cursor: Cursor, project: str, message: str, now_ms: int) -> None:
    """A poll or a delivery failed."""
    await cursor.execute(
        "INSERT INTO otel_bridge.projects AS p (name, last_error, last_error_ms) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET"
        " last_error = excluded.last_error, last_error_ms = excluded.last_error_ms",
        (project, clean(message), now_ms),
    )


async def note_verification(cursor: Cursor, project: str, verification: Verification) -> None:
    """Keep the result of a comparison with the source."""
    project_id = await hold_project(cursor, project)
    await cursor.execute("DELETE FROM otel_bridge.verifications WHERE project_id = %s", (project_id,))
    await cursor.execute(
        "INSERT INTO otel_bridge.verifications"
        " (project_id, at_ms, from_ms, to_ms, source, ledger, missing, repaired)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (project_id, *astuple(verification)),
    )


def clean(message: str) -> str:
    """A message that a text column takes: one line, and no NUL."""
    return one_line(message).replace("\x00", "\N{REPLACEMENT CHARACTER}")


async def statuses(
    cursor: Cursor, first: Sequence[str], standing: dict[int, tuple[int | None, int | None]]
) -> list[ProjectStatus]:
    """What is known of these projects in their order, then of the others by name.

    Args:
        cursor: In a transaction that sees one state.
        first: Names.
        standing: Watermark and end of the sealed run by project id.
    """
    await cursor.execute(
        "SELECT project_id, reason, COUNT(*) FROM otel_bridge.set_aside GROUP BY project_id, reason"
        " ORDER BY project_id, reason"
    )
    set_aside: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for project_id, reason, count in await cursor.fetchall():
        set_aside[project_id][reason] = count
    await cursor.execute(
        "SELECT project_id, COUNT(*) FROM otel_bridge.windows WHERE due_ms IS NOT NULL GROUP BY project_id"
    )
    open_windows: dict[int, int] = dict(await cursor.fetchall())
    await cursor.execute(
        "SELECT project_id, at_ms, from_ms, to_ms, source, ledger, missing, repaired"
        " FROM otel_bridge.verifications"
    )
    verifications = {project_id: Verification(*rest) for project_id, *rest in await cursor.fetchall()}
    await cursor.execute(
        "SELECT name, id, delivered, last_error, last_error_ms, last_success_ms"
        " FROM otel_bridge.projects ORDER BY name"
    )
    rows = {name: rest for name, *rest in await cursor.fetchall()}
    found = []
    for name in dict.fromkeys([*first, *rows]):
        project_id, delivered, last_error, last_error_ms, last_success_ms = rows.get(
            name, (0, 0, None, None, None)
        )
        watermark_ms, sealed_ms = standing.get(project_id, (None, None))
        found.append(
            ProjectStatus(
                project=name,
                watermark_ms=watermark_ms,
                sealed_ms=sealed_ms,
                delivered=delivered,
                set_aside=set_aside[project_id],
                open_windows=open_windows.get(project_id, 0),
                last_error=last_error,
                last_error_ms=last_error_ms,
                last_success_ms=last_success_ms,
                verification=verifications.get(project_id),
            )
        )
    return found
