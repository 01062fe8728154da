"""Replicas share an organisation's budget: together they never send more than the share, in any minute."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
from simulated_clock import SimulatedClock

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.budget_claims import BudgetAsk, BudgetGrant, BudgetLimit
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.shared_budget import SharedBudget
from otel_bridge.service.replicas.purse import Purse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.ledger.leases import SharedLedger

LIMIT, SHARE, WINDOW_S = 400, 0.5, 60.0
ALLOWED = 200


class Claims:
    """What the database does with claims, in memory; the SQL is tested with the ledger."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.limits: dict[str, BudgetLimit] = {}
        self.claims: defaultdict[tuple[str, int, str], int] = defaultdict(int)
        self.away = False
        self.asked = 0

    async def claim(self, replica: str, asks: Sequence[BudgetAsk]) -> dict[str, BudgetGrant]:
        await self.clock.sleep(0.02)
        self.asked += 1
        if self.away:
            raise LedgerError("the ledger is away")
        grants = {}
        for ask in asks:
            self.limits[ask.name] = ask.limit
            moment = int(self.clock.monotonic_s() * 60 / ask.limit.window_s)
            for each, count in ask.returned.items():
                self.claims[ask.name, each, replica] -= count
            used = ask.unclaimed + sum(
                count
                for (name, at, _), count in self.claims.items()
                if name == ask.name and at >= moment - 62
            )
            granted = max(min(ask.requests, ask.bound - used), 0)
            self.claims[ask.name, moment, replica] += granted + ask.unclaimed
            grants[ask.name] = BudgetGrant(granted, used + granted, moment)
        return grants

    async def budget_limits(self, names: Sequence[str]) -> dict[str, BudgetLimit]:
        if self.away:
            raise LedgerError("the ledger is away")
        return {name: self.limits[name] for name in names if name in self.limits}


class Sender:
    """One replica of one organisation: workers that send whenever they may."""

    def __init__(self, claims: Claims, name: str, sent: list[tuple[float, Priority]]) -> None:
        clock, wanted = claims.clock, asyncio.Event()
        self.clock, self.sent = clock, sent
        self.budget = SharedBudget(SHARE, clock, "acme", wanted=wanted)
        self.purse = Purse(
            cast("SharedLedger", claims), {"acme": self.budget}, replica=name, clock=clock, wanted=wanted
        )
        self.tasks = [asyncio.create_task(self.purse.keep())]

    def work(self, workers: int, priority: Priority = Priority.HEAD, pace_s: float = 0.05) -> None:
        self.tasks += [asyncio.create_task(self._send(priority, pace_s)) for _ in range(workers)]

    async def _send(self, priority: Priority, pace_s: float) -> None:
        while True:
            await self.budget.acquire(priority)
            self.sent.append((self.clock.monotonic_s(), priority))
            await self.clock.sleep(pace_s)
            self.budget.observe({"x-ratelimit": str(LIMIT), "x-ratelimit-window-size": "60s"}, 200)

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def busiest(sent: Sequence[tuple[float, Priority]], window_s: float = WINDOW_S) -> int:
    """The most that was sent in any stretch as long as the window."""
    times = sorted(at for at, _ in sent)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("seed", range(5))
async def test_the_share_holds_for_all_whoever_joins_and_dies(seed: int) -> None:
    draw = random.Random(seed)
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    alive = [Sender(claims, "r0", sent)]
    alive[0].work(4)
    await clock.sleep(1)
    for number in range(1, 12):
        if len(alive) > 1 and draw.random() < 0.4:
            await alive.pop(draw.randrange(len(alive))).kill()
        else:
            alive.append(Sender(claims, f"r{number}", sent))
            alive[-1].work(draw.randint(1, 16), draw.choice(list(Priority)), draw.choice([0.05, 0.5]))
        await clock.sleep(draw.uniform(1, 40))
    for each in alive:
        await each.kill()
    assert busiest(sent) <= ALLOWED * 1.05
    # What comes before any limit is known is the only thing above it.
    assert busiest([each for each in sent if each[0] > 1]) <= ALLOWED


async def test_one_that_is_alone_at_it_uses_nearly_all_of_the_share() -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    alive = [Sender(claims, f"r{number}", sent) for number in range(4)]
    alive[0].work(16)
    await clock.sleep(600)
    for each in alive:
        await each.kill()
    # Claims are counted for two sixtieths longer than the window.
    assert len(sent) >= ALLOWED * 10 * 60 / 63 - ALLOWED
    assert claims.asked < 600 * 10


async def test_backfill_of_one_leaves_room_for_the_head_of_another() -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    one, other = Sender(claims, "one", sent), Sender(claims, "other", sent)
    one.work(16, Priority.BACKFILL)
    await clock.sleep(300)
    assert busiest(sent) <= ALLOWED * 0.75 + 16
    began_s = clock.monotonic_s()
    other.work(4, Priority.HEAD)
    await clock.sleep(5)
    heads = [at for at, priority in sent if priority is Priority.HEAD]
    assert len(heads) >= ALLOWED * 0.15
    assert heads[0] - began_s < 1
    for each in (one, other):
        await each.kill()


async def test_without_the_ledger_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    one = Sender(claims, "one", sent)
    one.work(4, pace_s=0.5)
    await clock.sleep(10)
    assert one.budget.state.used == len(sent)
    claims.away = True
    await clock.sleep(5)
    before = len(sent)
    await clock.sleep(30)
    assert len(sent) == before
    assert "the ledger is away" in caplog.text
    claims.away = False
    await clock.sleep(5)
    assert len(sent) > before
    assert busiest(sent) <= ALLOWED * 1.05
    await one.kill()


async def test_one_that_joins_knows_the_limit_before_it_asks() -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    claims.limits["acme"] = BudgetLimit(LIMIT, WINDOW_S)
    one = Sender(claims, "one", sent)
    await clock.sleep(0.1)
    assert one.budget.window == (LIMIT, WINDOW_S)
    one.budget.learn(7, 7)
    assert one.budget.window == (LIMIT, WINDOW_S), "what it knows counts for more"
    waiting = asyncio.create_task(one.budget.acquire(Priority.HEAD))
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await clock.sleep(10)
    # What was claimed for the one that went away is given back.
    assert sum(claims.claims.values()) == 0
    await one.kill()


async def test_what_is_not_sent_after_all_is_not_used_up() -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    one = Sender(claims, "one", sent)
    await one.budget.acquire(Priority.HEAD)
    one.budget.not_sent()
    claims.limits["acme"] = BudgetLimit(LIMIT, WINDOW_S)
    one.budget.learn(LIMIT, WINDOW_S)
    # As often as the far side is found to be down: five times what there is.
    for _ in range(5 * ALLOWED):
        await one.budget.acquire(Priority.HEAD)
        await clock.sleep(0.01)
        one.budget.not_sent()
    assert one.budget.state.used < 10
    await clock.sleep(10)
    assert sum(claims.claims.values()) == 0
    for _ in range(3):
        await one.budget.acquire(Priority.HEAD)
    await clock.sleep(3)
    one.budget.not_sent()  # so late that its claim is good no more
    await clock.sleep(3)
    assert sum(claims.claims.values()) == 2
    await one.kill()


async def test_a_surprise_does_not_end_the_claiming(caplog: pytest.LogCaptureFixture) -> None:
    clock = SimulatedClock()
    claims, sent = Claims(clock), list[tuple[float, Priority]]()
    claims.limits["acme"] = BudgetLimit(0, 0.0)  # nobody can divide by that
    one = Sender(claims, "one", sent)
    one.work(1, pace_s=0.5)
    await clock.sleep(5)
    assert "unforeseen ZeroDivisionError" in caplog.text
    one.budget.observe({"x-ratelimit": str(LIMIT), "x-ratelimit-window-size": "60s"}, 200)
    await clock.sleep(5)
    assert sent
    await one.kill()
