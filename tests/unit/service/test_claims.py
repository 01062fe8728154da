"""What one lane has in hand counts as delivered for another only once it is."""

from __future__ import annotations

import asyncio
from typing import Any

from otel_bridge.ledger import Lane
from otel_bridge.service.claims import Claims


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
