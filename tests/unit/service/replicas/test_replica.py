"""Replicas in one process on a real queue: work is found, dealt, done, and found again when it is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import postgres_cluster
import pytest
from procrastinate.exceptions import ConnectorException
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import T0, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane, open_ledger
from otel_bridge.ledger.postgres import PostgresLedger
from otel_bridge.pipeline.polling import PollInterval
from otel_bridge.service.replicas import queue_schema
from otel_bridge.service.replicas.parts import PARTS, WORKERS, queue_of
from otel_bridge.service.replicas.queue_schema import make_queue
from otel_bridge.service.replicas.replica import Replica, _quiet, replica_name
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from otel_bridge.errors import BridgeError
    from otel_bridge.ledger.leases import ReplicaStatus
    from otel_bridge.service.worker import ProjectWorker

pytestmark = pytest.mark.backend
DATABASE = "queue"
LEFT_BEHIND = """
SET search_path = otel_bridge;
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, status)
VALUES ('QUEUE', 'collect', 'head/p', '{"project": "p", "part": "head"}', 'doing');
INSERT INTO procrastinate_events (job_id, type, at)
SELECT id, 'started', now() - interval '1 hour' FROM procrastinate_jobs;
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args, status)
VALUES ('QUEUE', 'collect', 'verify/p', 'verify/p', '{"project": "p", "part": "verify"}', 'todo');
"""


class Worker:
    """Notes its steps."""

    def __init__(self, project: str, done: list[tuple[str, str]], until: asyncio.Event | None = None) -> None:
        def step_of(part: str) -> Callable[[asyncio.Event], Any]:
            async def step(_: asyncio.Event) -> None:
                done.append((project, part))
                await asyncio.sleep(0.05)
                if until is not None:
                    await until.wait()

            return step

        self.steps = {part.name: step_of(part.name) for part in PARTS}
        self.interval = PollInterval(0.5)

    async def failed(self, error: BridgeError, failures: int) -> float:
        raise AssertionError(error, failures)


@pytest.fixture
async def ledger() -> AsyncIterator[PostgresLedger]:
    each = open_ledger(postgres_cluster.new_database(DATABASE), SystemClock())
    assert isinstance(each, PostgresLedger)
    await each.open()
    yield each
    await each.close()


@asynccontextmanager
async def replica(
    ledger: PostgresLedger,
    projects: Sequence[str],
    done: list[tuple[str, str]],
    until: asyncio.Event | None = None,
) -> AsyncIterator[Replica]:
    """One that runs for as long as the block does, and stops as the service would."""
    stop = asyncio.Event()
    workers = {project: cast("ProjectWorker", Worker(project, done, until)) for project in projects}
    each = Replica(ledger.address, ledger, workers, clock=SystemClock(), lease_s=2, stop=stop)

    async def others(_: Sequence[ReplicaStatus]) -> None:
        pass

    running = asyncio.create_task(each.run(others))
    try:
        yield each
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the queue works in its own time
            await asyncio.sleep(0.05)


def sql(statement: str) -> str:
    return postgres_cluster.cluster().sql(statement, DATABASE)


async def test_work_is_found_dealt_and_handed_back(ledger: PostgresLedger) -> None:
    await ledger.add_windows([window(0, 1, lane=Lane.BACKFILL, passes=0, due_ms=T0, project="p1")])
    first, second = list[tuple[str, str]](), list[tuple[str, str]]()
    async with replica(ledger, ["p1", "p2"], first), replica(ledger, ["p1", "p2", "p3"], second):
        await until(lambda: {("p1", "head"), ("p2", "head"), ("p1", "backfill")} <= {*first, *second})
        await until(lambda: {project for project, part in first if part == "head"} != set())
        await until(lambda: ("p3", "head") in second)
        assert ("p3", "head") not in first, "it does not collect that project"
        # Again and again, each after its poll interval.
        await until(lambda: [*first, *second].count(("p2", "head")) >= 3)
        assert len(await ledger.replicas()) == 2
    assert await ledger.leases() == []
    assert await ledger.replicas() == []
    assert sql("SELECT count(*) FROM otel_bridge.procrastinate_jobs WHERE status <> 'todo'") == "0"


async def test_a_job_that_was_left_behind_does_not_block_its_part(
    ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    await make_queue(ledger.address)
    sql(LEFT_BEHIND.replace("QUEUE", queue_of("gone", urgent=True)))
    done: list[tuple[str, str]] = []
    async with replica(ledger, ["p"], done):
        await until(lambda: {("p", "head"), ("p", "verify")} <= set(done))
    assert "gone silent" in caplog.text


async def test_what_waits_for_one_is_done_by_one_that_joins(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKERS, "head", 1)
    first, second = list[tuple[str, str]](), list[tuple[str, str]]()
    projects = [f"p{number}" for number in range(8)]
    go_on = asyncio.Event()
    async with replica(ledger, projects, first, until=go_on):
        await until(lambda: any(part == "head" for _, part in first))
        waiting = (
            "SELECT count(*) FROM otel_bridge.procrastinate_jobs WHERE status = 'todo' AND lock LIKE 'head/%'"
        )
        await until(lambda: int(sql(waiting)) == 7)
        async with replica(ledger, projects, second):
            # The first one is at its first turn all the while.
            await until(lambda: len({project for project, part in second if part == "head"}) == 7)
            go_on.set()


async def test_a_database_that_restarts_is_joined_again(
    ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[tuple[str, str]] = []
    async with replica(ledger, ["p"], done):
        await until(lambda: ("p", "head") in done)
        await asyncio.to_thread(postgres_cluster.cluster().stop, at_once=True)
        try:
            await until(lambda: "can't be reached" in caplog.text)
        finally:
            await asyncio.to_thread(postgres_cluster.cluster().start)
        before = len(done)
        await until(lambda: len(done) > before + 1, 40)
    assert postgres_cluster.PASSWORD not in caplog.text


async def test_a_queue_that_can_not_be_made_says_why(ledger: PostgresLedger) -> None:
    postgres_cluster.cluster().sql(f"ALTER DATABASE {DATABASE} CONNECTION LIMIT 0")
    stop = asyncio.Event()
    each = Replica(ledger.address, ledger, {}, clock=SystemClock(), lease_s=2, stop=stop)

    async def others(_: Sequence[ReplicaStatus]) -> None:
        raise AssertionError

    with pytest.raises(LedgerError, match="has no connection left"):
        await each.run(others)


async def test_a_newer_queue_is_brought_forward_once(
    ledger: PostgresLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_queue(ledger.address)
    await make_queue(ledger.address)
    newer = [*queue_schema.migrations(), "99.00.00_01_pre_more.sql"]
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / newer[-1]).write_text("CREATE TABLE more_of_it (a int);")
    monkeypatch.setattr(queue_schema, "migrations", lambda: newer)
    monkeypatch.setattr(queue_schema, "_sql", lambda: tmp_path)
    await asyncio.gather(*(make_queue(ledger.address) for _ in range(3)))
    assert sql("SELECT to_regclass('otel_bridge.more_of_it') IS NOT NULL") == "t"
    assert sql("SELECT count(*) FROM otel_bridge.queue_schema") == "2"


async def test_only_what_the_queue_leaves_behind_is_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(loop, "default_exception_handler", told.append)
    _quiet(loop, {"message": "quiet", "exception": ConnectorException()})
    _quiet(loop, {"message": "told", "exception": ValueError()})
    assert [each["message"] for each in told] == ["told"]
    assert replica_name() != replica_name()


async def test_what_ends_by_itself_is_begun_again_until_the_service_stops(
    ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    clock, stop = SimulatedClock(), asyncio.Event()
    each = Replica(ledger.address, ledger, {}, clock=clock, lease_s=2, stop=stop)
    tries: list[float] = []

    async def work() -> None:
        tries.append(clock.monotonic_s())
        if len(tries) == 4:
            await clock.sleep(60)  # it went well for a while
        if len(tries) == 6:
            stop.set()
        raise LedgerError("the queue is away")

    await each._again(work)
    waits = [after - before for before, after in pairwise(tries)]
    assert waits[0] < waits[1] < waits[2]
    assert 60 < waits[3] <= 60.5, "a new trouble is waited for as a first one"
    assert len(tries) == 6
    assert "the queue is away" in caplog.text


async def test_a_ledger_that_fails_in_a_job_is_told_and_tried_again(
    ledger: PostgresLedger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = {"acquire": 1, "due": 1}

    def once(name: str) -> Callable[..., Any]:
        call = getattr(PostgresLedger, name)

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            if failing[name]:
                failing[name] -= 1
                raise LedgerError(f"the ledger fails in {name}")
            return await call(*arguments, **named)

        return wrapped

    for name in failing:
        monkeypatch.setattr(PostgresLedger, name, once(name))
    done: list[tuple[str, str]] = []
    async with replica(ledger, ["p"], done):
        await until(lambda: ("p", "head") in done)
    assert "the ledger fails in acquire" in caplog.text
    assert "the ledger fails in due" in caplog.text
