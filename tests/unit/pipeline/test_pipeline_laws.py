"""Laws of a pipeline in simulated time, whatever the order of answers and whatever fails: all arrives, once,
in order, within what may be held, and in bounded time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from direct_source import DirectSource
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from simulated_clock import START_MS

from otel_bridge.errors import DestinationUnavailable, SourceFailed, SourceUnreachable
from otel_bridge.ledger import Lane, Reason, SetAside, Window
from otel_bridge.pipeline import capacity as bounds
from otel_bridge.pipeline import pipeline
from otel_bridge.pipeline.capacity import Capacity
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.observer import Observer
from otel_bridge.pipeline.source import ProjectSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.pipeline.context import Tally
    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.receiver.models import Detail, UsageSummary
    from otel_bridge.signals import Delivery, Outcome

BODY = 1_000
MOST_BYTES = 12_000
AHEAD = 24
BATCH = 8
STEP_MS = 15_000
OLDEST_MS = START_MS - 3_200_000


class Watch(Observer):
    """What is held, and in which order each lane delivers and commits."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.fetched: set[str] = set()
        self.delivered_ids: Counter[str] = Counter()
        self.most_records = 0
        self.most_bytes = 0
        self.pending: dict[Lane, list[int]] = {}
        self.violations: list[str] = []
        self.tried_again: set[str] = set()

    def look(self) -> None:
        self.most_records = max(self.most_records, len(self.fetched - self.delivered_ids.keys()))
        self.most_bytes = max(self.most_bytes, self.capacity.held_bytes)

    def begin(self) -> None:
        """A process begins: what it lists again may be cut into other windows."""
        self.fetched.clear()
        self.pending = {lane: [] for lane in Lane}

    def delivered(self, project: str, lane: Lane, deliveries: Sequence[Delivery], now_ms: int) -> None:
        del project, now_ms
        for each in deliveries:
            self.delivered_ids[each.key] += 1
            if each.key not in self.tried_again:  # second tries are a lane of their own
                self.pending[lane].append(time_of(each.key))

    def set_aside(self, project: str, records: Sequence[SetAside]) -> None:
        del project
        self.tried_again.update(each.log_id for each in records)

    def window_done(self, window: Window, listed: int, tally: Tally, now_ms: int) -> None:
        del listed, tally, now_ms
        if window.passes:
            return
        # What went out before the commit of this window is of it, or older.
        if any(each > window.to_ms for each in self.pending[window.lane]):
            self.violations.append(f"delivered before the window up to {window.to_ms} was committed")
        self.pending[window.lane].clear()


class Adverse(DirectSource):
    """Answers after times of its own, and now and then not at all."""

    def __init__(self, bridge: Any, random: Random, failing: float, watch: Watch) -> None:
        super().__init__(bridge.store, bridge.clock)
        self._clock = bridge.clock
        self._random = random
        self._failing = failing
        self._watch = watch
        self.calm = False

    async def asked(self, route: str, priority: Any) -> None:
        await super().asked(route, priority)
        if self.calm:
            return
        await self._clock.sleep(self._random.choice([0, 0, 0.05, 0.3, 1, 4, 20]))
        if route == "list" and self._random.random() < self._failing:
            raise SourceUnreachable("no answer")

    async def usage_summary(self, **_others: Any) -> UsageSummary:
        raise SourceFailed("404")  # so that there are several windows

    async def detail(self, log_id: str, *, grow: Any = None, **others: Any) -> Detail:
        failing = not self.calm and self._random.random() < self._failing
        found = await super().detail(log_id, **others)
        if failing:
            raise SourceFailed("500")
        if grow is not None:
            for _ in range(4):
                await grow(BODY // 4)
                self._watch.look()
                await self._clock.sleep(self._random.choice([0, 0.01]))
        self._watch.fetched.add(log_id)
        self._watch.look()
        return found


class Slow:
    """A destination that takes its time, and fails now and then."""

    def __init__(self, bridge: Any, random: Random, failing: float, watch: Watch) -> None:
        self._inner = bridge.destination
        self._clock = bridge.clock
        self._random = random
        self._failing = failing
        self._watch = watch
        self.calm = False

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        self._watch.look()
        if not self.calm:
            await self._clock.sleep(self._random.choice([0, 0.1, 2, 30]))
            if self._random.random() < self._failing:
                raise DestinationUnavailable("503")
        outcome: Outcome = await self._inner.export(deliveries)
        return outcome

    async def aclose(self) -> None:
        pass


@dataclass(frozen=True)
class Case:
    """How much there is, what goes wrong, and which lanes list it beside the live one."""

    seed: int
    records: int
    failing: float
    at_once: int
    backfill: bool
    second_tries: int
    stops_s: tuple[int, ...]


CASES = st.builds(
    Case,
    seed=st.integers(0, 10**6),
    records=st.integers(1, 160),
    failing=st.sampled_from([0.0, 0.0, 0.05, 0.2]),
    at_once=st.sampled_from([1, 3, 16]),
    backfill=st.booleans(),
    second_tries=st.sampled_from([0, 0, 5]),
    stops_s=st.lists(st.integers(0, 40), max_size=2).map(tuple),
)


def time_of(name: str) -> int:
    return OLDEST_MS + STEP_MS * int(name[4:])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a few records reach."""
    monkeypatch.setattr(pipeline, "BATCH_RECORDS", BATCH)
    monkeypatch.setattr(pipeline, "BATCH_BYTES", 5 * BODY)
    monkeypatch.setattr(bounds, "AHEAD_RECORDS", AHEAD)


async def collect(bridge: Any, case: Case, watch: Watch, names: list[str]) -> None:
    """Run the service over all of it, stopped and begun again; then troubles end."""
    random = Random(case.seed)
    for number, name in enumerate(names):
        bridge.add(name, age_s=3_200 - number * STEP_MS / 1000)
    source = Adverse(bridge, random, case.failing, watch)
    destination = bridge.destination = Slow(bridge, random, case.failing, watch)
    bridge.source = ProjectSource(cast("LogsClient", source), (), "all", Concurrency(case.at_once))
    now_ms = bridge.clock.now_ms()
    if case.backfill:
        await bridge.ledger.add_windows([Window("p", Lane.BACKFILL, now_ms - 3_600_000, now_ms)])
    for name in names[: case.second_tries]:
        aside = SetAside(name, time_of(name), Reason.SOURCE_FAILED, "500", 1, now_ms, now_ms)
        await bridge.ledger.commit("p", set_aside=[aside])
        watch.tried_again.add(name)
    for stop_s in (*case.stops_s, None):
        bridge.stop = asyncio.Event()
        bridge.worker = bridge.new_worker()
        watch.begin()
        running = asyncio.create_task(bridge.worker.run())
        await asyncio.create_task(bridge.clock.sleep(1_200 if stop_s is None else stop_s))
        if stop_s is None:
            source.calm = destination.calm = True
            await bridge.ledger.put_back("p", None, bridge.clock.now_ms())
            await asyncio.create_task(bridge.clock.sleep(300))
        bridge.stop.set()
        began_s = bridge.clock.monotonic_s()
        await running
        assert bridge.clock.monotonic_s() - began_s <= 120, "a stop takes no longer than what is under way"
        assert watch.capacity.held_bytes == 0, "nothing is held after a stop"
        assert not any(name in bridge.context.in_flight for name in names)


@pytest.mark.usefixtures("small")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=CASES)
@example(Case(seed=0, records=5, failing=0.0, at_once=1, backfill=True, second_tries=0, stops_s=()))
async def test_all_arrives_once_in_order_and_within_what_may_be_held(open_bridge: Any, case: Case) -> None:
    watch = Watch(Capacity(MOST_BYTES))
    names = [f"log_{number:03}" for number in range(case.records)]
    async with open_bridge(observer=watch, capacity=watch.capacity) as bridge:
        await collect(bridge, case, watch, names)
        assert await bridge.set_aside() == {}
        assert watch.delivered_ids == Counter(names), f"each once: {case}"
        assert watch.violations == [], case
        assert watch.most_bytes <= MOST_BYTES + BODY
        lanes = 1 + case.backfill + bool(case.second_tries or case.failing)
        assert watch.most_records <= lanes * (AHEAD + 2 * BATCH)
