"""The parts of a project's work that are handed out, and to whom: one replica at a time does each of them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Lane
from otel_bridge.ledger.leases import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_bridge.ledger.leases import ReplicaStatus

PRUNE_EVERY_S: Final = 600.0
WORKERS: Final = {"head": 16, "rest": 8, "schedule": 1}
"""How many jobs of each kind are done at once in one process."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of ``ProjectWorker.steps``, as it is handed out.

    Attributes:
        scope: What its lease is for, and what makes it due.
        priority: Whose turn comes first among those that wait.
        urgent: Whether it has workers of its own, so that nothing that takes long is ever before it.
        idle_s: When there may be something to do again after it found nothing more; None for the poll
            interval.
    """

    scope: Scope
    priority: int
    urgent: bool = False
    idle_s: float | None = None

    @property
    def name(self) -> str:
        """The step's name, and the scope's."""
        return self.scope.name


PARTS: Final = (
    Part(Scope("head"), 30, urgent=True),
    # Now and then even without a window, because it prunes the ledger as well.
    Part(Scope("recheck", Lane.LIVE, collected=True, at_least_every_s=PRUNE_EVERY_S), 20),
    Part(Scope("backfill", Lane.BACKFILL), 10),
    Part(Scope("verify"), 5, idle_s=600.0),
)
"""The most urgent first."""

BY_NAME: Final = {part.name: part for part in PARTS}


def queue_of(replica: str, *, urgent: bool) -> str:
    """The queue of a replica's jobs. A hash, since a queue's name is bounded and a host's is not."""
    digest = sha256(replica.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return f"{'head' if urgent else 'rest'}-{digest}"


def dealt(
    due: Sequence[tuple[str, str]], replicas: Sequence[ReplicaStatus], load: Mapping[str, int]
) -> list[tuple[str, str, str]]:
    """Who does what: each part of a project's work goes to the replica that has the least to do.

    Args:
        due: Project and part.
        replicas: Those that are alive.
        load: The jobs that wait or are under way, by queue.

    Returns:
        Project, part and queue; what no replica collects is left out. Where several have equally little to
        do, a project's parts go to the same one whenever they can, which knows the project already.
    """
    counts = dict(load)
    jobs = []
    for project, part in due:
        urgent = BY_NAME[part].urgent
        able = [replica for replica in replicas if project in replica.projects]
        if not able:
            continue
        queues = {queue_of(replica.name, urgent=urgent): replica.name for replica in able}
        chosen = min(queues, key=lambda queue: (counts.get(queue, 0), _affinity(project, queues[queue])))
        counts[chosen] = counts.get(chosen, 0) + 1
        jobs.append((project, part, chosen))
    return jobs


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that nobody has begun.

    Attributes:
        number: The queue's own number for it.
        queue: Where it waits.
    """

    number: int
    project: str
    part: str
    queue: str


def moved(
    waiting: Sequence[Waiting], replicas: Sequence[ReplicaStatus], load: Mapping[str, int]
) -> list[tuple[int, str]]:
    """Which jobs should wait elsewhere: where they would wait for long, while another replica is idle.

    One that has just joined finds all that was due dealt to those that were there before.

    Args:
        waiting: Those that wait, in any order.
        replicas: Those that are alive.
        load: The jobs that wait or are under way, by queue.

    Returns:
        The job's number, and the queue where it is begun sooner.
    """
    counts = dict(load)
    moves = []
    for job in waiting:
        urgent = BY_NAME[job.part].urgent
        at_once = WORKERS["head" if urgent else "rest"]
        if counts.get(job.queue, 0) <= at_once:
            continue
        able = [queue_of(each.name, urgent=urgent) for each in replicas if job.project in each.projects]
        chosen = min(able, key=lambda queue: counts.get(queue, 0), default=job.queue)
        if counts.get(chosen, 0) < at_once:
            counts[job.queue] -= 1
            counts[chosen] = counts.get(chosen, 0) + 1
            moves.append((job.number, chosen))
    return moves


def _affinity(project: str, replica: str) -> bytes:
    return sha256(f"{replica}\0{project}".encode("utf-8", "surrogatepass")).digest()
