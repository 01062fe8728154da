"""Two replicas whose lanes list the same late record at once: it goes out once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import postgres_cluster
import pytest
from simulated_clock import START_MS

from otel_bridge.ledger import Lane, open_ledger
from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.pipeline.context import Stopped
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from otel_bridge.ledger.leases import Lease
    from otel_bridge.signals import Delivery, Outcome

pytestmark = pytest.mark.backend
LATE_MS = START_MS + 10_000


class Replica:
    """A worker with a source of its own that shows the same records, over the shared ledger."""

    def __init__(self, name: str, bridge: Any, ledger: SharedLedger) -> None:
        self.name = name
        self.bridge = bridge
        self._ledger = ledger
        self._lease: Lease | None = None
        self.sending, self.acknowledge = asyncio.Event(), asyncio.Event()
        self.acknowledge.set()
        self._export = bridge.destination.export
        bridge.destination.export = self._held
        bridge.ledger = ledger.under_current(lambda _: self._lease)
        bridge.worker = bridge.new_worker()

    async def turn(self, part: str) -> None:
        """One turn; a lease is left behind where it is killed. A poll looks back until a re-check is due."""
        self.bridge.clock.step_wall_clock(20_000 if part == "head" else 45_000)
        self._lease = await self._ledger.acquire("p", part, self.name, 60)
        assert self._lease is not None
        await self.bridge.worker.steps[part](None)
        await self._ledger.release([self._lease])

    async def sent(self, part: str) -> asyncio.Task[None]:
        """Begin a turn whose first batch is sent and not acknowledged."""
        self.acknowledge.clear()
        running = asyncio.create_task(self.turn(part))
        await self.sending.wait()
        return running

    async def waits(self, times: int) -> None:
        """Return once it has looked so often what has become of the record."""
        while self.bridge.clock.naps.count(1.0) < times:  # noqa: ASYNC110 - it is told nowhere else
            await asyncio.sleep(0.01)

    async def _held(self, deliveries: Sequence[Delivery]) -> Outcome:
        self.sending.set()
        await self.acknowledge.wait()
        result: Outcome = await self._export(deliveries)
        return result

    @property
    def delivered(self) -> list[str]:
        keys: list[str] = self.bridge.destination.keys
        return keys


@asynccontextmanager
async def late_record(
    open_bridge: Callable[..., Any],
) -> AsyncIterator[tuple[Replica, Replica, SharedLedger]]:
    """A collected hour, and ``log_late``, which has become visible in its end since."""
    async with AsyncExitStack() as stack:
        ledger = open_ledger(postgres_cluster.emptied_database(), SystemClock())
        assert isinstance(ledger, SharedLedger)
        await ledger.open()
        stack.push_async_callback(ledger.close)
        bridges = [await stack.enter_async_context(open_bridge(recheck=(30_000,))) for _ in range(2)]
        a, b = (Replica(name, bridge, ledger) for name, bridge in zip("ab", bridges, strict=True))
        await a.turn("head")
        b.bridge.clock.step_wall_clock(a.bridge.clock.now_ms() - b.bridge.clock.now_ms())
        for bridge in bridges:
            bridge.add("log_late", age_s=(bridge.clock.now_ms() - LATE_MS) / 1000)
        async with asyncio.timeout(20):
            yield a, b, ledger


async def its_time_is_sealed(ledger: SharedLedger) -> bool:
    its, *_ = await ledger.windows("p", Lane.LIVE, from_ms=LATE_MS, to_ms=LATE_MS + 1)
    return its.sealed


async def test_a_poll_leaves_what_another_replica_s_recheck_delivers(open_bridge: Any) -> None:
    async with late_record(open_bridge) as (a, b, ledger):
        rechecking = await a.sent("recheck")
        await b.turn("head")
        assert b.delivered == [], "it lies before the window of the poll, which goes on"
        a.acknowledge.set()
        await rechecking
        assert a.delivered == ["log_late"]
        assert await its_time_is_sealed(ledger)


async def test_a_recheck_seals_time_once_another_replica_s_poll_has_delivered_its_record(
    open_bridge: Any,
) -> None:
    async with late_record(open_bridge) as (a, b, ledger):
        polling = await a.sent("head")
        rechecking = asyncio.create_task(b.turn("recheck"))
        await b.waits(3)
        assert not rechecking.done()
        assert not await its_time_is_sealed(ledger)
        a.acknowledge.set()
        await asyncio.gather(polling, rechecking)
        assert (a.delivered, b.delivered) == (["log_late"], [])
        assert await its_time_is_sealed(ledger)


async def test_what_a_killed_replica_was_delivering_another_delivers_once_its_lease_is_gone(
    open_bridge: Any,
) -> None:
    async with late_record(open_bridge) as (a, b, ledger):
        killed = await a.sent("head")
        killed.cancel()
        await asyncio.wait({killed})
        rechecking = asyncio.create_task(b.turn("recheck"))
        await b.waits(3)
        assert b.delivered == [], "the lease holds yet"
        postgres_cluster.cluster().sql(
            "UPDATE otel_bridge.leases SET expires_at = now() WHERE holder = 'a'", "bridge"
        )
        await rechecking
        assert b.delivered == ["log_late"]
        assert await its_time_is_sealed(ledger)


async def test_a_stop_ends_the_wait(open_bridge: Any) -> None:
    async with late_record(open_bridge) as (a, b, ledger):
        polling = await a.sent("head")
        rechecking = asyncio.create_task(b.turn("recheck"))
        await b.waits(2)
        b.bridge.stop.set()
        with pytest.raises(Stopped):
            await rechecking
        assert not await its_time_is_sealed(ledger)
        a.acknowledge.set()
        await polling
        assert (a.delivered, b.delivered) == (["log_late"], [])
