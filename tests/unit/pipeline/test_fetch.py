"""Details are fetched ahead of their turn, in bounds, and read in order."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_clock import SimulatedClock

from otel_bridge.errors import SourceUnreachable
from otel_bridge.ledger import MemoryLedger
from otel_bridge.pipeline.capacity import AHEAD_RECORDS, Capacity
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.context import ProjectContext
from otel_bridge.pipeline.fetch import PATIENCE_S, Fetcher
from otel_bridge.pipeline.list import Work
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.models import Detail, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_bridge.pipeline.fetch import Taken
    from otel_bridge.pipeline.source import ProjectSource

MANY = 10**9


class Source:
    """Answers at once, or when it is told to; knows how many were asked at the same time."""

    def __init__(self, at_once: int = 4, size: int = 100) -> None:
        self.concurrency = Concurrency(at_once)
        self.fetchers: list[Any] = []
        self.size = size
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.held: dict[str, asyncio.Event] = {}
        self.broken: dict[str, Exception] = {}

    async def detail(self, entry: Entry, _: Priority, grow: Any) -> Detail:
        self.asked.append(entry.id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if entry.id in self.held:
                await self.held[entry.id].wait()
            await asyncio.sleep(0)
            if entry.id in self.broken:
                raise self.broken[entry.id]
            await grow(self.size)
            body = b'{"id": "%b"}' % entry.id.encode()
            return Detail.read(body + b" " * (self.size - len(body)))
        finally:
            self.in_flight -= 1


def names(numbers: Iterable[int]) -> list[str]:
    return [f"log_{number}" for number in numbers]


def work(first: int, count: int) -> Work:
    """One whose records are numbered from ``first`` on."""
    entries = [Entry(id=log_id) for log_id in names(range(first, first + count))]
    return Work(entries=entries, within=(0, 1), priority=Priority.HEAD)


def context_of(source: Source, capacity: Capacity | None = None) -> ProjectContext:
    return ProjectContext(
        project="p",
        source=cast("ProjectSource", source),
        ledger=MemoryLedger(),
        clock=SimulatedClock(auto=False),
        stop=asyncio.Event(),
        capacity=capacity or Capacity(),
    )


def ids(taken: Taken | None) -> list[str]:
    return [] if taken is None else [each.id for each in taken.records if isinstance(each, Detail)]


async def settle() -> None:
    for _ in range(2_000):
        await asyncio.sleep(0)


async def test_what_was_delivered_is_freed_at_once_and_not_when_the_garbage_collector_comes_by() -> None:
    async def deliver_all() -> None:
        async with Fetcher(context_of(Source(at_once=3))) as fetcher:
            fetcher.add(work(0, 200))
            fetcher.end()
            while (taken := await fetcher.take(16, MANY)) is not None:
                taken.release()

    await deliver_all()
    gc.collect()
    gc.disable()
    try:
        await deliver_all()
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 200, "less than an object for each record"


async def test_they_are_read_in_order_in_batches_of_what_was_asked_for() -> None:
    source = Source(at_once=3)
    async with Fetcher(context_of(source)) as fetcher:
        fetcher.add(work(0, 10))
        fetcher.end()
        assert ids(await fetcher.take(4, MANY)) == names(range(4))
        assert ids(await fetcher.take(4, MANY)) == names(range(4, 8))
        last = await fetcher.take(4, MANY)
        assert ids(last) == ["log_8", "log_9"]
        assert last is not None
        assert last.last
        assert await fetcher.take(4, MANY) is None
    assert source.most_in_flight == 3


@given(
    counts=st.lists(st.integers(0, 20), max_size=5),
    at_once=st.integers(1, 20),
    most=st.integers(1, 12),
    most_bytes=st.integers(1, 900),
    random=st.randoms(),
)
async def test_each_is_read_once_and_work_by_work_whatever_the_order_of_the_answers(
    counts: list[int], at_once: int, most: int, most_bytes: int, random: Any
) -> None:
    source, capacity = Source(at_once), Capacity()
    shuffled = names(range(sum(counts)))
    random.shuffle(shuffled)
    source.held = {log_id: asyncio.Event() for log_id in shuffled}
    works = [work(sum(counts[:number]), count) for number, count in enumerate(counts)]

    async def answer() -> None:
        for log_id in shuffled:
            source.held[log_id].set()
            await asyncio.sleep(0)

    read: list[list[str]] = [[] for _ in works]
    ended: list[Any] = []
    async with Fetcher(context_of(source, capacity)) as fetcher:
        answering = asyncio.create_task(answer())
        for each in works:
            fetcher.add(each)
        fetcher.end()
        while (taken := await fetcher.take(most, most_bytes)) is not None:
            assert len(taken.records) <= most
            assert 100 * (len(taken.records) - 1) < most_bytes
            number = next(index for index, each in enumerate(works) if each is taken.work)
            assert number == len(ended)
            read[number] += ids(taken)
            taken.release()
            if taken.last:
                ended.append(number)
        await answering
    assert read == [[entry.id for entry in each.entries] for each in works]
    assert ended == list(range(len(works)))
    assert capacity.held_bytes == 0


async def test_a_batch_is_full_with_so_many_bytes() -> None:
    async with Fetcher(context_of(Source(at_once=2, size=1_000))) as fetcher:
        fetcher.add(work(0, 10))
        assert len(ids(await fetcher.take(10, 2_500))) == 3


async def test_no_more_are_asked_for_than_may_wait() -> None:
    source = Source(at_once=16)
    async with Fetcher(context_of(source)) as fetcher:
        fetcher.add(work(0, 1_000))
        await settle()
        assert len(source.asked) == AHEAD_RECORDS
        await fetcher.take(100, MANY)
        await settle()
        assert len(source.asked) <= AHEAD_RECORDS + 100


async def test_large_bodies_are_not_hoarded() -> None:
    source, capacity = Source(at_once=4, size=1_000), Capacity(most_bytes=10_000)
    async with Fetcher(context_of(source, capacity)) as fetcher:
        fetcher.add(work(0, 100))
        fetcher.end()
        await settle()
        assert len(source.asked) <= 14
        assert capacity.held_bytes <= 10_000
        read = 0
        while (taken := await fetcher.take(7, 3_000)) is not None:
            read += len(taken.records)
            assert len(source.asked) <= read + 10 + 4 + 3
            assert capacity.held_bytes <= 10_000 + 1_000
            taken.release()
    assert read == 100
    assert capacity.held_bytes == 0


async def test_one_that_is_tried_again_and_again_holds_up_no_others() -> None:
    source = Source()
    source.held = {"log_0": asyncio.Event()}
    async with Fetcher(context_of(source)) as fetcher:
        fetcher.add(work(0, 200))
        fetcher.end()
        read = ids(await fetcher.take(100, MANY))
        assert "log_0" not in read
        source.held["log_0"].set()
        while (taken := await fetcher.take(200, MANY)) is not None:
            read += ids(taken)
    assert sorted(read) == sorted(names(range(200)))


async def test_what_is_overtaken_is_not_overtaken_by_the_next_work() -> None:
    source = Source()
    source.held = {"log_0": asyncio.Event()}
    async with Fetcher(context_of(source)) as fetcher:
        fetcher.add(work(0, 5))
        fetcher.add(work(5, 200))
        fetcher.end()
        taking = asyncio.create_task(fetcher.take(100, MANY))
        await settle()
        assert not taking.done()
        assert len(source.asked) > 100, "the next one's are on their way meanwhile"
        source.held["log_0"].set()
        taken = await taking
        assert ids(taken) == names(range(5))
        assert taken is not None
        assert taken.last


async def test_what_comes_before_a_failure_of_the_source_is_read_first() -> None:
    source, capacity = Source(at_once=2), Capacity()
    source.broken = {"log_3": SourceUnreachable("down")}
    async with Fetcher(context_of(source, capacity)) as fetcher:
        fetcher.add(work(0, 10))
        taken = await fetcher.take(8, MANY)
        assert ids(taken) == ["log_0", "log_1", "log_2"]
        assert taken is not None
        assert not taken.last
        with pytest.raises(SourceUnreachable, match="down"):
            await fetcher.take(8, MANY)
        taken.release()
    assert capacity.held_bytes == 0


async def test_a_failure_of_the_list_comes_after_what_was_listed_before() -> None:
    async with Fetcher(context_of(Source())) as fetcher:
        fetcher.add(work(0, 3))
        fetcher.end(SourceUnreachable("down"))
        assert ids(await fetcher.take(8, MANY)) == names(range(3))
        with pytest.raises(SourceUnreachable, match="down"):
            await fetcher.take(8, MANY)


async def test_nothing_is_under_way_or_held_after_it() -> None:
    source, capacity = Source(at_once=4), Capacity()
    source.held = {log_id: asyncio.Event() for log_id in names(range(2, 10))}
    async with Fetcher(context_of(source, capacity)) as fetcher:
        fetcher.add(work(0, 10))
        await settle()
        assert source.in_flight == 4
        assert capacity.held_bytes == 200
        taking = asyncio.create_task(fetcher.take(5, MANY))
        await settle()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
    assert source.in_flight == 0
    assert source.fetchers == []
    assert capacity.held_bytes == 0


async def test_there_is_room_for_a_further_work_once_few_are_left_to_ask_for() -> None:
    source = Source(at_once=1)
    source.held = {"log_2": asyncio.Event()}
    async with Fetcher(context_of(source)) as fetcher:
        await fetcher.room()
        fetcher.add(work(0, 30))
        waiting = asyncio.create_task(fetcher.room())
        await settle()
        assert not waiting.done()
        source.held["log_2"].set()
        await waiting
        assert len(source.asked) >= 20


async def test_what_has_come_is_read_when_patience_ends_although_there_is_more() -> None:
    source = Source(at_once=6)
    source.held = {"log_3": asyncio.Event(), "log_4": asyncio.Event()}
    context = context_of(source)
    clock = cast("SimulatedClock", context.clock)
    async with Fetcher(context) as fetcher:
        fetcher.add(work(0, 6))
        taking = asyncio.create_task(fetcher.take(6, MANY))
        await clock.advance(PATIENCE_S * 0.9)
        assert not taking.done()
        await clock.advance(PATIENCE_S * 0.2)
        assert ids(await taking) == ["log_0", "log_1", "log_2"]
        # Nothing has come: patience does not make an empty batch.
        taking = asyncio.create_task(fetcher.take(6, MANY))
        await clock.advance(PATIENCE_S * 2)
        assert not taking.done()
        source.held["log_3"].set()
        assert ids(await taking) == ["log_3"]
        source.held["log_4"].set()
        assert ids(await fetcher.take(6, MANY)) == ["log_4", "log_5"]


async def test_a_detail_on_its_way_is_given_to_the_child_that_needs_it() -> None:
    source = Source(at_once=2)
    source.held = {"log_1": asyncio.Event()}
    async with Fetcher(context_of(source)) as fetcher:
        fetcher.add(work(0, 3))
        await settle()
        asking = asyncio.create_task(fetcher.shared("log_1"))
        await settle()
        assert not asking.done()
        source.held["log_1"].set()
        found = await asking
        assert found is not None
        assert found.id == "log_1"
        assert await fetcher.shared("log_9") is None
    assert source.asked.count("log_1") == 1


async def test_a_parent_that_waits_for_room_is_let_in_when_its_child_needs_it() -> None:
    """Its child is about to be delivered, and what is held is released only after that."""
    source, capacity = Source(at_once=4, size=1_000), Capacity(most_bytes=2_000)
    async with Fetcher(context_of(source, capacity)) as fetcher:
        fetcher.add(work(0, 8))
        await settle()
        taken = await fetcher.take(2, MANY)
        assert capacity.held_bytes == 2_000
        await settle()
        async with asyncio.timeout(10):
            found = await fetcher.shared("log_3")
        assert found is not None
        assert capacity.held_bytes <= 3_000
        assert taken is not None
        taken.release()
