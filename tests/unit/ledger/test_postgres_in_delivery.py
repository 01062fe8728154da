"""Which replica delivers a record: on a real database, one at a time, for as long as its lease holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import postgres_cluster
import pytest
from unit.ledger.ledger_samples import DAY, T0, aside, record

from otel_bridge.errors import LeaseLost
from otel_bridge.ledger import open_ledger
from otel_bridge.ledger.leases import Lease, SharedLedger
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.backend
IDS = ["log_x", "log_y"]


@pytest.fixture
async def ledger() -> AsyncIterator[SharedLedger]:
    each = open_ledger(postgres_cluster.emptied_database(), SystemClock())
    assert isinstance(each, SharedLedger)
    await each.open()
    yield each
    await each.close()


async def taken(ledger: SharedLedger, holder: str, scope: str) -> Lease:
    lease = await ledger.acquire("p", scope, holder, 60)
    assert lease is not None
    return lease


async def under(ledger: SharedLedger, holder: str, scope: str) -> SharedLedger:
    """The ledger as this replica's lane sees it."""
    view = ledger.under(await taken(ledger, holder, scope))
    assert isinstance(view, SharedLedger)
    return view


def sql(statement: str) -> str:
    return postgres_cluster.cluster().sql(statement, "bridge")


def run_out(holder: str) -> None:
    sql(f"UPDATE otel_bridge.leases SET expires_at = now() - interval '1 s' WHERE holder = '{holder}'")  # noqa: S608


def rows() -> int:
    return int(sql("SELECT count(*) FROM otel_bridge.in_delivery"))


async def test_what_one_replica_delivers_another_leaves_alone(ledger: SharedLedger) -> None:
    a, b = await under(ledger, "a", "head"), await under(ledger, "b", "recheck")
    assert await a.begin_delivery("p", ["log_x", "log_x"]) == set()
    assert await b.begin_delivery("p", IDS) == {"log_x"}
    assert await a.begin_delivery("p", IDS) == {"log_y"}
    # A lane that tries again has what it had; other projects are other records.
    assert await a.begin_delivery("p", ["log_x"]) == set()
    other = ledger.under(Lease("q", "head", "b", 1))
    assert await ledger.acquire("q", "head", "b", 60)
    assert isinstance(other, SharedLedger)
    assert await other.begin_delivery("q", IDS) == set()


async def test_of_two_that_begin_at_once_each_record_is_one_s(ledger: SharedLedger) -> None:
    a, b = await under(ledger, "a", "head"), await under(ledger, "b", "recheck")
    ids = [f"log_{n}" for n in range(300)]
    for_b, for_a = await asyncio.gather(a.begin_delivery("p", ids), b.begin_delivery("p", ids[::-1]))
    assert (for_a | for_b, for_a & for_b) == (set(ids), set())


async def test_what_is_committed_is_in_delivery_no_more(ledger: SharedLedger) -> None:
    a, b = await under(ledger, "a", "head"), await under(ledger, "b", "recheck")
    await a.begin_delivery("p", IDS)
    await a.commit("p", delivered=[record("log_x")], set_aside=[aside("log_y")])
    assert rows() == 0
    # Delivered since the ledger was asked: it must not go out again. What is set aside may be tried again.
    assert await b.begin_delivery("p", IDS) == {"log_x"}
    assert await a.begin_delivery("p", IDS) == set(IDS)


async def test_lanes_of_one_process_settle_it_among_themselves(ledger: SharedLedger) -> None:
    head, recheck = await under(ledger, "a", "head"), await under(ledger, "a", "recheck")
    assert await head.begin_delivery("p", IDS) == set()
    assert await recheck.begin_delivery("p", IDS) == set()


@pytest.mark.parametrize("end", ["released", "ran out", "taken over"])
async def test_what_a_lease_that_is_gone_was_delivering_goes_to_the_next(
    ledger: SharedLedger, end: str
) -> None:
    lease = await taken(ledger, "a", "head")
    a, b = ledger.under(lease), await under(ledger, "b", "recheck")
    assert isinstance(a, SharedLedger)
    await a.begin_delivery("p", IDS)
    assert await b.begin_delivery("p", IDS) == set(IDS)
    if end == "released":
        await ledger.release([lease])
    else:
        run_out("a")
    if end == "taken over":
        again = await under(ledger, "c", "head")
        assert await again.begin_delivery("p", ["log_x"]) == set()
        assert await b.begin_delivery("p", IDS) == {"log_x"}
        with pytest.raises(LeaseLost):
            await a.begin_delivery("p", IDS)
        return
    assert await b.begin_delivery("p", IDS) == set()


async def test_what_is_left_behind_is_dropped(ledger: SharedLedger) -> None:
    lease = await taken(ledger, "a", "head")
    a, b = ledger.under(lease), await under(ledger, "b", "recheck")
    assert isinstance(a, SharedLedger)
    await a.begin_delivery("p", ["log_x"])
    await b.begin_delivery("p", ["log_y"])
    await ledger.release([lease])
    await b.prune("p", T0 - DAY, T0)
    assert sql("SELECT scope FROM otel_bridge.in_delivery") == "recheck"


async def test_without_a_lease_nothing_is_said(ledger: SharedLedger) -> None:
    a = await under(ledger, "a", "head")
    await a.begin_delivery("p", ["log_x"])
    assert await ledger.begin_delivery("p", IDS) == set()
    assert rows() == 1
