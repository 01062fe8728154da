"""What one lane is delivering counts as delivered for another only once it is committed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.ledger import DeliveredRecord, Lane, Window
from otel_bridge.pipeline.in_flight import InFlight
from otel_bridge.pipeline.list import Work, list_time
from otel_bridge.pipeline.pipeline import Pipeline
from otel_bridge.receiver.budget import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from otel_bridge.signals import Delivery, Outcome


async def test_a_lane_that_comes_second_waits_until_the_first_has_committed() -> None:
    in_flight = InFlight()
    with in_flight.held(["log_a", "log_b"]):
        assert "log_a" in in_flight
        waiting = asyncio.create_task(in_flight.released(["log_a", "log_c"]))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    assert "log_a" not in in_flight
    await in_flight.released(["log_a"])


async def test_a_recheck_does_not_seal_time_of_which_a_record_another_lane_delivers(open_bridge: Any) -> None:
    async with open_bridge(recheck=(30_000,)) as bridge:
        await bridge.once()
        bridge.add("log_late", age_s=10)
        late_ms = bridge.clock.now_ms() - 10_000
        await asyncio.create_task(bridge.clock.sleep(31))
        with bridge.context.in_flight.held(["log_late"]):
            running = asyncio.create_task(bridge.once())
            await asyncio.create_task(bridge.clock.sleep(60))
            (its,) = await bridge.ledger.windows("p", Lane.LIVE, from_ms=late_ms, to_ms=late_ms + 1)
            assert not its.sealed
            assert bridge.destination.keys == []
        # The other one has failed: the one that waited delivers.
        assert await running == ["log_late"]


async def test_a_poll_does_not_wait_for_what_lies_before_its_window(open_bridge: Any) -> None:
    async with open_bridge(recheck=(30_000, 120_000)) as bridge:
        await bridge.once()
        bridge.add("log_late", age_s=10)
        await asyncio.create_task(bridge.clock.sleep(5))
        with bridge.context.in_flight.held(["log_late"]):
            assert await bridge.once() == []  # a re-check is delivering it


async def test_a_poll_finds_what_became_visible_after_the_one_before(bridge: Any) -> None:
    await bridge.once()
    bridge.add("log_late", age_s=3)
    await asyncio.create_task(bridge.clock.sleep(5))
    assert await bridge.once() == ["log_late"]


async def test_what_is_committed_while_the_ledger_s_answer_is_on_its_way_is_not_delivered_again(
    bridge: Any,
) -> None:
    """Of two connections to a database the later commit can be heard of before the earlier question."""
    bridge.add("log_a")
    known = bridge.ledger.known
    asked, heard = asyncio.Event(), asyncio.Event()

    async def slow(project: str, log_ids: Collection[str]) -> Any:
        found = await known(project, log_ids)
        if "log_a" in log_ids and not asked.is_set():
            asked.set()
            await heard.wait()
        return found

    bridge.ledger.known = slow
    with bridge.context.in_flight.held(["log_a"]):
        running = asyncio.create_task(bridge.worker.run_once())
        await asked.wait()
        record = DeliveredRecord("log_a", bridge.clock.now_ms() - 60_000, b"t" * 16, b"s" * 8)
        await bridge.ledger.commit("p", delivered=[record])
    heard.set()
    await running
    assert bridge.destination.keys == []


async def also_planned_as_backfill(bridge: Any) -> None:
    """The same hour in a second lane."""
    now_ms = bridge.clock.now_ms()
    await bridge.ledger.add_windows([Window("p", Lane.BACKFILL, now_ms - 3_600_000, now_ms)])


async def test_a_batch_that_is_tried_again_is_no_other_lane_s(bridge: Any) -> None:
    bridge.add("log_a")
    await also_planned_as_backfill(bridge)
    bridge.destination.failures.append(DestinationUnavailable("503"))
    export = bridge.destination.export
    tries, again, taken = 0, asyncio.Event(), asyncio.Event()

    async def held(deliveries: Sequence[Delivery]) -> Outcome:
        nonlocal tries
        tries += 1
        if tries == 2:
            again.set()
            await taken.wait()
        result: Outcome = await export(deliveries)
        return result

    bridge.destination.export = held
    head = asyncio.create_task(bridge.worker.steps["head"](None))
    await again.wait()
    past = asyncio.create_task(bridge.worker.steps["backfill"](None))
    await asyncio.create_task(bridge.clock.sleep(60))
    assert tries == 2
    assert not past.done(), "it waits for what becomes of the record"
    taken.set()
    await asyncio.gather(head, past)
    assert bridge.destination.keys == ["log_a"]
    assert all(window.passes for window in await bridge.ledger.windows("p", Lane.BACKFILL))


async def test_a_batch_that_another_lane_delivers_meanwhile_is_not_tried_again(bridge: Any) -> None:
    bridge.add("log_a")
    await also_planned_as_backfill(bridge)
    bridge.destination.failures.append(DestinationUnavailable("503", 600))
    head = asyncio.create_task(bridge.worker.steps["head"](None))
    await asyncio.create_task(bridge.clock.sleep(10))
    assert not bridge.destination.failures
    await bridge.worker.steps["backfill"](None)
    assert bridge.destination.keys == ["log_a"], "the first lane waits, and holds up no other"
    assert not head.done()
    await head
    assert bridge.destination.keys == ["log_a"]
    assert all(window.passes for window in await bridge.ledger.windows("p", Lane.LIVE))


async def test_what_is_left_to_another_lane_is_not_taken_up_by_a_later_work_as_well(bridge: Any) -> None:
    """The other lane fails, and a poll lists the record again before the work that waits is at its end."""
    for number in range(40):
        bridge.add(f"log_{number:02}", age_s=100 - number)
    now_ms = bridge.clock.now_ms()
    listing = await list_time(bridge.context, now_ms - 200_000, now_ms, Priority.HEAD, None)
    others = ExitStack()
    listed_again, second = asyncio.Event(), asyncio.Event()
    export = bridge.destination.export

    async def watched(deliveries: Sequence[Delivery]) -> Outcome:
        if bridge.destination.keys and not second.is_set():
            second.set()
            others.close()
            listed_again.set()
            for _ in range(200):
                await asyncio.sleep(0)
        result: Outcome = await export(deliveries)
        return result

    async def works() -> AsyncGenerator[Work, None]:
        within = (now_ms - 200_000, now_ms)
        yield Work(list(listing.entries), within, Priority.HEAD)
        await listed_again.wait()
        yield Work([each for each in listing.entries if each.id == "log_00"], within, Priority.HEAD)

    bridge.destination.export = watched
    others.enter_context(bridge.context.in_flight.held(["log_00"]))
    await Pipeline(bridge.context, bridge.worker._past_deliverer, ()).run(works())
    assert second.is_set()
    assert sorted(bridge.destination.keys) == [f"log_{number:02}" for number in range(40)]
