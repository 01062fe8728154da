"""A turn: a part of a project's work under a lease, however it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import postgres_cluster
import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import T0, record, window

from otel_bridge.errors import LeaseLost, LedgerError, LedgerInUse, SourceFailed
from otel_bridge.ledger import Lane, MemoryLedger, open_ledger
from otel_bridge.ledger.leases import Scope, SharedLedger
from otel_bridge.pipeline.context import Stopped
from otel_bridge.pipeline.polling import PollInterval
from otel_bridge.service.holders import work_json, work_lines
from otel_bridge.service.replicas.parts import PARTS
from otel_bridge.service.replicas.turns import TURN_S, Turns, guarded
from otel_bridge.service.sharing import alone, for_workers
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from otel_bridge.service.worker import ProjectWorker

pytestmark = pytest.mark.backend
SCOPES = [part.scope for part in PARTS]


class Worker:
    """Steps that a test writes."""

    def __init__(self, step: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self.steps = {part.name: step for part in PARTS}
        self.interval = PollInterval(5.0)
        self.failures: list[tuple[str, int]] = []

    async def failed(self, raised: Exception, failures: int) -> float:
        self.failures.append((repr(raised), failures))
        return 30.0


@pytest.fixture
async def ledger() -> AsyncIterator[SharedLedger]:
    each = open_ledger(postgres_cluster.emptied_database(), SystemClock())
    assert isinstance(each, SharedLedger)
    await each.open()
    yield each
    await each.close()


async def no_others() -> bool:
    return False


def turns(
    ledger: SharedLedger,
    worker: Worker,
    clock: Any = None,
    stop: asyncio.Event | None = None,
    others_wait: Callable[[], Awaitable[bool]] = no_others,
) -> Turns:
    return Turns(
        ledger,
        {"p": cast("ProjectWorker", worker)},
        clock=clock or SimulatedClock(auto=False),
        holder="me",
        lease_s=60,
        others_wait=others_wait,
        stop=stop or asyncio.Event(),
    )


async def due(ledger: SharedLedger) -> set[str]:
    return {part for _, part in await ledger.due(["p"], SCOPES, T0)}


async def test_a_turn_goes_on_while_there_is_more_and_hands_back(ledger: SharedLedger) -> None:
    assert await due(ledger) == {"head", "verify"}
    own = guarded(ledger)

    async def step(_: asyncio.Event) -> None:
        for number in range(3):
            assert [each.lease.holder for each in await ledger.leases()] == ["me"]
            await own.commit(
                "p", delivered=[record(f"log_{number}")], window=window(number, number + 1, due_ms=T0)
            )

    await turns(ledger, Worker(step)).take("p", "head")
    assert await ledger.leases() == []
    # No replica looks again before the poll interval is over; what it has left is due.
    assert await due(ledger) == {"recheck", "verify"}
    with pytest.raises(LeaseLost, match="without a lease"):
        await own.commit("p", delivered=[record("outside")])


class Lasting:
    """A step that goes on until it is told to drain, or has been looked at so many times."""

    def __init__(self, clock: SimulatedClock, looks: int) -> None:
        self._clock = clock
        self._looks = looks
        self.drained_s: float | None = None

    async def __call__(self, drain: asyncio.Event) -> None:
        async with asyncio.timeout(20):
            while not drain.is_set() and self._clock.monotonic_s() <= self._looks * TURN_S:
                if self._clock.sleeping:
                    await self._clock.advance(TURN_S)
                await asyncio.sleep(0.01)  # the database answers in its own time
        if drain.is_set():
            self.drained_s = self._clock.monotonic_s()


async def test_a_turn_that_lasts_ends_once_others_wait(ledger: SharedLedger) -> None:
    clock = SimulatedClock(auto=False)
    asked: list[float] = []

    async def others_wait() -> bool:
        asked.append(clock.monotonic_s())
        return len(asked) == 3

    step = Lasting(clock, 10)
    await turns(ledger, Worker(step), clock, others_wait=others_wait).take("p", "head")
    assert asked == [TURN_S, 2 * TURN_S, 3 * TURN_S]
    assert step.drained_s == 3 * TURN_S
    assert "head" in await due(ledger), "there is more to do"


@pytest.mark.parametrize(("others", "ends"), [(0, True), (1, False)])
async def test_a_turn_that_lasts_ends_once_another_replica_has_two_less(
    ledger: SharedLedger, others: int, ends: bool
) -> None:
    clock = SimulatedClock(auto=False)
    await ledger.sign_of_life("me", ["p"])
    await ledger.sign_of_life("another", ["p"])
    assert await ledger.acquire("p", "verify", "me", 60)
    if others:
        assert await ledger.acquire("p", "backfill", "another", 60)
    step = Lasting(clock, 3)
    await turns(ledger, Worker(step), clock).take("p", "head")
    assert (step.drained_s is not None) == ends


async def test_a_turn_that_lasts_ends_when_the_ledger_can_not_be_asked(ledger: SharedLedger) -> None:
    async def others_wait() -> bool:
        raise LedgerError("the ledger is away")

    clock = SimulatedClock(auto=False)
    step = Lasting(clock, 10)
    await turns(ledger, Worker(step), clock, others_wait=others_wait).take("p", "head")
    assert step.drained_s == TURN_S


async def test_a_failure_is_counted_across_turns_and_waited_for(ledger: SharedLedger) -> None:
    async def fails(_: asyncio.Event) -> None:
        raise SourceFailed("the source is down")

    async def surprises(_: asyncio.Event) -> None:
        raise ZeroDivisionError

    worker, other = Worker(fails), Worker(surprises)
    await turns(ledger, worker).take("p", "head")
    assert "head" not in await due(ledger)
    await turns(ledger, other).take("p", "head")
    assert worker.failures == [(repr(SourceFailed("the source is down")), 1)]
    assert other.failures == [(repr(ZeroDivisionError()), 2)]


async def test_who_was_taken_over_drops_what_it_has(
    ledger: SharedLedger, caplog: pytest.LogCaptureFixture
) -> None:
    own = guarded(ledger)

    async def step(_: asyncio.Event) -> None:
        postgres_cluster.cluster().sql("UPDATE otel_bridge.leases SET expires_at = now()", "bridge")
        assert await ledger.acquire("p", "head", "another", 60)
        await own.commit("p", delivered=[record("a")])
        raise AssertionError

    worker = Worker(step)
    mine = turns(ledger, worker)
    await mine.take("p", "head")
    assert worker.failures == []
    assert mine.held == frozenset()
    assert "handed over to another" in caplog.text
    assert [each.lease.holder for each in await ledger.leases()] == ["another"], "not its to hand back"
    assert await ledger.known("p", ["a"]) == set()


async def test_stopping_hands_back_at_once(ledger: SharedLedger) -> None:
    stop = asyncio.Event()

    async def step(_: asyncio.Event) -> None:
        stop.set()
        raise Stopped

    mine = turns(ledger, Worker(step), stop=stop)
    await mine.take("p", "head")
    assert "head" in await due(ledger)
    await mine.take("p", "verify")
    await mine.take("nobody", "head")
    assert await ledger.leases() == []


async def test_a_cancelled_turn_hands_back_as_well(ledger: SharedLedger) -> None:
    began = asyncio.Event()

    async def step(_: asyncio.Event) -> None:
        began.set()
        await asyncio.sleep(60)

    mine = turns(ledger, Worker(step))
    task = asyncio.create_task(mine.take("p", "head"))
    await began.wait()
    await mine.take("p", "head")  # its own lease keeps it out as well
    assert len(await ledger.leases()) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await ledger.leases() == []


async def test_signs_of_life_renew_and_tell_of_the_others(
    ledger: SharedLedger, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimulatedClock(auto=False)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def step(_: asyncio.Event) -> None:
        began.set()
        await go_on.wait()

    mine = turns(ledger, Worker(step), clock)
    turn = asyncio.create_task(mine.take("p", "head"))
    await began.wait()
    postgres_cluster.cluster().sql(
        "UPDATE otel_bridge.leases SET expires_at = now() + interval '1 s'", "bridge"
    )
    heard: list[list[str]] = []

    async def others(alive: Any) -> None:
        heard.append([each.name for each in alive])
        if len(heard) == 2:
            raise LedgerError("the ledger is away")

    keeping = asyncio.create_task(mine.keep(others))
    for _ in range(2):
        async with asyncio.timeout(10):
            while clock.sleeping < 2:  # noqa: ASYNC110 - the database answers in its own time
                await asyncio.sleep(0.01)
        await clock.advance(20)
    async with asyncio.timeout(10):
        while len(heard) < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert heard[0] == ["me"]
    assert "the ledger is away" in caplog.text
    [held] = await ledger.leases()
    assert held.expires_in_ms > 30_000
    lines = list(work_lines((await ledger.replicas(), [held]), 60_000, held.since_ms + 5_000))
    assert lines[0] == "1 replica at work"
    assert lines[1].startswith("  me: 1 project, since ")
    assert lines[2] == "    p: head, for 5 s"
    [told] = work_json((await ledger.replicas(), [held]))
    assert (told["name"], told["holds"][0]["part"]) == ("me", "head")
    go_on.set()
    await turn
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await mine.leave()
    assert await ledger.replicas() == []
    await ledger.close()
    await mine.leave()


async def test_a_command_that_collects_by_itself_keeps_replicas_out(ledger: SharedLedger) -> None:
    clock = SystemClock()
    async with alone(ledger, ["p", "q"], 60, clock) as own:
        await own.commit("q", window=window(0, 1, project="q"))
        assert await ledger.acquire("p", "backfill", "another", 60) is None
        with pytest.raises(LedgerInUse, match="another otel-bridge is at the head work of q"):
            async with alone(ledger, ["q"], 60, clock):
                pass
    assert await ledger.windows("q", Lane.LIVE) == [window(0, 1, project="q")]
    assert await ledger.leases() == []
    await ledger.sign_of_life("another", ["q"])
    with pytest.raises(LedgerInUse, match="the replica another collects q: stop the replicas first"):
        async with alone(ledger, ["p", "q"], 60, clock):
            pass


async def test_a_command_that_collects_by_itself_renews_what_it_holds(
    ledger: SharedLedger, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimulatedClock(auto=False)
    async with alone(ledger, ["p"], 60, clock):
        # The database's clock decides, and is nobody's to turn: so the leases are made short instead.
        postgres_cluster.cluster().sql(
            "UPDATE otel_bridge.leases SET expires_at = now() + interval '1 s'", "bridge"
        )
        await clock.advance(20)
        async with asyncio.timeout(10):
            while any(each.expires_in_ms < 30_000 for each in await ledger.leases()):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert len(await ledger.leases()) == len(PARTS)
    assert await ledger.leases() == []
    assert "ledger_failed" not in caplog.text


async def test_a_ledger_of_one_process_is_used_as_it_is() -> None:
    memory = MemoryLedger()
    assert for_workers(memory) is memory
    async with alone(memory, ["p"], 1, SystemClock()) as own:
        assert own is memory


async def test_what_is_due(ledger: SharedLedger) -> None:
    scopes = [
        Scope("a"),
        Scope("b", Lane.LIVE, collected=True, at_least_every_s=600),
        Scope("c", Lane.BACKFILL),
    ]
    assert await ledger.due(["p", "q"], scopes, T0) == [("p", "a"), ("q", "a")]
    await ledger.add_windows(
        [window(0, 1, passes=0, due_ms=T0), window(0, 1, passes=0, due_ms=T0, lane=Lane.BACKFILL)]
    )
    assert await ledger.due(["p"], scopes, T0) == [("p", "a"), ("p", "c")], "not collected yet"
    await ledger.commit("p", window=window(0, 1, due_ms=T0 + 1))
    assert await ledger.due(["p"], scopes, T0) == [("p", "a"), ("p", "c")], "not due yet"
    assert await ledger.due(["p"], scopes, T0 + 1) == [("p", "a"), ("p", "b"), ("p", "c")]
    lease = await ledger.acquire("p", "b", "me", 60)
    assert lease is not None
    assert await ledger.due(["p"], scopes, T0 + 1) == [("p", "a"), ("p", "c")], "held"
    await ledger.release([lease], 60, 3)
    assert await ledger.due(["p"], scopes, T0 + 1) == [("p", "a"), ("p", "c")], (
        "somebody waits after a failure"
    )
    postgres_cluster.cluster().sql(
        "UPDATE otel_bridge.leases SET due_at = now() - interval '700 s'", "bridge"
    )
    assert ("p", "b") in await ledger.due(["p"], scopes, T0), "long ago"
    again = await ledger.acquire("p", "b", "me", 60)
    assert again is not None
    assert again.failures == 3
