"""What all projects together hold is bounded, however many of them catch up at once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.pipeline.capacity import AHEAD_RECORDS, BYTES, Capacity
from otel_bridge.pipeline.windows import WINDOW_PAGES

if TYPE_CHECKING:
    from otel_bridge.pipeline.capacity import Receipt


@pytest.mark.parametrize("pipelines", [0, 1, 8])
def test_a_few_take_as_much_as_one(pipelines: int) -> None:
    capacity = Capacity()
    with ExitStack() as stack:
        for _ in range(pipelines):
            capacity.enter()
            stack.callback(capacity.leave)
        assert capacity.ahead(16) == AHEAD_RECORDS
        assert capacity.batch(256) == 256
        assert capacity.pages == WINDOW_PAGES


@pytest.mark.parametrize("pipelines", [9, 20, 60])
def test_many_take_no_more_than_a_few(pipelines: int) -> None:
    capacity = Capacity()
    with ExitStack() as stack:
        for _ in range(pipelines):
            capacity.enter()
            stack.callback(capacity.leave)
        assert pipelines * capacity.ahead(16) <= 2_048
        assert pipelines * capacity.batch(256) <= 2_048
        assert pipelines * capacity.ahead_bytes <= BYTES
        assert pipelines * capacity.listed <= 8_192
    assert capacity.batch(256) == 256


def test_each_can_go_on_however_many_there_are() -> None:
    capacity = Capacity()
    with ExitStack() as stack:
        for _ in range(10_000):
            capacity.enter()
            stack.callback(capacity.leave)
        assert capacity.ahead(16) == 16
        assert capacity.batch(256) == 32
        assert capacity.batch(5) == 5
        assert capacity.pages == 2
        assert capacity.listed == 100
        assert capacity.ahead_bytes > 0


# ── bodies being received ────────────────────────────────────────────────────────────────────────────────
async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def needed_when(needed: set[str], name: str) -> Any:
    return lambda: name in needed


async def received(capacity: Capacity, needed: set[str], name: str, *chunks: int) -> Receipt:
    receipt = capacity.receipt(needed_when(needed, name))
    for chunk in chunks:
        await receipt.grow(chunk)
    return receipt


async def test_a_body_waits_until_there_is_room_for_it() -> None:
    capacity = Capacity(most_bytes=100)
    first = await received(capacity, set(), "a", 50, 40)
    second = asyncio.create_task(received(capacity, set(), "b", 10, 10))
    await settle()
    assert not second.done()
    assert capacity.held_bytes == 100
    first.release()
    (await second).release()
    assert capacity.held_bytes == 0


async def test_the_one_that_is_needed_may_exceed_and_no_other_one_with_it() -> None:
    capacity, needed = Capacity(most_bytes=100), {"b", "c"}
    first = await received(capacity, needed, "a", 100)
    second = await received(capacity, needed, "b", 60, 60)
    third = asyncio.create_task(received(capacity, needed, "c", 60))
    await settle()
    assert capacity.held_bytes == 220
    assert not third.done(), "one at a time in the process"
    second.release()
    (await third).release()
    first.release()
    assert capacity.held_bytes == 0


async def test_one_that_waits_comes_in_once_it_is_needed() -> None:
    capacity, needed = Capacity(most_bytes=100), set[str]()
    first = await received(capacity, needed, "a", 100)
    waiting = asyncio.create_task(received(capacity, needed, "b", 60))
    await settle()
    assert not waiting.done()
    needed.add("b")
    capacity.wake()
    second = await waiting
    first.release()
    second.release()
    assert capacity.held_bytes == 0


async def test_what_a_body_takes_is_counted_when_it_has_come() -> None:
    capacity = Capacity(most_bytes=100)
    receipt = await received(capacity, set(), "a", 30)
    receipt.settle(80)  # it had been compressed
    assert capacity.held_bytes == 80
    receipt.release()
    receipt.release()
    assert capacity.held_bytes == 0


class Lanes:
    """Each lane receives all its bodies at once, reads them in order, and needs its first one to go on."""

    def __init__(self, capacity: Capacity, bodies: list[list[int]], ends: list[str], lanes: int) -> None:
        self.capacity = capacity
        self.bodies = bodies
        self.ends = ends
        self.rows = [list(range(lane, len(bodies), lanes)) for lane in range(lanes)]
        self.read: list[int] = []
        self.most = 0

    async def run(self, random: Any) -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*(self._lane(row, random) for row in self.rows))

    async def _lane(self, row: list[int], random: Any) -> None:
        tasks = {index: asyncio.create_task(self._receive(index, random)) for index in row}
        for index in list(row):
            if self.ends[index] == "cancelled" and random.random() < 0.5:
                tasks[index].cancel()
            (outcome,) = await asyncio.gather(tasks[index], return_exceptions=True)
            await asyncio.sleep(0)
            if not isinstance(outcome, BaseException):
                outcome.release()
            self.read.append(index)
            row.pop(0)
            self.capacity.wake()

    async def _receive(self, index: int, random: Any) -> Receipt:
        receipt = self.capacity.receipt(lambda: any(row and row[0] == index for row in self.rows))
        try:
            for chunk in self.bodies[index]:
                for _ in range(random.randrange(3)):
                    await asyncio.sleep(0)
                await receipt.grow(chunk)
                self.most = max(self.most, self.capacity.held_bytes)
            if self.ends[index] == "fails":
                raise ValueError  # noqa: TRY301 - what a broken connection does
        except BaseException:
            receipt.release()
            raise
        return receipt


@given(
    bodies=st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=5), min_size=1, max_size=12),
    ends=st.lists(st.sampled_from(["read", "read", "fails", "cancelled"]), min_size=12, max_size=12),
    lanes=st.integers(1, 4),
    random=st.randoms(),
)
async def test_bodies_hold_no_more_than_the_bound_and_one_more_and_all_of_them_come(
    bodies: list[list[int]], ends: list[str], lanes: int, random: Any
) -> None:
    capacity = Capacity(most_bytes=100)
    row = Lanes(capacity, bodies, ends, lanes)
    await row.run(random)
    assert sorted(row.read) == list(range(len(bodies)))
    assert row.most <= 100 + max(map(sum, bodies))
    assert capacity.held_bytes == 0
