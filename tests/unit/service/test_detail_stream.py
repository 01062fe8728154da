"""Details are fetched ahead of their turn, in bounds, and read in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import SourceUnreachable
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.service import detail_stream
from otel_bridge.service.detail_stream import DetailStream

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = 10**9


class Source:
    """Answers at once, or when it is told to; knows how many were asked at the same time."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.held: dict[str, asyncio.Event] = {}
        self.broken: dict[str, Exception] = {}

    async def fetch(self, entry: Entry) -> Detail:
        self.asked.append(entry.id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if entry.id in self.held:
                await self.held[entry.id].wait()
            await asyncio.sleep(0)
            if entry.id in self.broken:
                raise self.broken[entry.id]
            body = b'{"id": "%b"}' % entry.id.encode()
            return Detail.read(body + b" " * (self.size - len(body)))
        finally:
            self.in_flight -= 1


def entries(count: int) -> list[Entry]:
    return [Entry(id=f"log_{number}") for number in range(count)]


def ids(batch: Sequence[object]) -> list[str]:
    return [each.id for each in batch if isinstance(each, Detail)]


async def settle() -> None:
    for _ in range(2_000):
        await asyncio.sleep(0)


async def test_they_are_read_in_order_in_batches_of_what_was_asked_for() -> None:
    source = Source()
    async with DetailStream(entries(10), source.fetch, at_once=3) as stream:
        assert ids(await stream.take(4, MANY)) == [f"log_{n}" for n in range(4)]
        assert ids(await stream.take(4, MANY)) == [f"log_{n}" for n in range(4, 8)]
        assert ids(await stream.take(4, MANY)) == ["log_8", "log_9"]
        assert await stream.take(4, MANY) == []
    assert source.most_in_flight == 3


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 12), st.integers(1, 900), st.randoms())
async def test_each_is_read_once_whatever_the_order_of_the_answers(
    count: int, at_once: int, most: int, most_bytes: int, random: object
) -> None:
    source = Source()
    shuffled = [entry.id for entry in entries(count)]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    source.held = {log_id: asyncio.Event() for log_id in shuffled}

    async def answer() -> None:
        for log_id in shuffled:
            source.held[log_id].set()
            await asyncio.sleep(0)

    read: list[str] = []
    async with DetailStream(entries(count), source.fetch, at_once) as stream:
        answering = asyncio.create_task(answer())
        while batch := await stream.take(most, most_bytes):
            assert len(batch) <= most
            assert 100 * (len(batch) - 1) < most_bytes
            read += ids(batch)
        await answering
    assert read == [entry.id for entry in entries(count)]
    assert stream.all_asked.is_set()


async def test_a_batch_is_full_with_so_many_bytes() -> None:
    source = Source(size=1_000)
    async with DetailStream(entries(10), source.fetch, at_once=2) as stream:
        assert len(await stream.take(10, 2_500)) == 3


async def test_no_more_are_asked_for_than_may_wait() -> None:
    source = Source()
    async with DetailStream(entries(1_000), source.fetch, at_once=16) as stream:
        await settle()
        assert len(source.asked) == detail_stream.AHEAD_RECORDS
        assert not stream.all_asked.is_set()
        await stream.take(100, MANY)
        await settle()
        assert len(source.asked) <= detail_stream.AHEAD_RECORDS + 100


async def test_large_bodies_are_not_hoarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detail_stream, "AHEAD_BYTES", 10_000)
    source = Source(size=1_000)
    async with DetailStream(entries(100), source.fetch, at_once=4) as stream:
        await settle()
        assert len(source.asked) <= 14
        read = 0
        while batch := await stream.take(7, 3_000):
            read += len(batch)
            assert len(source.asked) <= read + 10 + 4 + 3
    assert read == 100


async def test_one_that_is_tried_again_and_again_holds_up_no_others() -> None:
    source = Source()
    source.held = {"log_0": asyncio.Event()}
    async with DetailStream(entries(200), source.fetch, at_once=4) as stream:
        read = ids(await stream.take(100, MANY))
        assert "log_0" not in read
        source.held["log_0"].set()
        read += ids(await stream.take(200, MANY))
    assert sorted(read) == sorted(entry.id for entry in entries(200))


async def test_what_comes_before_a_failure_of_the_source_is_read_first() -> None:
    source = Source()
    source.broken = {"log_3": SourceUnreachable("down")}
    async with DetailStream(entries(10), source.fetch, at_once=2) as stream:
        assert ids(await stream.take(8, MANY)) == ["log_0", "log_1", "log_2"]
        with pytest.raises(SourceUnreachable, match="down"):
            await stream.take(8, MANY)


async def test_nothing_is_under_way_after_it() -> None:
    source = Source()
    source.held = {entry.id: asyncio.Event() for entry in entries(10)}
    async with DetailStream(entries(10), source.fetch, at_once=4):
        await settle()
        assert source.in_flight == 4
    assert source.in_flight == 0


async def test_it_says_when_the_last_one_has_been_asked_for() -> None:
    source = Source()
    source.held = {"log_2": asyncio.Event()}
    async with DetailStream(entries(5), source.fetch, at_once=1) as stream:
        await settle()
        assert not stream.all_asked.is_set()
        source.held["log_2"].set()
        await stream.all_asked.wait()
    assert DetailStream([], source.fetch, at_once=4).all_asked.is_set()


async def test_what_has_come_is_read_when_patience_ends_although_there_is_more() -> None:
    source = Source()
    source.held = {"log_3": asyncio.Event(), "log_4": asyncio.Event()}
    enough = asyncio.Event()

    async def patience() -> None:
        await enough.wait()

    async with DetailStream(entries(6), source.fetch, at_once=6) as stream:
        taking = asyncio.create_task(stream.take(6, MANY, patience))
        await settle()
        assert not taking.done()
        enough.set()
        assert ids(await taking) == ["log_0", "log_1", "log_2"]
        # Nothing has come: patience does not make an empty batch, which would be the end.
        taking = asyncio.create_task(stream.take(6, MANY, patience))
        await settle()
        assert not taking.done()
        source.held["log_3"].set()
        assert ids(await taking) == ["log_3"]
        source.held["log_4"].set()
        assert ids(await stream.take(6, MANY)) == ["log_4", "log_5"]
