"""Which replica delivers which records now: functions inside a transaction of their caller.

They need the project's row locked (``hold_project``): of two replicas that list the same record at once, the
second finds the first one's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.log_ids import from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Collection

    from otel_bridge.ledger.leases import Lease
    from otel_bridge.ledger.postgres_database import Cursor

# The lanes of one process settle among themselves which of them delivers a record, so a row of the same
# holder is no obstacle. LIMIT keeps the planner, which knows nothing of a young table, from reading it all.
_BEGIN: Final = """
INSERT INTO otel_bridge.in_delivery AS there (project_id, log_id, scope, epoch)
SELECT %(project)s, k.log_id, %(scope)s, %(epoch)s FROM unnest(%(ids)s::bytea[]) AS k (log_id)
WHERE (SELECT true FROM otel_bridge.delivered AS d
    WHERE d.project_id = %(project)s AND d.log_id = k.log_id LIMIT 1) IS NULL
ON CONFLICT (project_id, log_id) DO UPDATE SET scope = excluded.scope, epoch = excluded.epoch
WHERE NOT EXISTS (SELECT FROM otel_bridge.leases AS l
    WHERE l.project_id = there.project_id AND l.scope = there.scope AND l.epoch = there.epoch
    AND l.holder <> %(holder)s AND l.expires_at > clock_timestamp())
RETURNING log_id
"""


async def begin(cursor: Cursor, project_id: int, *, log_ids: Collection[str], lease: Lease) -> set[str]:
    """Note that these records are delivered under the lease; returns those that are not this replica's."""
    asked = set(log_ids)
    await cursor.execute(
        _BEGIN,
        {
            "project": project_id,
            "ids": [to_bytes(log_id) for log_id in asked],
            "scope": lease.scope,
            "epoch": lease.epoch,
            "holder": lease.holder,
        },
    )
    return asked - {from_bytes(log_id) for (log_id,) in await cursor.fetchall()}


async def end(cursor: Cursor, project_id: int, log_ids: Collection[str]) -> None:
    """These records are delivered or set aside."""
    if log_ids:
        await cursor.execute(
            "DELETE FROM otel_bridge.in_delivery WHERE project_id = %s AND log_id = ANY(%s::bytea[])",
            (project_id, [to_bytes(log_id) for log_id in log_ids]),
        )


async def drop_left_behind(cursor: Cursor, project_id: int) -> None:
    """Drop what leases have left behind that are gone."""
    await cursor.execute(
        "DELETE FROM otel_bridge.in_delivery AS there WHERE project_id = %s"
        " AND NOT EXISTS (SELECT FROM otel_bridge.leases AS l WHERE l.project_id = there.project_id"
        " AND l.scope = there.scope AND l.epoch = there.epoch AND l.holder IS NOT NULL"
        " AND l.expires_at > clock_timestamp())",
        (project_id,),
    )
