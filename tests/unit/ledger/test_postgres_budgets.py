"""Claims on a budget that replicas share: counted in one place, by the database's time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import postgres_cluster
import pytest

from otel_bridge.ledger import open_ledger
from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetGrant, BudgetLimit
from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.backend
HOUR = BudgetLimit(20, 3600.0)


@pytest.fixture
async def ledger() -> AsyncIterator[SharedLedger]:
    each = open_ledger(postgres_cluster.emptied_database(), SystemClock())
    assert isinstance(each, SharedLedger)
    await each.open()
    yield each
    await each.close()


async def claim(
    ledger: SharedLedger, replica: str, requests: int, bound: int = 10, **more: object
) -> BudgetGrant:
    ask = BudgetAsk("acme", HOUR, requests, bound, **more)  # type: ignore[arg-type]
    return (await ledger.claim(replica, [ask]))["acme"]


async def test_all_together_get_no_more_than_there_is(ledger: SharedLedger) -> None:
    first = await claim(ledger, "a", 6)
    assert (first.requests, first.used) == (6, 6)
    assert [(await claim(ledger, "b", each)).requests for each in (6, 1)] == [4, 0]
    # What was not sent goes back, and is anybody's.
    assert (await claim(ledger, "a", 0, returned={first.moment: 2})).used == 8
    assert (await claim(ledger, "b", 5)).requests == 2
    # What is less urgent stops sooner.
    assert (await claim(ledger, "a", 0, returned={first.moment: 4})).used == 6
    assert (await claim(ledger, "b", 5, bound=7)).requests == 1
    # What was sent without a claim counts, even beyond the bound.
    grant = await claim(ledger, "c", 5, unclaimed=20)
    assert (grant.requests, grant.used) == (0, 27)


async def test_who_claims_at_once_gets_no_more_together(ledger: SharedLedger) -> None:
    grants = await asyncio.gather(*(claim(ledger, f"r{n % 5}", 3, bound=50) for n in range(40)))
    assert sum(each.requests for each in grants) == 50
    asks = [BudgetAsk(name, HOUR, 1, 40) for name in ("x", "y", "z")]
    both = [ledger.claim(f"r{n}", asks[::-1] if n % 2 else asks) for n in range(20)]
    counts = [grant.requests for grants in await asyncio.gather(*both) for grant in grants.values()]
    assert sum(counts) == 60


async def test_what_is_long_ago_counts_no_more(ledger: SharedLedger) -> None:
    await claim(ledger, "a", 10)
    age = "UPDATE otel_bridge.budget_claims SET moment = moment -"
    postgres_cluster.cluster().sql(f"{age} 62", "bridge")
    await asyncio.sleep(0)
    assert (await claim(ledger, "b", 5)).requests == 0, "a claim is good for two moments"
    postgres_cluster.cluster().sql(f"{age} 1", "bridge")
    assert (await claim(ledger, "b", 5)).requests == 5
    count = "SELECT count(*) FROM otel_bridge.budget_claims"
    assert postgres_cluster.cluster().sql(count, "bridge") == "1", "it is not kept either"


async def test_what_the_source_says_is_told_to_the_others(ledger: SharedLedger) -> None:
    await claim(ledger, "a", 1)
    assert await ledger.budget_limits(["acme", "nobody"]) == {"acme": HOUR}
    other = BudgetAsk("acme", BudgetLimit(40, 60.0), 1, 10)
    await ledger.claim("b", [other])
    assert await ledger.budget_limits(["acme"]) == {"acme": BudgetLimit(40, 60.0)}
