"""The organisation's request budget, end to end: the share is kept, and the customer's calls go first."""

from __future__ import annotations

import asyncio
import math
import statistics
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from otel_bridge.emulator import EmulatorOptions, LogStore, create_app
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import RESERVE, Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT = 120
SHARE = 0.5
RESERVED = round(RESERVE * LIMIT)


class Organisation(httpx.AsyncBaseTransport):
    """One organisation's API with a limit: notes when it was asked, for what, and what it answered."""

    def __init__(self, clock: Any, stores: dict[str, LogStore], limit: int) -> None:
        self.clock = clock
        options = EmulatorOptions(clock=clock, rate_limit=limit, projects=stores)
        self.app = create_app(next(iter(stores.values())), options)
        self._inner = httpx.ASGITransport(self.app)
        self.asked: list[tuple[float, str, int]] = []
        self.beyond: list[int] = []
        """By how much each request went into the reserve, as far as the bridge could know."""
        self.customer_refused = 0
        self._unheard = 0
        self._heard_s = -math.inf

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        at_s = self.clock.monotonic_s()
        left = self.app.rate_window().remaining + self._unheard - 1
        if at_s < self._heard_s + 60:
            self.beyond.append(max(0, RESERVED - left))
        response = await self._inner.handle_async_request(request)
        self.asked.append((at_s, request.headers["x-api-key"], response.status_code))
        self._unheard = 0
        self._heard_s = at_s
        return response

    def customer_calls(self, count: int) -> None:
        """The customer's own calls, of which the bridge hears with its next answer."""
        for _ in range(count):
            if self.app.rate_window().take():
                self._unheard += 1
            else:
                self.customer_refused += 1

    def busiest_minute(self) -> int:
        times = [at_s for at_s, _, _ in self.asked]
        return max(sum(start <= each < start + 60 for each in times) for start in times)

    @property
    def refused(self) -> int:
        return sum(status == 429 for _, _, status in self.asked)


@asynccontextmanager
async def _collecting(
    open_bridge: Callable[..., Any], keys: tuple[str, ...], limit: int
) -> AsyncIterator[Any]:
    """Bridges of one organisation's projects, with one budget and one clock, running."""
    async with open_bridge() as first:
        bridges = [first]
        for _ in keys[1:]:
            async with open_bridge() as other:
                other.clock = first.clock
                bridges.append(other)
        stores = {key: bridge.store for key, bridge in zip(keys, bridges, strict=True)}
        organisation = Organisation(first.clock, stores, limit)
        budget = Budget(SHARE, first.clock)
        for key, bridge in zip(keys, bridges, strict=True):
            await bridge.ledger.open()
            bridge.client = LogsClient(
                base_url="http://127.0.0.1",
                api_key=SecretStr(key),
                budget=budget,
                clock=first.clock,
                backoff=Backoff(first_s=0.1, attempts=3),
                transport=organisation,
            )
            bridge.source = ProjectSource(bridge.client, (), "all", Concurrency(8))
            bridge.worker = bridge.new_worker()
        running = [asyncio.create_task(bridge.worker.run()) for bridge in bridges]
        try:
            yield organisation, bridges
        finally:
            for bridge in bridges:
                bridge.stop.set()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for bridge in bridges:
                await bridge.client.aclose()


@pytest.fixture
def collecting(open_bridge: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *keys, limit=LIMIT: _collecting(open_bridge, keys or ("ak_one",), limit)


async def rest(organisation: Organisation, seconds: float) -> None:
    await asyncio.create_task(organisation.clock.sleep(seconds))


async def test_a_backlog_is_drained_at_the_share_and_no_faster(collecting: Any) -> None:
    async with collecting() as (organisation, (bridge,)):
        for number in range(400):
            bridge.add(f"log_{number}", age_s=3000 - number)
        await rest(organisation, 6 * 60)
        assert organisation.busiest_minute() <= SHARE * LIMIT * 1.05
        assert organisation.refused == 0
        # A minute begins when the one before is over: the share is used, too.
        assert len(organisation.asked) >= 0.9 * SHARE * LIMIT * 6


async def test_two_projects_of_one_organisation_share_it(collecting: Any) -> None:
    async with collecting("ak_one", "ak_two") as (organisation, bridges):
        for number in range(200):
            for bridge in bridges:
                bridge.add(f"log_{number}", age_s=3000 - number)
        await rest(organisation, 5 * 60)
        assert organisation.busiest_minute() <= SHARE * LIMIT * 1.05
        assert organisation.refused == 0
        asked = [key for _, key, _ in organisation.asked]
        for key in ("ak_one", "ak_two"):
            assert asked.count(key) >= 0.3 * len(asked)


@pytest.mark.parametrize("seed", range(4))
async def test_the_reserve_is_left_to_the_customer_who_uses_the_budget_up(collecting: Any, seed: int) -> None:
    random = Random(seed)
    async with collecting() as (organisation, (bridge,)):
        for number in range(600):
            bridge.add(f"log_{number}", age_s=3000 - number)
        for _ in range(5 * 60):
            await rest(organisation, 1)
            organisation.customer_calls(random.choice([0, 0, 1, 3, 5 * seed]))
        assert max(organisation.beyond) == 0
        assert organisation.refused <= 1
        assert organisation.busiest_minute() <= SHARE * LIMIT * 1.05
        assert len(organisation.asked) >= 5  # it goes on with what is left


async def test_a_customer_within_its_own_part_never_meets_a_429(collecting: Any) -> None:
    async with collecting() as (organisation, (bridge,)):
        for number in range(600):
            bridge.add(f"log_{number}", age_s=3000 - number)
        for _ in range(8 * 60):
            await rest(organisation, 1)
            organisation.customer_calls(1)
        # The source's minutes are its own: the bridge's may lie across two of them, not in one twice.
        assert organisation.customer_refused == 0
        assert organisation.refused == 0


class Stopwatch:
    """How long records of a bridge take from being seen to being delivered, in seconds."""

    def __init__(self, bridge: Any, clock: Any) -> None:
        self._bridge = bridge
        self._clock = clock
        self._added_s: dict[str, float] = {}
        self.delays: dict[str, float] = {}
        self._export = bridge.destination.export
        bridge.destination.export = self._timed

    def add(self, log_id: str, age_s: float = 0) -> None:
        self._added_s[log_id] = self._clock.monotonic_s()
        self._bridge.add(log_id, age_s=age_s)

    async def _timed(self, deliveries: Any) -> Any:
        for each in deliveries:
            self.delays[each.key] = self._clock.monotonic_s() - self._added_s[each.key]
        return await self._export(deliveries)


async def test_records_are_fresh_while_the_share_is_enough(collecting: Any) -> None:
    async with collecting() as (organisation, (bridge,)):
        watch = Stopwatch(bridge, organisation.clock)
        for second in range(5 * 60):
            # 24 records a minute, 12 polls, and re-checks: below the 60 that are its share.
            if second % 5 in (1, 3):
                watch.add(f"log_{second}")
            await rest(organisation, 1)
        await rest(organisation, 60)
        assert len(watch.delays) == 120
        assert statistics.median(watch.delays.values()) <= 5 + 1
        assert organisation.refused == 0


@pytest.mark.parametrize("fresh", ["ak_two", "ak_one"])
async def test_what_happens_now_goes_before_what_rechecks_find(collecting: Any, fresh: str) -> None:
    # A limit of which the part kept for head windows (a tenth of the share) is more than two polls need.
    async with collecting("ak_one", "ak_two", limit=10 * LIMIT) as (organisation, bridges):
        watches = dict(
            zip(("ak_one", "ak_two"), (Stopwatch(each, organisation.clock) for each in bridges), strict=True)
        )
        await rest(organisation, 70)  # windows of the last minute are collected, and wait for re-checks
        for number in range(2000):
            watches["ak_one"].add(f"log_late_{number}", age_s=30 + number / 100)
        for number in range(12):
            await rest(organisation, 15)
            watches[fresh].add(f"log_new_{number}")
        await rest(organisation, 120)
        delays = [delay for log_id, delay in watches[fresh].delays.items() if "new" in log_id]
        assert len(delays) == 12
        assert statistics.median(delays) <= 5 + 1
