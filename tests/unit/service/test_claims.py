"""What one lane has in hand counts as delivered for another only once it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.ledger import DeliveredRecord, Lane
from otel_bridge.service.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.signals import Delivery, Outcome


async def test_who_comes_second_waits_until_the_first_lets_go() -> None:
    claims = Claims()
    with claims.held(["log_a", "log_b"]):
        assert "log_a" in claims
        waiting = asyncio.create_task(claims.let_go(["log_a", "log_c"]))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    assert "log_a" not in claims
    await claims.let_go(["log_a"])


async def test_a_recheck_does_not_seal_time_of_which_a_record_is_in_other_hands(open_bridge: Any) -> None:
    async with open_bridge(recheck=(30_000,)) as bridge:
        await bridge.once()
        bridge.add("log_late", age_s=10)
        late_ms = bridge.clock.now_ms() - 10_000
        await asyncio.create_task(bridge.clock.sleep(31))
        other = bridge.worker._live._claims
        with other.held(["log_late"]):
            running = asyncio.create_task(bridge.once())
            await asyncio.create_task(bridge.clock.sleep(60))
            (its,) = await bridge.ledger.windows("p", Lane.LIVE, from_ms=late_ms, to_ms=late_ms + 1)
            assert not its.sealed
            assert bridge.destination.keys == []
        # The other one has failed: whoever waited delivers.
        assert await running == ["log_late"]


async def test_a_poll_does_not_wait_for_what_lies_before_its_window(open_bridge: Any) -> None:
    async with open_bridge(recheck=(30_000, 120_000)) as bridge:
        await bridge.once()
        bridge.add("log_late", age_s=10)
        await asyncio.create_task(bridge.clock.sleep(5))
        with bridge.worker._live._claims.held(["log_late"]):
            assert await bridge.once() == []  # a re-check has it in hand


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
    with bridge.worker._live._claims.held(["log_a"]):
        running = asyncio.create_task(bridge.worker.run_once())
        await asked.wait()
        record = DeliveredRecord("log_a", bridge.clock.now_ms() - 60_000, b"t" * 16, b"s" * 8)
        await bridge.ledger.commit("p", delivered=[record])
    heard.set()
    await running
    assert bridge.destination.keys == []


async def test_a_batch_that_is_offered_again_is_nobody_else_s(bridge: Any) -> None:
    bridge.add("log_a")
    bridge.destination.failures.append(DestinationUnavailable("503"))
    with pytest.raises(DestinationUnavailable):
        await bridge.worker.run_once()
    export = bridge.destination.export
    offered, taken = asyncio.Event(), asyncio.Event()

    async def held(deliveries: Sequence[Delivery]) -> Outcome:
        offered.set()
        await taken.wait()
        result: Outcome = await export(deliveries)
        return result

    bridge.destination.export = held
    settling = asyncio.create_task(bridge.worker._live.batches.settle())
    await offered.wait()
    running = asyncio.create_task(bridge.worker.run_once())
    for _ in range(1_000):
        await asyncio.sleep(0)
    taken.set()
    await asyncio.gather(settling, running)
    assert bridge.destination.keys == ["log_a"]


async def test_a_batch_that_another_lane_delivers_is_not_offered_again(bridge: Any) -> None:
    bridge.add("log_a")
    bridge.destination.failures.append(DestinationUnavailable("503"))
    with pytest.raises(DestinationUnavailable):
        await bridge.worker.run_once()
    live = bridge.worker._live
    with live._claims.held(["log_a"]):
        await live.batches.settle()
    assert bridge.destination.keys == []
    await bridge.worker.run_once()
    assert bridge.destination.keys == ["log_a"]
