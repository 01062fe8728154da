"""The clock that other tests rely on: what can not come to rest fails, and does not hang."""

from __future__ import annotations

import asyncio

import pytest
import simulated_clock
from simulated_clock import RestlessError, SimulatedClock


async def test_clocks_on_one_loop_do_not_hold_each_other_up() -> None:
    first, second = SimulatedClock(), SimulatedClock()
    left = [asyncio.create_task(first.sleep(10 * seconds)) for seconds in range(1, 9)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await second.sleep(1)
        assert second.monotonic_s() == 1
        await asyncio.gather(*left)
    assert first.monotonic_s() == 80


async def test_what_never_rests_fails_those_who_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_clock, "_MOST_TURNS", 1000)

    async def turns() -> None:
        while True:  # noqa: ASYNC110 - what it must not be
            await asyncio.sleep(0)

    restless = asyncio.create_task(turns())
    clock = SimulatedClock()
    with pytest.raises(RestlessError, match="never rests"):
        await clock.sleep(1)
    with pytest.raises(RestlessError, match="never rests"):
        await clock.advance(1)
    restless.cancel()
