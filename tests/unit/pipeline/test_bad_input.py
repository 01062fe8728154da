"""Every kind of trouble with source or destination: what is held stays in bounds, all arrives afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from direct_source import DirectSource
from quota_source import QuotaSource

from otel_bridge.emulator import Fault
from otel_bridge.emulator.rate import RateWindow
from otel_bridge.errors import DestinationUnavailable, SourceUnreachable
from otel_bridge.pipeline.capacity import AHEAD_RECORDS, BATCH_RECORDS, Capacity
from otel_bridge.pipeline.concurrency import AutoConcurrency, Concurrency
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import DEFAULT_PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.receiver.models import Detail
    from otel_bridge.signals import Delivery, Outcome

BODY = 50_000
MOST_BYTES = 5_000_000
HOUR_S = 3600


def fill(bridge: Any, many: int) -> list[str]:
    names = [f"log_{number:05}" for number in range(many)]
    for number, name in enumerate(names):
        bridge.add(name, age_s=3_500 - number * 3_400 / many)
    return names


async def later(bridge: Any, seconds: float) -> None:
    await asyncio.create_task(bridge.clock.sleep(seconds))


class Heavy(DirectSource):
    """Its details have large bodies; notes how much is fetched and not delivered, and held."""

    def __init__(self, bridge: Any, capacity: Capacity) -> None:
        super().__init__(bridge.store, bridge.clock)
        self._bridge = bridge
        self.capacity = capacity
        self.most_records = self.most_bytes = 0

    async def answer(self, log_id: str) -> None:
        """What it takes to answer."""

    async def detail(self, log_id: str, *, grow: Any = None, **others: Any) -> Detail:
        await self.answer(log_id)
        found = await super().detail(log_id, **others)
        if grow is not None:
            await grow(BODY)
        self.most_bytes = max(self.most_bytes, self.capacity.held_bytes)
        waiting = self.requests["detail"] - len(self._bridge.delivered)
        self.most_records = max(self.most_records, waiting)
        return found


class Slower(Heavy):
    """Each answer takes longer than the one before."""

    async def answer(self, log_id: str) -> None:
        del log_id
        await self._bridge.clock.sleep(0.05 * self.requests["detail"])


class OneNeverAnswers(Heavy):
    """One detail is never answered while ``hangs``."""

    hangs = True

    async def answer(self, log_id: str) -> None:
        if self.hangs and log_id == "log_00007":
            await self._bridge.clock.sleep(180)  # the client's tries, until it gives up
            raise SourceUnreachable("no whole answer from there within 60 s")


@pytest.fixture
async def collecting(open_bridge: Callable[..., Any]) -> Any:
    """Makes a bridge over a source of that kind, with its destination's deliveries at hand."""
    capacity = Capacity(MOST_BYTES)
    async with open_bridge(capacity=capacity) as bridge:
        inner = bridge.destination
        bridge.delivered = inner.deliveries

        def begin(kind: type[Heavy], concurrency: Concurrency | None = None) -> tuple[Any, Any]:
            source = kind(bridge, capacity)
            bridge.source = ProjectSource(
                cast("LogsClient", source), (), "all", concurrency or Concurrency(16)
            )
            bridge.worker = bridge.new_worker()
            return bridge, source

        yield begin


def check_bounds(source: Heavy) -> None:
    assert source.most_bytes <= MOST_BYTES + BODY
    assert source.most_records <= AHEAD_RECORDS + 2 * BATCH_RECORDS + 16
    assert source.capacity.held_bytes == 0


async def test_a_source_that_answers_ever_more_slowly(collecting: Any) -> None:
    bridge, source = collecting(Slower)
    names = fill(bridge, 400)
    running = asyncio.create_task(bridge.worker.run())
    # 400 answers of up to 20 s each, 16 at a time.
    await later(bridge, 400 * 10 / 16 * 1.5)
    bridge.stop.set()
    await running
    assert bridge.destination.keys == names
    check_bounds(source)


async def test_one_detail_that_never_answers(collecting: Any) -> None:
    bridge, source = collecting(OneNeverAnswers)
    names = fill(bridge, 1_000)
    running = asyncio.create_task(bridge.worker.run())
    await later(bridge, 300)
    assert sorted(bridge.destination.keys) == [name for name in names if name != "log_00007"]
    assert await bridge.set_aside() == {"log_00007": "source_failed"}
    bridge.add("log_new", age_s=1)
    await later(bridge, 10)
    assert bridge.destination.keys[-1] == "log_new", "what happens now waits for nothing"
    source.hangs = False
    await later(bridge, HOUR_S)
    bridge.stop.set()
    await running
    assert sorted(bridge.destination.keys) == sorted([*names, "log_new"])
    assert await bridge.set_aside() == {}
    check_bounds(source)


async def test_a_destination_that_hangs_for_an_hour_with_very_many_records_waiting(
    collecting: Any,
) -> None:
    bridge, source = collecting(Heavy)
    names = fill(bridge, 5_000)
    inner = bridge.destination
    free = asyncio.Event()

    class Hanging:
        async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
            if not free.is_set():
                await bridge.clock.sleep(30)
                raise DestinationUnavailable("POST http://127.0.0.1:4318/v1/traces: no answer in time")
            outcome: Outcome = await inner.export(deliveries)
            return outcome

        async def aclose(self) -> None:
            pass

    bridge.destination = Hanging()
    bridge.worker = bridge.new_worker()
    running = asyncio.create_task(bridge.worker.run())
    for minute in range(60):
        bridge.add(f"log_new_{minute:02}", age_s=1)
        await later(bridge, 60)
    (told,) = await bridge.ledger.status(["p"])
    assert "4318/v1/traces: no answer in time" in told.last_error, "status says what it waits for"
    asked = source.requests.copy()
    assert asked["detail"] <= AHEAD_RECORDS + 2 * BATCH_RECORDS + 16
    await later(bridge, HOUR_S)
    assert source.requests == asked, "while nothing is taken nothing more is asked for"
    free.set()
    await later(bridge, 600)
    bridge.stop.set()
    await running
    assert inner.keys == [*names, *(f"log_new_{minute:02}" for minute in range(60))]
    (told,) = await bridge.ledger.status(["p"])
    assert told.last_error is None
    check_bounds(source)


async def test_429_without_headers(bridge: Any) -> None:
    """The source does not say how long: it is left alone for a while, and nothing is set aside."""
    names = fill(bridge, 60)
    bridge.fault = lambda path, _n: Fault(status=429) if "log_" in path.rpartition("/")[2] else None
    running = asyncio.create_task(bridge.worker.run())
    await later(bridge, HOUR_S)
    assert bridge.destination.keys == []
    assert await bridge.set_aside() == {}
    assert bridge.requests["detail"] <= 8 * (HOUR_S / DEFAULT_PAUSE_S + 1), "all that is in flight waits"
    (told,) = await bridge.ledger.status(["p"])
    assert "429" in told.last_error or "rate limit" in told.last_error
    bridge.fault = lambda _path, _number: None
    await later(bridge, 600)
    bridge.stop.set()
    await running
    assert bridge.destination.keys == names
    assert bridge.context.capacity.held_bytes == 0


@pytest.mark.parametrize("quotas", [(600, 120), (120, 1_200)])
async def test_a_limit_that_changes(open_bridge: Any, quotas: tuple[int, int]) -> None:
    """The source asserts that it is never asked more than the organisation may."""
    async with open_bridge() as bridge:
        names = fill(bridge, 1_000)
        source = QuotaSource(bridge.store, bridge.clock, quota=quotas[0], share=0.5, latency_s=1.0)
        concurrency = AutoConcurrency(source.budget, bridge.clock)
        bridge.source = ProjectSource(cast("LogsClient", source), (), "all", concurrency)
        bridge.worker = bridge.new_worker()
        running = asyncio.create_task(bridge.worker.run())
        await later(bridge, 120)
        source._window = RateWindow(quotas[1], bridge.clock)
        await later(bridge, 1_000 / (min(quotas) / 2) * 60 + 300)
        bridge.stop.set()
        await running
        assert bridge.destination.keys == names
