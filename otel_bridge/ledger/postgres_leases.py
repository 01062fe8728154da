"""The PostgreSQL ledger's leases: functions in a transaction of their caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.errors import LeaseLost
from otel_bridge.ledger.leases import HeldLease, Lease, ReplicaStatus, Scope

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger.postgres_database import Cursor
_DUE: Final = """
SELECT given.name, s.scope
FROM unnest(%(projects)s::text[]) AS given (name)
CROSS JOIN unnest(%(scopes)s::text[], %(lanes)s::text[], %(collected)s::boolean[], %(every)s::float[])
    WITH ORDINALITY AS s (scope, lane, collected, every, place)
LEFT JOIN otel_bridge.projects AS p ON p.name = given.name
LEFT JOIN otel_bridge.leases AS l ON l.project_id = p.id AND l.scope = s.scope
WHERE (l.scope IS NULL
        OR (l.holder IS NULL OR l.expires_at <= clock_timestamp()) AND l.due_at <= clock_timestamp())
    AND (s.lane IS NULL
        OR l.due_at + make_interval(secs => s.every) <= clock_timestamp()
        OR EXISTS (SELECT 1 FROM otel_bridge.windows AS w WHERE w.project_id = p.id AND w.lane = s.lane
            AND w.due_ms <= %(now_ms)s AND (NOT s.collected OR w.passes > 0))
        OR s.lane = 'live' AND EXISTS (SELECT 1 FROM otel_bridge.set_aside AS a
            WHERE a.project_id = p.id AND a.retry_ms <= %(now_ms)s))
ORDER BY s.place, l.due_at NULLS FIRST, given.name
"""


async def acquire(cursor: Cursor, project: str, scope: str, holder: str, ttl_s: float) -> Lease | None:
    """Take a scope where nobody holds it."""
    await cursor.execute(
        "INSERT INTO otel_bridge.projects (name) SELECT %s"
        " WHERE NOT EXISTS (SELECT 1 FROM otel_bridge.projects WHERE name = %s) ON CONFLICT DO NOTHING",
        (project, project),
    )
    # clock_timestamp(), not now(): this may have waited for a commit of the one before.
    await cursor.execute(
        "INSERT INTO otel_bridge.leases AS l"
        " (project_id, scope, epoch, holder, since, expires_at, due_at, failures)"
        " SELECT id, %(scope)s, 1, %(holder)s, clock_timestamp(),"
        " clock_timestamp() + make_interval(secs => %(ttl)s), clock_timestamp(), 0"
        " FROM otel_bridge.projects WHERE name = %(project)s"
        " ON CONFLICT (project_id, scope) DO UPDATE SET epoch = l.epoch + 1, holder = excluded.holder,"
        " since = excluded.since, expires_at = clock_timestamp() + make_interval(secs => %(ttl)s)"
        " WHERE l.holder IS NULL OR l.expires_at <= clock_timestamp()"
        " RETURNING epoch, failures",
        {"project": project, "scope": scope, "holder": holder, "ttl": ttl_s},
    )
    row = await cursor.fetchone()
    return None if row is None else Lease(project, scope, holder, *row)


async def renew(cursor: Cursor, leases: Collection[Lease], ttl_s: float) -> set[Lease]:
    """Those that are still their holder's, for longer."""
    await cursor.execute(
        # In one order, so that two replicas that renew the same rows don't wait for each other.
        "WITH mine AS (SELECT l.project_id, l.scope, p.name FROM otel_bridge.leases AS l"
        " JOIN otel_bridge.projects AS p ON p.id = l.project_id"
        " JOIN unnest(%s::text[], %s::text[], %s::bigint[], %s::text[]) AS given (name, scope, epoch, holder)"
        " ON p.name = given.name AND l.scope = given.scope AND l.epoch = given.epoch"
        " AND l.holder = given.holder"
        " ORDER BY l.project_id, l.scope FOR UPDATE OF l)"
        " UPDATE otel_bridge.leases AS l SET expires_at = clock_timestamp() + make_interval(secs => %s)"
        " FROM mine WHERE l.project_id = mine.project_id AND l.scope = mine.scope"
        " RETURNING mine.name, l.scope, l.holder, l.epoch",
        (*_columns(leases), ttl_s),
    )
    return {Lease(*row) for row in await cursor.fetchall()}


async def release(cursor: Cursor, leases: Collection[Lease], due_in_s: float, failures: int) -> None:
    """Let others have them, as soon as there may be something to do."""
    await cursor.execute(
        "UPDATE otel_bridge.leases AS l SET holder = NULL, expires_at = clock_timestamp(),"
        " due_at = clock_timestamp() + make_interval(secs => %s), failures = %s"
        " FROM otel_bridge.projects AS p,"
        " unnest(%s::text[], %s::text[], %s::bigint[], %s::text[]) AS given (name, scope, epoch, holder)"
        " WHERE p.id = l.project_id AND p.name = given.name AND l.scope = given.scope"
        " AND l.epoch = given.epoch AND l.holder = given.holder",
        (due_in_s, failures, *_columns(leases)),
    )


async def due(
    cursor: Cursor, projects: Collection[str], scopes: Sequence[Scope], now_ms: int
) -> list[tuple[str, str]]:
    """What nobody holds although there may be something to do."""
    await cursor.execute(
        _DUE,
        {
            "projects": list(projects),
            "scopes": [scope.name for scope in scopes],
            "lanes": [None if scope.lane is None else scope.lane.value for scope in scopes],
            "collected": [scope.collected for scope in scopes],
            "every": [scope.at_least_every_s for scope in scopes],
            "now_ms": now_ms,
        },
    )
    return [(project, scope) for project, scope in await cursor.fetchall()]


async def held(cursor: Cursor) -> list[HeldLease]:
    """All that have a holder."""
    await cursor.execute(
        "SELECT p.name, l.scope, l.holder, l.epoch,"
        " (extract(epoch FROM l.since) * 1000)::bigint,"
        " (extract(epoch FROM l.expires_at - clock_timestamp()) * 1000)::bigint"
        " FROM otel_bridge.leases AS l JOIN otel_bridge.projects AS p ON p.id = l.project_id"
        " WHERE l.holder IS NOT NULL ORDER BY p.name, l.scope"
    )
    return [HeldLease(Lease(*row[:4]), row[4], row[5]) for row in await cursor.fetchall()]


async def sign_of_life(cursor: Cursor, replica: str, projects: Collection[str]) -> None:
    """Note that a replica is at work."""
    await cursor.execute(
        "INSERT INTO otel_bridge.replicas (name, projects, started_at, seen_at)"
        " VALUES (%s, %s::text[], clock_timestamp(), clock_timestamp())"
        " ON CONFLICT (name) DO UPDATE SET projects = excluded.projects, seen_at = excluded.seen_at",
        (replica, sorted(projects)),
    )


async def leave(cursor: Cursor, replica: str) -> None:
    """Note that it is no more."""
    await cursor.execute(
        "DELETE FROM otel_bridge.replicas WHERE name = %s OR seen_at < now() - interval '1 day'", (replica,)
    )


async def replicas(cursor: Cursor) -> list[ReplicaStatus]:
    """Who is at work."""
    await cursor.execute(
        "SELECT name, projects, (extract(epoch FROM started_at) * 1000)::bigint,"
        " (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint"
        " FROM otel_bridge.replicas WHERE seen_at >= now() - interval '1 day' ORDER BY name"
    )
    return [ReplicaStatus(row[0], tuple(row[1]), row[2], row[3]) for row in await cursor.fetchall()]


async def check(cursor: Cursor, project: str, project_id: int, lease: Lease | None) -> Lease:
    """The lease, once it is seen to be still its holder's; it is kept so until the transaction ends.

    Raises:
        LeaseLost: It is not, or there is none for this project.
    """
    if lease is None or lease.project != project:
        raise LeaseLost(f"project {project!r}: nothing is committed for it without a lease")
    await cursor.execute(
        # The lock makes whoever takes over wait for this transaction's end; and where that came first, the
        # row is read as it is by then.
        "SELECT epoch, holder FROM otel_bridge.leases WHERE project_id = %s AND scope = %s FOR SHARE",
        (project_id, lease.scope),
    )
    row = await cursor.fetchone()
    if row is None or row[0] != lease.epoch or row[1] != lease.holder:
        by = "nobody" if row is None or row[1] is None else row[1]
        raise LeaseLost(
            f"project {lease.project!r}: its {lease.scope} work was handed over to {by}; "
            "what was in hand here is dropped"
        )
    return lease


def _columns(leases: Collection[Lease]) -> tuple[list[str], list[str], list[int], list[str]]:
    return (
        [lease.project for lease in leases],
        [lease.scope for lease in leases],
        [lease.epoch for lease in leases],
        [lease.holder for lease in leases],
    )
