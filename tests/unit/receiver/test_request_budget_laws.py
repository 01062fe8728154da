"""The budget's laws, against a simulated source whose customer calls it too."""

from __future__ import annotations

import asyncio
import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_clock import SimulatedClock

from otel_bridge.receiver.budget import Budget, Priority

WINDOW_S = 60.0


@dataclass
class Source:
    """Counts in fixed windows, as the vendor's page on rate limits says, and refuses beyond the limit."""

    clock: SimulatedClock
    limits: list[tuple[float, int]]  # from which second on, which limit
    phase_s: float
    calls: list[float] = field(default_factory=list)
    refused: int = 0
    lowest: float = math.inf
    replaced: list[tuple[float, int | None]] = field(default_factory=list)  # when, the limit known before

    @property
    def limit(self) -> int:
        now_s = self.clock.monotonic_s()
        return [limit for since_s, limit in self.limits if since_s <= now_s][-1]

    def call(self) -> tuple[dict[str, str], int]:
        now_s = self.clock.monotonic_s()
        begun_s = math.floor((now_s - self.phase_s) / WINDOW_S) * WINDOW_S + self.phase_s
        used = len(self.calls) - bisect_right(self.calls, begun_s - 1e-9)
        headers = {"X-RateLimit": str(self.limit), "X-RateLimit-Window-Size": "60s"}
        if used >= self.limit:
            self.refused += 1
            wait_s = math.ceil(begun_s + WINDOW_S - now_s)
            return {**headers, "X-RateLimit-Remaining": "0", "Retry-After": str(wait_s)}, 429
        self.calls.append(now_s)
        return {**headers, "X-RateLimit-Remaining": str(self.limit - used - 1)}, 200


@dataclass(frozen=True)
class Request:
    at_s: float
    priority: Priority
    latency_s: float
    answered: bool
    patience_s: float  # cancelled when it has waited for so long

    async def play(
        self, budget: Budget, source: Source, clock: SimulatedClock, sent: list[tuple[float, int | None]]
    ) -> None:
        await clock.sleep(self.at_s)
        waiting = asyncio.ensure_future(budget.acquire(self.priority))
        if self.patience_s < math.inf:
            await clock.sleep(self.patience_s)
            waiting.cancel()
        try:
            await waiting
        except asyncio.CancelledError:
            return
        if self.patience_s < math.inf:  # it got its turn long ago and did not use it
            budget.no_answer()
            return
        sent_s = clock.monotonic_s()
        sent.append((sent_s, budget.state.limit))
        await clock.sleep(self.latency_s / 2)
        headers, status = source.call()
        await clock.sleep(self.latency_s / 2)
        if self.answered:
            source.replaced.append((clock.monotonic_s(), budget.state.limit))
            budget.observe(headers, status, sent_s=sent_s)
        else:
            budget.no_answer()


def load(rng: random.Random, count: int) -> list[Request]:
    """Some come alone, some in bursts."""
    bursts = [rng.uniform(0, 200) for _ in range(4)]
    return [
        Request(
            at_s=rng.choice([rng.uniform(0, 200), *bursts]),
            priority=rng.choice(list(Priority)),
            latency_s=rng.choice([0.0, 0.05, rng.uniform(0, 8)]),
            answered=rng.random() < 0.9,
            patience_s=rng.uniform(0, 60) if rng.random() < 0.15 else math.inf,
        )
        for _ in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 250),
    share=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    limits=st.lists(st.integers(1, 150), min_size=1, max_size=3),
)
def test_no_stretch_of_time_holds_more_than_the_share_and_all_get_through(
    seed: int, count: int, share: float, limits: list[int]
) -> None:
    rng = random.Random(seed)
    clock = SimulatedClock()
    source = Source(clock, [(n * 70.0, limit) for n, limit in enumerate(limits)], rng.uniform(0, 60))
    budget = Budget(share, clock)
    sent: list[tuple[float, int | None]] = []

    async def customers_call(at_s: float) -> None:
        await clock.sleep(at_s)
        source.call()

    async def everything() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for request in load(rng, count):
                group.create_task(request.play(budget, source, clock, sent))
            for _ in range(rng.randrange(60)):
                group.create_task(customers_call(rng.uniform(0, 200)))

    asyncio.run(everything())

    assert budget.state.waiting == 0
    assert budget._in_flight == 0
    times = [at_s for at_s, _ in sent]
    for index, (at_s, limit) in enumerate(sent):
        # A turn that was given and an answer that lowers the limit, in one instant, have no order.
        limits_then = [limit, *(before for when_s, before in source.replaced if when_s == at_s)]
        known = [each for each in limits_then if each is not None]
        if len(known) == len(limits_then):
            within = index + 1 - bisect_right(times, at_s - WINDOW_S + 1e-9, hi=index + 1)
            assert within <= max(math.floor(share * max(known) + 1e-9), 1)


@settings(max_examples=30, deadline=None)
@given(
    customer=st.lists(st.floats(0, 300), max_size=150).map(sorted),
    phase_s=st.floats(0, 59),
    limit=st.integers(40, 100),
)
def test_the_reserve_stays_with_the_customer(customer: list[float], phase_s: float, limit: int) -> None:
    """One request at a time, so the bridge knows all that can be known: it never takes what is reserved."""
    clock = SimulatedClock()
    source = Source(clock, [(0.0, limit)], phase_s)
    budget = Budget(1.0, clock)
    left: list[tuple[int, int, float]] = []

    async def bridge() -> None:
        while clock.monotonic_s() < 300:
            await budget.acquire(Priority.BACKFILL)
            headers, status = source.call()
            left.append((status, int(headers["X-RateLimit-Remaining"]), clock.monotonic_s()))
            budget.observe(headers, status, sent_s=clock.monotonic_s())
            await clock.sleep(0.5)

    async def customers() -> None:
        for at_s in customer:
            await clock.sleep(at_s - clock.monotonic_s())
            source.call()

    async def both() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(bridge())
            group.create_task(customers())

    asyncio.run(both())
    # Between two of the bridge's requests the customer may take any number; what the bridge itself takes ends
    # at the reserve, but for that number and the first look into a window.
    reserve = max(math.ceil(limit * 0.05), 1)
    for (_, before, seen_s), (_, after, at_s) in pairwise(left):
        if at_s - seen_s < WINDOW_S and after < before:
            assert before > reserve


def test_heads_wait_less_than_backfill_when_the_budget_is_short() -> None:
    clock = SimulatedClock()
    source = Source(clock, [(0.0, 200)], 17.0)
    budget = Budget(0.5, clock)
    rng = random.Random(7)
    waited: dict[Priority, list[float]] = {priority: [] for priority in Priority}

    async def one(priority: Priority, at_s: float) -> None:
        await clock.sleep(at_s)
        await budget.acquire(priority)
        waited[priority].append(clock.monotonic_s() - at_s)
        headers, status = source.call()
        await clock.sleep(0.1)
        budget.observe(headers, status, sent_s=clock.monotonic_s() - 0.1)

    async def everything() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(600):
                group.create_task(one(Priority.BACKFILL, rng.uniform(0, 60)))
            for _ in range(60):
                group.create_task(one(Priority.RECHECK, rng.uniform(0, 300)))
            for n in range(60):
                group.create_task(one(Priority.HEAD, n * 5.0))

    asyncio.run(everything())
    assert source.refused == 0
    assert max(waited[Priority.HEAD]) < 1  # a quarter of the share is kept for them: they never queue
    assert sum(waited[Priority.RECHECK]) / 60 < sum(waited[Priority.BACKFILL]) / 600 / 2


def test_nearly_all_of_the_share_becomes_requests_while_catching_up() -> None:
    clock = SimulatedClock()
    source = Source(clock, [(0.0, 600)], 0.0)
    budget = Budget(0.5, clock)

    async def worker() -> None:
        while clock.monotonic_s() < 600:
            await budget.acquire(Priority.HEAD)
            sent_s = clock.monotonic_s()
            await clock.sleep(0.05)
            budget.observe(*source.call(), sent_s=sent_s)

    async def everything() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(worker())

    asyncio.run(everything())
    assert len(source.calls) >= 0.97 * 300 * 10
