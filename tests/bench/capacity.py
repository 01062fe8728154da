"""What replicas could do past this machine: a simulation of how they share work, by one event after another.

Each replica does so many projects at once (16) and has one core. A project is due every poll interval, or at
once where it has more; it is dealt, once a second, to the replica that has the least to do. A pass lists,
gets the details so many at a time, delivers and commits; it waits for its organisation's share of requests.
Each window is listed again four times. What each step costs is measured: see COSTS. First the simulation
repeats what ``replicas.py`` has measured, so that one can see how far it can be believed.

    python tests/bench/capacity.py
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass, field

COSTS = {"record_s": 0.0011, "pass_s": 0.012, "commit_s": 0.03}
"""Processor time of a replica for a record and for a pass; time until a batch is delivered and committed."""
RECHECKS = 4
MOST_A_PASS = 200
SLOTS = 16
TURN_S = 10.0
DEAL_EVERY_S = 1.0


@dataclass(frozen=True)
class Case:
    """What is simulated.

    Attributes:
        rate: New records a second and project; infinite where the past holds more than can be collected.
        quota: Requests a minute and organisation; each organisation has so many projects as
            ``projects_an_organisation`` says.
        latency_s: How long the source takes for an answer.
    """

    replicas: int
    projects: int
    rate: float
    latency_s: float = 0.2
    concurrency: int = 16
    quota: int = 2_000
    share: float = 0.5
    projects_an_organisation: int = 1
    poll_s: float = 5.0
    slots: int = SLOTS
    seconds: float = 150.0


@dataclass
class _Replica:
    free: int
    core_s: float = 0.0
    waiting: deque[int] = field(default_factory=deque)
    busy_s: float = 0.0

    @property
    def load(self) -> float:
        return len(self.waiting) - self.free


@dataclass(frozen=True)
class Outcome:
    """Records a second, how old they are when they are delivered (s; median and 95 %), cores in use."""

    rate: float
    median_s: float
    slow_s: float
    cores: float


class Simulation:
    """Plays one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.replicas = [_Replica(case.slots) for _ in range(case.replicas)]
        organisations = math.ceil(case.projects / case.projects_an_organisation)
        self.requests: list[deque[tuple[float, int]]] = [deque() for _ in range(organisations)]
        self.collected_s = [0.0] * case.projects
        self.due_s = [case.poll_s * number / case.projects for number in range(case.projects)]
        self.dealt = [False] * case.projects
        self.events: list[tuple[float, int, int, int, float]] = []
        self.order = itertools.count()
        self.delivered: list[tuple[float, float, int]] = []

    def play(self) -> Outcome:
        """To the end."""
        case, now_s, tick_s = self.case, 0.0, 0.0
        while now_s < case.seconds:
            if not self.events or self.events[0][0] >= tick_s:
                now_s = tick_s
                tick_s += DEAL_EVERY_S
                self.deal(now_s)
                continue
            now_s, _, replica, project, began_s = heapq.heappop(self.events)
            if self.due_s[project] <= now_s < began_s + TURN_S:
                self.collect(replica, project, now_s, began_s)
                continue
            self.replicas[replica].free += 1
            self.dealt[project] = False
            self.begin(replica, now_s)
        from_s = case.seconds / 3
        seen = [each for each in self.delivered if from_s <= each[0] < case.seconds]
        ages = sorted(age for _, age, _ in seen) or [math.inf]
        busy_s = sum(min(each.busy_s, case.seconds) for each in self.replicas)
        return Outcome(
            sum(count for *_, count in seen) / (case.seconds - from_s),
            ages[len(ages) // 2],
            ages[int(len(ages) * 0.95)],
            busy_s / case.seconds,
        )

    def deal(self, now_s: float) -> None:
        """Give what is due to who has the least to do."""
        due = [each for each, at in enumerate(self.due_s) if at <= now_s and not self.dealt[each]]
        for project in sorted(due, key=lambda each: self.due_s[each]):
            least = min(range(len(self.replicas)), key=lambda each: self.replicas[each].load)
            self.replicas[least].waiting.append(project)
            self.dealt[project] = True
            self.begin(least, now_s)

    def begin(self, number: int, now_s: float) -> None:
        """Start turns while the replica has a slot."""
        replica = self.replicas[number]
        while replica.free and replica.waiting:
            replica.free -= 1
            self.collect(number, replica.waiting.popleft(), now_s, now_s)

    def collect(self, number: int, project: int, now_s: float, began_s: float) -> None:
        """One pass."""
        case, replica = self.case, self.replicas[number]
        from_s, endless = self.collected_s[project], math.isinf(case.rate)
        count = MOST_A_PASS if endless else min(int(case.rate * (now_s - from_s)), MOST_A_PASS)
        to_s = now_s if endless else from_s + count / case.rate
        lists = max(1, math.ceil(count / 100)) + RECHECKS * case.poll_s / 60
        end_s = self.granted(project, now_s, lists + count)
        end_s += case.latency_s * (1 + math.ceil(count / case.concurrency))
        cost_s = COSTS["pass_s"] + COSTS["record_s"] * count
        replica.core_s = max(replica.core_s, now_s) + cost_s
        replica.busy_s += cost_s
        end_s = max(end_s, replica.core_s) + COSTS["commit_s"]
        if count:
            self.delivered.append((end_s, end_s - (from_s + to_s) / 2, count))
        self.collected_s[project] = to_s
        self.due_s[project] = end_s if count == MOST_A_PASS else max(end_s, now_s + case.poll_s)
        heapq.heappush(self.events, (end_s, next(self.order), number, project, began_s))

    def granted(self, project: int, now_s: float, requests: float) -> float:
        """When the last of so many requests may be sent."""
        case = self.case
        sent = self.requests[project // case.projects_an_organisation]
        allowed = case.quota * case.share * 60 / 63
        left = math.ceil(requests)
        while left:
            while sent and sent[0][0] <= now_s - 60:
                sent.popleft()
            used = sum(count for _, count in sent)
            part = min(left, int(allowed) - used)
            if part > 0:
                sent.append((now_s, part))
                left -= part
            else:
                now_s = sent[0][0] + 60
        return now_s


def main() -> None:
    """Print both tables."""
    print("repeated: 64 projects, 50 ms, one request in flight, more than can be collected")
    print("replicas  at once  records/s")
    for slots, replicas in itertools.product((16, 4), (1, 2, 4)):
        case = Case(
            replicas, 64, math.inf, latency_s=0.05, concurrency=1, quota=10**6, slots=slots, seconds=120
        )
        print(f"{replicas:8}  {slots:7}  {Simulation(case).play().rate:9.0f}")
    print()
    print("projects  records/s of each  latency  replicas  records/s  median s  95 % s  cores")
    for projects, rate, latency_s in (
        (100, 1.0, 0.2),
        (100, 10.0, 0.2),
        (500, 1.0, 0.2),
        (500, 1.0, 1.0),
        (500, 5.0, 0.2),
        (2_000, 1.0, 0.2),
    ):
        for replicas in (1, 2, 4, 8):
            done = Simulation(Case(replicas, projects, rate, latency_s)).play()
            print(
                f"{projects:8}  {rate:17.0f}  {latency_s * 1000:4.0f} ms  {replicas:8}  {done.rate:9.0f}"
                f"  {done.median_s:8.1f}  {done.slow_s:6.1f}  {done.cores:5.2f}"
            )


if __name__ == "__main__":
    main()
