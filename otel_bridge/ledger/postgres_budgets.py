"""Claims on request budgets, in PostgreSQL: functions in a transaction of their caller.

A window has sixty moments. A claim is good for two of them, so what was claimed within a window and those
two more bounds what is sent within any window, whoever sends it and however it ends. Who claims locks the
budget's row first: claims come one after the other. Time is the database's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetGrant, BudgetLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.ledger.postgres_database import Cursor

_KEPT: Final = 62
"""So many moments before the present one count: the window's, and those that a claim is good for."""
_LOCK: Final = """
INSERT INTO otel_bridge.budgets (name, requests, window_s)
SELECT * FROM unnest(%s::text[], %s::integer[], %s::float[]) AS given (name, requests, window_s) ORDER BY name
ON CONFLICT (name) DO UPDATE SET requests = excluded.requests, window_s = excluded.window_s
"""
_RETURN: Final = """
UPDATE otel_bridge.budget_claims AS c SET requests = greatest(c.requests - given.requests, 0)
FROM unnest(%s::text[], %s::bigint[], %s::integer[]) AS given (name, moment, requests)
WHERE c.name = given.name AND c.moment = given.moment AND c.replica = %s
"""
_FORGET: Final = """
DELETE FROM otel_bridge.budget_claims AS c USING otel_bridge.budgets AS b
WHERE b.name = ANY (%s::text[]) AND c.name = b.name
    AND c.moment < floor(extract(epoch FROM clock_timestamp()) * 60 / b.window_s)::bigint - %s
"""
_CLAIM: Final = """
WITH given AS (
    SELECT g.*, floor(extract(epoch FROM clock_timestamp()) * 60 / g.window_s)::bigint AS moment
    FROM unnest(%(names)s::text[], %(windows)s::float[], %(requests)s::integer[], %(bounds)s::integer[],
        %(unclaimed)s::integer[]) AS g (name, window_s, requests, bound, unclaimed)
), used AS (
    SELECT given.*, given.unclaimed + COALESCE((
        SELECT sum(c.requests) FROM otel_bridge.budget_claims AS c
        WHERE c.name = given.name AND c.moment >= given.moment - %(kept)s), 0)::integer AS used
    FROM given
), granted AS (
    SELECT name, moment, used, unclaimed, greatest(least(requests, bound - used), 0) AS requests FROM used
), kept AS (
    INSERT INTO otel_bridge.budget_claims AS c (name, moment, replica, requests)
    SELECT name, moment, %(replica)s, requests + unclaimed FROM granted WHERE requests + unclaimed > 0
    ON CONFLICT (name, moment, replica) DO UPDATE SET requests = c.requests + excluded.requests
)
SELECT name, requests, used + requests, moment FROM granted
"""


async def claim(cursor: Cursor, replica: str, asks: Sequence[BudgetAsk]) -> dict[str, BudgetGrant]:
    """Claim what there is, up to what is asked for."""
    names = [ask.name for ask in asks]
    windows = [ask.limit.window_s for ask in asks]
    await cursor.execute(_LOCK, (names, [ask.limit.requests for ask in asks], windows))
    back = [(ask.name, moment, count) for ask in asks for moment, count in ask.returned.items()]
    if back:
        await cursor.execute(_RETURN, (*map(list, zip(*back, strict=True)), replica))
    await cursor.execute(_FORGET, (names, _KEPT))
    await cursor.execute(
        _CLAIM,
        {
            "names": names,
            "windows": windows,
            "requests": [ask.requests for ask in asks],
            "bounds": [ask.bound for ask in asks],
            "unclaimed": [ask.unclaimed for ask in asks],
            "replica": replica,
            "kept": _KEPT,
        },
    )
    return {row[0]: BudgetGrant(*row[1:]) for row in await cursor.fetchall()}


async def limits(cursor: Cursor, names: Sequence[str]) -> dict[str, BudgetLimit]:
    """What replicas have been told of these budgets; those that nobody knows are left out."""
    await cursor.execute(
        "SELECT name, requests, window_s FROM otel_bridge.budgets WHERE name = ANY (%s::text[])",
        (list(names),),
    )
    return {name: BudgetLimit(requests, window_s) for name, requests, window_s in await cursor.fetchall()}
