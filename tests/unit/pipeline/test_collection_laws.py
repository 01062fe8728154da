"""Laws of the whole collection: whatever happens, every record arrives, once, with the same bytes."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from collection_doors import Crash, InlineSqlite, Peril
from collection_scripts import FAMILY_SCRIPTS, LAST_AGE_S, PARENT_WAIT_S, SCRIPTS, Script, play
from collection_world import World
from direct_source import DirectSource
from hypothesis import HealthCheck, given, settings

from otel_bridge.errors import DestinationRefused
from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline import pipeline, windows
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_bridge.errors import DestinationError
    from otel_bridge.signals import Delivery, Outcome

AGES_MS = (30_000, 1000 * LAST_AGE_S)
DEFAULT_AGES_MS = (30_000, 120_000, 600_000, 3_600_000)
_PER_EXAMPLE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH_RECORDS", 4)


@pytest.fixture
async def world(open_bridge: Any) -> Any:
    async with open_bridge(recheck=AGES_MS) as bridge:
        made = World(bridge)
        yield made
        await made.client.aclose()


# ── exactly once, whatever happens ───────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("small_batches")
@settings(max_examples=35, suppress_health_check=_PER_EXAMPLE)
@given(script=SCRIPTS)
async def test_whatever_happens_every_record_is_collected_once(open_bridge: Any, script: Script) -> None:
    async with open_bridge(recheck=AGES_MS, parent_wait_ms=1000 * PARENT_WAIT_S) as bridge:
        world = World(bridge, order=script.order, to_inclusive=script.to_inclusive)
        await play(world, script)
        await world.check_all_delivered()
        await world.check_sealed(AGES_MS[-1])
        await world.client.aclose()


@pytest.mark.usefixtures("small_batches")
@settings(max_examples=30, suppress_health_check=_PER_EXAMPLE)
@given(script=FAMILY_SCRIPTS)
async def test_spans_do_not_depend_on_the_order_the_batches_or_crashes(
    open_bridge: Any, script: Script
) -> None:
    async with open_bridge(recheck=AGES_MS, parent_wait_ms=1000 * PARENT_WAIT_S) as bridge:
        world = World(bridge, order=script.order)
        await play(world, script)
        await world.check_all_delivered()
        await world.client.aclose()


@pytest.mark.usefixtures("small_batches")
@settings(max_examples=8, suppress_health_check=_PER_EXAMPLE)
@given(script=SCRIPTS)
async def test_the_same_holds_on_disk(
    open_bridge: Any, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    path: Path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    async with open_bridge(recheck=AGES_MS, parent_wait_ms=1000 * PARENT_WAIT_S) as bridge:
        bridge.ledger = InlineSqlite(path, bridge.clock)
        await bridge.ledger.open()
        world = World(bridge, order=script.order, to_inclusive=script.to_inclusive)
        await play(world, script)
        await world.check_all_delivered()
        await world.client.aclose()
        await world.ledger.close()


async def test_a_grandchild_waits_for_the_trace_of_a_grandparent_that_is_logged_last(world: World) -> None:
    await world.start()
    now_ms = world.true_ms
    world.happen("log_child", now_ms, parent={"log_id": "log_parent"})
    world.happen("log_parent", now_ms + 1, parent={"log_id": "log_grandparent"})
    world.happen("log_grandparent", now_ms + 2, visible_in_s=12)
    await world.rest(40)
    await world.recover()
    await world.check_all_delivered()


async def test_a_pass_held_up_by_the_destination_is_not_taken_for_its_rechecks(world: World) -> None:
    await world.start()
    await world.rest(2)
    world.happen("log_on_time", world.true_ms)
    world.happen("log_late", world.true_ms, visible_in_s=60)
    world.outage_until_s, world.outage_blocks = world.clock.monotonic_s() + 10 * LAST_AGE_S, True
    await world.rest(11 * LAST_AGE_S)
    await world.recover()
    await world.check_all_delivered()


async def test_records_that_stay_5xx_do_not_slow_down_what_happens_now(open_bridge: Any) -> None:
    async with open_bridge() as bridge:
        world = World(bridge)
        for number in range(10):
            world.source.trouble[f"log_bad_{number}"] = ["500"] * 10_000
            world.happen(f"log_bad_{number}", world.true_ms)
        world.happen("log_good", world.true_ms)
        await world.start()
        await world.rest(300)
        world.happen("log_now", world.true_ms)
        await world.rest(100)
        newest = list(itertools.accumulate(world.source.listed_to, max))
        polls = sorted({each for each in newest if each > world.true_ms - 120_000})
        assert set(world.acks) == {"log_good", "log_now"}
        assert max(right - left for left, right in itertools.pairwise(polls)) <= 10_000
        await world.end()
        await world.client.aclose()


# ── pruning in the middle of a catch-up ──────────────────────────────────────────────────────────────────
def forgetful(bridge: Any) -> Any:
    """A new worker that catches up from beyond what it keeps."""
    worker = bridge.new_worker()
    worker._options = replace(worker._options, keep_ms=60_000)
    return worker


async def test_what_two_windows_share_is_not_forgotten_between_them(
    open_bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The re-check lane prunes beside the lane that catches up."""
    async with open_bridge(recheck=()) as bridge:
        world = World(bridge, to_inclusive=True)
        edge_ms = bridge.clock.now_ms() - 3_600_000 + windows.FIRST_SPAN_MS
        world.happen("log_edge", edge_ms)
        world.begin()
        world.source.trouble["usage"] = ["404"]  # without a count the first window is a short one
        world.source.delays_s["list"] = [0, 11 * 60]
        pruned: list[int | None] = []
        prune = world.ledger.prune

        async def noted(project: str, before_ms: int, now_ms: int) -> None:
            pruned.append(await world.ledger.watermark_ms("p", Lane.LIVE))
            await prune(project, before_ms, now_ms)

        monkeypatch.setattr(world.ledger, "prune", noted)
        running = asyncio.create_task(forgetful(bridge).run())
        await world.rest(20 * 60)
        bridge.stop.set()
        await running
        assert pruned[0] == edge_ms, "between the two windows"
        await world.check_all_delivered()
        assert world.acks == {"log_edge": 1}
        await world.client.aclose()


@pytest.mark.usefixtures("small_batches")
async def test_what_an_interrupted_window_has_delivered_is_not_forgotten(open_bridge: Any) -> None:
    async with open_bridge(recheck=()) as bridge:
        world = World(bridge)
        for number in range(40):  # more than the first window of a new process takes at once
            world.happen(f"log_{number}", world.true_ms - 3_500_000)
        world.begin()
        world.perils.append(Peril("destination", 6, after=False, crash=True))
        with pytest.raises(Crash):
            await forgetful(bridge).run_once()
        first = dict(world.acks)
        assert first
        world.begin()
        await forgetful(bridge).run_once()
        assert all(world.acks[log_id] == 1 for log_id in first)
        await world.client.aclose()


async def test_lanes_that_adjoin_deliver_their_shared_millisecond_once(open_bridge: Any) -> None:
    async with open_bridge(recheck=AGES_MS) as bridge:
        world = World(bridge, to_inclusive=True)
        start_ms = bridge.clock.now_ms() - 3_600_000
        world.happen("log_edge", start_ms)
        await world.ledger.add_windows([Window("p", Lane.BACKFILL, start_ms - 1000, start_ms)])
        world.source.latency_s = 0.2
        await world.start()
        await world.rest(20)
        await world.end()
        await world.check_all_delivered()
        await world.client.aclose()


# ── sealing ──────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_quiet_day_costs_few_requests_and_leaves_few_rows(open_bridge: Any) -> None:
    async with open_bridge(recheck=DEFAULT_AGES_MS) as bridge:
        source = bridge.source.client = DirectSource(bridge.store, bridge.clock)
        running = asyncio.create_task(bridge.worker.run())
        rows = []
        for _ in range(24):
            await asyncio.create_task(bridge.clock.sleep(3600))
            windows = await bridge.ledger.windows("p", Lane.LIVE)
            rows.append(len(windows))
            for left, right in itertools.pairwise(windows):
                assert left.to_ms == right.from_ms
            # Patience is a quarter of the age; a poll may come on top.
            sealed_by_ms = bridge.clock.now_ms() - 3_600_000 * 5 // 4 - 160_000
            assert all(window.sealed for window in windows if window.to_ms <= sealed_by_ms)
        bridge.stop.set()
        await running
        assert max(rows) <= 100
        # 12 polls a minute, and joined re-checks.
        assert source.requests["list"] <= 24 * 60 * 18.5


async def test_a_start_that_lies_at_the_last_recheck_s_age_is_caught_up_in_few_listings(
    open_bridge: Any,
) -> None:
    """Time goes on while a window is listed: what becomes too old meanwhile is no window of its own."""
    async with open_bridge(recheck=(30_000, 3_600_000)) as bridge:
        world = World(bridge)
        world.source.latency_s = 0.3
        world.happen("log_a", world.true_ms - 1_000)
        await world.start()
        await world.rest(20)
        assert set(world.acks) == {"log_a"}
        assert len(world.source.listed_to) <= 10
        await world.end()
        await world.client.aclose()


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("rate", "seconds"), [(1, 600), (5, 600), (30, 120)])
async def test_a_live_feed_costs_little_more_than_its_details(
    open_bridge: Any, rate: int, seconds: int
) -> None:
    async with open_bridge(recheck=DEFAULT_AGES_MS) as bridge:
        source = bridge.source.client = DirectSource(bridge.store, bridge.clock)
        running = asyncio.create_task(bridge.worker.run())
        for second in range(seconds):
            for number in range(rate):
                bridge.add(f"log_{second}_{number}", age_s=0.3)
            await asyncio.create_task(bridge.clock.sleep(1))
        # What is not yet to be seen when its window is listed waits for the first re-check.
        await asyncio.create_task(bridge.clock.sleep(45))
        bridge.stop.set()
        await running
        records = rate * seconds
        assert len(bridge.destination.keys) == records
        assert source.requests["detail"] == records
        # Below 4 records a second the polls alone are more than a tenth, whatever the bridge does.
        assert source.requests["list"] <= max(0.1 * records, 18.5 * (seconds + 45) / 60)


async def test_a_cold_drain_costs_a_list_request_for_almost_a_hundred_records(open_bridge: Any) -> None:
    async with open_bridge() as bridge:
        source = bridge.source.client = DirectSource(bridge.store, bridge.clock)
        for number in range(4000):
            bridge.add(f"log_{number}", age_s=60 + number * 3500 / 4000)
        await bridge.once()
        assert len(bridge.destination.keys) == 4000
        assert sum(source.requests.values()) <= 1.05 * 4000


# ── an outage ────────────────────────────────────────────────────────────────────────────────────────────
class DownDestination:
    """A destination that is down until ``down`` is unset.

    ``error``: what it answers; None for an exporter that tries again by itself, as the service's does.
    """

    def __init__(self, bridge: Any, error: DestinationError | None) -> None:
        self._bridge = bridge
        self._inner = bridge.destination
        self._error = error
        self._backoff = Backoff(first_s=0.5, most_s=30.0, attempts=None)
        self.down = True
        self.attempts = 0
        self.most_tasks = 0

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        failures = 0
        while self.down:
            self.attempts += 1
            failures += 1
            if self._error is not None:
                raise self._error
            await self._bridge.clock.sleep(self._backoff.wait_s(failures) or 0)
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        outcome: Outcome = await self._inner.export(deliveries)
        return outcome

    @property
    def delivered(self) -> list[Delivery]:
        return list(self._inner.deliveries)


@pytest.mark.parametrize(
    ("error", "minutes"), [(None, 60), (DestinationRefused("401 Unauthorized"), 20)], ids=["down", "refuses"]
)
async def test_what_waits_for_a_destination_arrives_oldest_first_and_costs_little_meanwhile(
    open_bridge: Any, error: DestinationError | None, minutes: int
) -> None:
    async with open_bridge(recheck=DEFAULT_AGES_MS) as bridge:
        source = bridge.source.client = DirectSource(bridge.store, bridge.clock)
        destination = bridge.destination = DownDestination(bridge, error)
        bridge.worker = bridge.new_worker()
        for number in range(3000):
            bridge.add(f"log_old_{number}", age_s=3000 - number / 2)
        running = asyncio.create_task(bridge.worker.run())
        for minute in range(minutes):
            for number in range(10):
                bridge.add(f"log_{minute}_{number}", age_s=1)
            await asyncio.create_task(bridge.clock.sleep(60))
        assert destination.attempts <= 10 + 4 * minutes
        # However long it stays away: the batch in hand, what was fetched ahead of it, and no more.
        assert source.requests["detail"] <= 3 * pipeline.BATCH_RECORDS
        assert source.requests["list"] <= 20
        destination.down = False
        await asyncio.create_task(bridge.clock.sleep(180))
        bridge.stop.set()
        await running
        assert len(destination.delivered) == len({each.key for each in destination.delivered})
        assert len(destination.delivered) == 3000 + 10 * minutes
        ends = [each.span.end_ns for each in destination.delivered if each.span is not None]
        assert ends == sorted(ends)
        assert destination.most_tasks <= 300
