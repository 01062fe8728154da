"""Who does what: work goes to who has the least of it, and stays with who knows it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.ledger.leases import ReplicaStatus
from otel_bridge.service.replicas.parts import BY_NAME, PARTS, WORKERS, Waiting, dealt, moved, queue_of
from otel_bridge.service.worker import ProjectWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECTS = [f"p{n}" for n in range(12)]


def replica(name: str, projects: Sequence[str] = tuple(PROJECTS)) -> ReplicaStatus:
    return ReplicaStatus(name, tuple(projects), 0, 0)


def test_parts_are_the_steps_of_a_worker_the_most_urgent_first() -> None:
    assert [part.priority for part in PARTS] == sorted((part.priority for part in PARTS), reverse=True)
    assert [part.name for part in PARTS if part.urgent] == ["head"]
    assert isinstance(ProjectWorker.steps, property)


@given(st.integers(1, 6), st.integers(1, 12), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_everybody_has_equally_much_to_do(replicas: int, projects: int, before: list[int]) -> None:
    alive = [replica(f"r{n}") for n in range(replicas)]
    load = {queue_of(each.name, urgent=True): before[n] for n, each in enumerate(alive)}
    jobs = dealt([(project, "head") for project in PROJECTS[:projects]], alive, load)
    assert [project for project, _, _ in jobs] == PROJECTS[:projects]
    after = Counter(load) + Counter(queue for _, _, queue in jobs)
    least = min(after[queue] for queue in load)
    assert all(after[queue] in {count, least, least + 1} for queue, count in load.items())


def test_what_is_urgent_has_workers_of_its_own() -> None:
    jobs = dealt([("p0", "head"), ("p0", "backfill")], [replica("a")], {})
    assert [queue.split("-")[0] for _, _, queue in jobs] == ["head", "rest"]
    assert BY_NAME["head"].urgent


def test_a_replica_gets_only_what_it_is_pinned_to() -> None:
    alive = [replica("a", ["p0"]), replica("b", ["p1"])]
    jobs = dealt([("p0", "head"), ("p1", "head"), ("p2", "head")], alive, {})
    assert [(project, queue) for project, _, queue in jobs] == [
        ("p0", queue_of("a", urgent=True)),
        ("p1", queue_of("b", urgent=True)),
    ]


def test_a_project_comes_back_to_the_replica_that_knows_it() -> None:
    alive = [replica("a"), replica("b"), replica("c")]
    first = dealt([("p3", "head")], alive, {})
    assert all(dealt([("p3", "head")], alive[::-1], {}) == first for _ in range(3))


def test_who_is_idle_is_given_what_waits_for_others() -> None:
    alive = [replica("a"), replica("b"), replica("c", ["p0"])]
    there, elsewhere, pinned = (queue_of(each.name, urgent=True) for each in alive)
    most = WORKERS["head"]
    waiting = [Waiting(number, f"p{number % 12}", "head", there) for number in range(10)]
    moves = moved(waiting, alive, {there: most + 4, elsewhere: most - 3})
    assert sorted(moves) == [(0, pinned), (1, elsewhere), (2, elsewhere), (3, elsewhere)]
    # What is begun soon stays, and where nobody is idle all of it.
    assert moved(waiting, alive, {there: most}) == []
    assert moved(waiting, alive, {there: most * 2, elsewhere: most, pinned: most}) == []
    assert moved(waiting, [], {there: most * 2}) == []
    # Of what is not urgent fewer are done at once, by others.
    rest = queue_of("a", urgent=False)
    [(number, queue)] = moved([Waiting(7, "p1", "backfill", rest)], alive, {rest: WORKERS["rest"] + 1})
    assert (number, queue) == (7, queue_of("b", urgent=False))


@given(st.lists(st.integers(0, 2), max_size=60), st.lists(st.integers(0, 30), min_size=3, max_size=3))
def test_nothing_is_moved_to_where_it_would_wait_as_well(places: list[int], busy: list[int]) -> None:
    alive = [replica(f"r{n}") for n in range(3)]
    queues = [queue_of(each.name, urgent=True) for each in alive]
    waiting = [Waiting(n, "p0", "head", queues[place]) for n, place in enumerate(places)]
    load = Counter(dict(zip(queues, busy, strict=True))) + Counter(each.queue for each in waiting)
    moves = moved(waiting, alive, load)
    after = Counter(load)
    for number, queue in moves:
        after[waiting[number].queue] -= 1
        after[queue] += 1
    for number, queue in moves:
        assert after[queue] <= WORKERS["head"] <= after[waiting[number].queue]
    assert len({number for number, _ in moves}) == len(moves)


def test_a_queue_has_a_short_name_whatever_the_replica_is_called() -> None:
    assert len(queue_of("x" * 500 + "\ud800", urgent=False)) < 40
