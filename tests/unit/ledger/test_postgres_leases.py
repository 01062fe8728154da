"""Leases on a real database: who was stopped and comes back commits nothing that another has taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import postgres_cluster
import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import T0, aside, record, window

from otel_bridge.errors import LeaseLost
from otel_bridge.ledger import Lane, MemoryLedger, SqliteLedger, open_ledger
from otel_bridge.ledger.leases import Lease, SharedLedger
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from otel_bridge.ledger.postgres_database import Cursor

pytestmark = pytest.mark.backend


async def opened_ledger(url: str) -> SharedLedger:
    ledger = open_ledger(url, SystemClock())
    assert isinstance(ledger, SharedLedger)
    await ledger.open()
    return ledger


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[SharedLedger, SharedLedger]]:
    url = postgres_cluster.emptied_database()
    a, b = await opened_ledger(url), await opened_ledger(url)
    yield a, b
    await a.close()
    await b.close()


def run_out() -> None:
    postgres_cluster.cluster().sql(
        "UPDATE otel_bridge.leases SET expires_at = now() - interval '1 s'", "bridge"
    )


async def taken(ledger: SharedLedger, holder: str, project: str = "p") -> Lease:
    lease = await ledger.acquire(project, "head", holder, 60)
    assert lease is not None
    return lease


async def test_one_replica_at_a_time_holds_a_scope(replicas: tuple[SharedLedger, SharedLedger]) -> None:
    a, b = replicas
    taken_by = await asyncio.gather(
        *(each.acquire("p", "head", f"r{n}", 60) for n in range(5) for each in replicas)
    )
    [first] = [each for each in taken_by if each]
    assert first.epoch == 1
    assert await b.acquire("p", "backfill", "b", 60) == Lease("p", "backfill", "b", 1)
    assert await b.acquire("q", "head", "b", 60) == Lease("q", "head", "b", 1)
    await a.release([first])
    again = await taken(b, "b")
    assert again == Lease("p", "head", "b", 2)
    run_out()
    assert await a.acquire("p", "head", "a", 60) == Lease("p", "head", "a", 3)


async def test_who_was_taken_over_changes_nothing(replicas: tuple[SharedLedger, SharedLedger]) -> None:
    a, b = replicas
    stale = a.under(await taken(a, "a"))
    await stale.commit("p", delivered=[record("first")], set_aside=[aside("x")], window=window(0, 2))
    run_out()
    current = b.under(await taken(b, "b"))
    before = await b.status(["p"])
    refused: list[Any] = [
        stale.commit("p", delivered=[record("late")], window=window(2, 3)),
        stale.commit("p", set_aside=[aside("late")]),
        stale.replace_windows([window(0, 2)], [window(0, 1), window(1, 2)]),
        stale.put_back("p", None, T0),
        stale.prune("p", T0, T0),
        stale.settle("p", [], now_ms=T0),
    ]
    for call in refused:
        with pytest.raises(
            LeaseLost, match=r"project 'p': its head work was handed over to b; what was in hand"
        ):
            await call
    assert await b.status(["p"]) == before
    assert await b.known("p", ["first", "late"]) == {"first"}
    await current.commit("p", delivered=[record("late")], window=window(2, 3))
    assert await stale.known("p", ["late"]) == {"late"}
    # What is for people belongs to no scope.
    await stale.note_error("p", "something", T0)


async def test_a_lease_that_was_handed_back_commits_nothing(
    replicas: tuple[SharedLedger, SharedLedger],
) -> None:
    a, _ = replicas
    lease = await taken(a, "a")
    await a.release([lease])
    with pytest.raises(LeaseLost, match="handed over to nobody"):
        await a.under(lease).commit("p", delivered=[record("a")])
    assert await a.leases() == []
    assert await a.renew([lease], 60) == set()


async def test_who_ran_out_unnoticed_goes_on_until_another_takes_over(
    replicas: tuple[SharedLedger, SharedLedger],
) -> None:
    a, b = replicas
    lease, other = await taken(a, "a"), await taken(b, "b", "q")
    run_out()
    await a.under(lease).commit("p", delivered=[record("a")])
    assert await a.renew([lease, other], 60) == {lease, other}
    [held, _] = await b.leases()
    assert (held.lease, 55_000 < held.expires_in_ms <= 60_000) == (lease, True)
    assert abs(held.since_ms - SystemClock().now_ms()) < 60_000
    assert await b.acquire("p", "head", "b", 60) is None


class Held:
    """Holds a commit between the fence and its rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from otel_bridge.ledger import postgres_records  # noqa: PLC0415 - patched here

        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        put = postgres_records.put_delivered

        async def held(cursor: Cursor, project_id: int, records: Any) -> None:
            if any(each.log_id == "slow" for each in records):
                self.reached.set()
                await self.go_on.wait()
            await put(cursor, project_id, records)

        monkeypatch.setattr(postgres_records, "put_delivered", held)


async def test_taking_over_waits_for_a_commit_that_has_passed_the_fence(
    replicas: tuple[SharedLedger, SharedLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = replicas
    held = Held(monkeypatch)
    lease = await taken(a, "a")
    committing = asyncio.create_task(
        a.under(lease).commit("p", delivered=[record("slow")], window=window(0, 1))
    )
    await held.reached.wait()
    run_out_later = asyncio.create_task(asyncio.to_thread(run_out))
    await asyncio.sleep(0.2)
    held.go_on.set()
    await committing
    await run_out_later
    second = await taken(b, "b")
    assert second.epoch == 2
    assert await b.windows("p", Lane.LIVE) == [window(0, 1)], "whoever takes over sees what was committed"


async def test_a_replica_stopped_in_its_transaction_holds_nobody_up_for_long(
    replicas: tuple[SharedLedger, SharedLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = replicas
    monkeypatch.setattr(
        "otel_bridge.ledger.postgres_database._SESSION", "SET idle_in_transaction_session_timeout = '500ms'"
    )
    await a.close()
    await a.open()
    held = Held(monkeypatch)
    lease = await a.acquire("p", "head", "a", 0.2)
    assert lease is not None
    committing = asyncio.create_task(
        a.under(lease).commit("p", delivered=[record("slow")], window=window(0, 1))
    )
    await held.reached.wait()
    await asyncio.sleep(0.3)
    second = await asyncio.wait_for(taken(b, "b"), 10)
    await b.under(second).commit("p", delivered=[record("other")], window=window(0, 1))
    held.go_on.set()
    with pytest.raises(LeaseLost):
        await committing
    assert await b.known("p", ["slow", "other"]) == {"other"}


def test_a_ledger_of_one_process_has_no_leases(tmp_path: Path) -> None:
    assert not isinstance(MemoryLedger(), SharedLedger)
    assert not isinstance(SqliteLedger(tmp_path / "x.db", SimulatedClock()), SharedLedger)
