"""The SQLite ledger's projects: their ids, and what people see of their state."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from otel_bridge.ledger.limits import one_line
from otel_bridge.ledger.values import ProjectStatus, Verification

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

NO_PROJECT = 0
"""An id that no project has: a query for it finds nothing."""


def find_project(connection: sqlite3.Connection, project: str) -> int:
    """The project's id, or ``NO_PROJECT``."""
    row = connection.execute("SELECT id FROM projects WHERE name = ?", (project,)).fetchone()
    return NO_PROJECT if row is None else int(row[0])


def intern_project(connection: sqlite3.Connection, project: str) -> int:
    """The project's id; it gets one where it has none yet."""
    found = find_project(connection, project)
    if found == NO_PROJECT:
        connection.execute("INSERT INTO projects (name) VALUES (?)", (project,))
        return find_project(connection, project)
    return found


def note_success(connection: sqlite3.Connection, project: str, now_ms: int) -> None:
    """A pass ended well: the last error is history."""
    connection.execute(
        "UPDATE projects SET last_success_ms = ?, last_error = NULL, last_error_ms = NULL WHERE id = ?",
        (now_ms, intern_project(connection, project)),
    )


def note_error(connection: sqlite3.Connection, project: str, message: str, now_ms: int) -> None:
    """A poll or a delivery failed."""
    connection.execute(
        "UPDATE projects SET last_error = ?, last_error_ms = ? WHERE id = ?",
        (one_line(message), now_ms, intern_project(connection, project)),
    )


def note_verification(connection: sqlite3.Connection, project: str, verification: Verification) -> None:
    """Keep the result of a comparison with the source."""
    connection.execute(
        "INSERT OR REPLACE INTO verifications"
        " (project_id, at_ms, from_ms, to_ms, source, ledger, missing, repaired)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (intern_project(connection, project), *astuple(verification)),
    )


def known_projects(connection: sqlite3.Connection, first: Sequence[str]) -> list[str]:
    """These projects in their order, then the others that the ledger holds by name."""
    names = [name for (name,) in connection.execute("SELECT name FROM projects ORDER BY name")]
    return list(dict.fromkeys([*first, *names]))


def project_status(
    connection: sqlite3.Connection, project: str, watermark_ms: int | None, sealed_ms: int | None
) -> ProjectStatus:
    """What is known of a project, with its watermarks as they were found."""
    project_id = find_project(connection, project)
    row = connection.execute(
        "SELECT delivered, last_error, last_error_ms, last_success_ms FROM projects WHERE id = ?",
        (project_id,),
    ).fetchone()
    delivered, last_error, last_error_ms, last_success_ms = row or (0, None, None, None)
    reasons = connection.execute(
        "SELECT reason, COUNT(*) FROM set_aside WHERE project_id = ? GROUP BY reason ORDER BY reason",
        (project_id,),
    )
    set_aside = dict(reasons.fetchall())
    (open_windows,) = connection.execute(
        "SELECT COUNT(*) FROM windows WHERE project_id = ? AND due_ms IS NOT NULL", (project_id,)
    ).fetchone()
    verification = connection.execute(
        "SELECT at_ms, from_ms, to_ms, source, ledger, missing, repaired FROM verifications"
        " WHERE project_id = ?",
        (project_id,),
    ).fetchone()
    return ProjectStatus(
        project=project,
        watermark_ms=watermark_ms,
        sealed_ms=sealed_ms,
        delivered=delivered,
        set_aside=set_aside,
        open_windows=open_windows,
        last_error=last_error,
        last_error_ms=last_error_ms,
        last_success_ms=last_success_ms,
        verification=None if verification is None else Verification(*verification),
    )
