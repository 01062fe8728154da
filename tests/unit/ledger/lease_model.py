"""The lease protocol as a state machine, small enough that every state it can reach is visited.

One scope, one window, three replicas. A replica takes the lease, works, and commits the window in a
transaction of two steps (the fence is read, the rows are written); between any two steps it may be stopped
for as long as it likes, or end and start anew under another name. Time is one bit: whether the lease has run
out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_EPOCHS = 3
MOST_COMMITS = 2
ANOTHERS = (-1, -1)
IDLE, WORKING, CHECKED = "idle", "working", "checked"


@dataclass(frozen=True)
class Replica:
    """One process: what it believes."""

    doing: str = IDLE
    epoch: int = 0
    paused: bool = False


@dataclass(frozen=True)
class State:
    """The lease's row, the commits of the window by epoch, and the replicas."""

    epoch: int = 0
    holder: int | None = None
    ran_out: bool = False
    commits: tuple[tuple[int, int], ...] = ()  # who, and under which epoch
    replicas: tuple[Replica, ...] = (Replica(), Replica(), Replica())

    def with_replica(self, index: int, **changes: object) -> State:
        """The same with one replica changed."""
        changed = replace(self.replicas[index], **changes)  # type: ignore[arg-type]
        return replace(self, replicas=(*self.replicas[:index], changed, *self.replicas[index + 1 :]))

    @property
    def locked(self) -> bool:
        """Whether a transaction has read the fence and is not finished."""
        return any(each.doing == CHECKED for each in self.replicas)


@dataclass(frozen=True)
class Rules:
    """What of the protocol is kept; leaving a rule out must show."""

    compares_epoch: bool = True
    locks_row: bool = True
    grows_epoch: bool = True


def acquired(state: State, who: int, rules: Rules) -> State:
    """The lease taken, where that may be."""
    epoch = state.epoch + 1 if rules.grows_epoch or state.epoch == 0 else state.epoch
    taken = replace(state, epoch=epoch, holder=who, ran_out=False)
    return taken.with_replica(who, doing=WORKING, epoch=epoch)


def may_acquire(state: State) -> bool:
    """Whether the row says that a scope is free."""
    return state.holder is None or state.ran_out


def steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """All that can happen next."""
    if state.holder is not None and not state.ran_out:
        yield "time passes", replace(state, ran_out=True)
    for who, me in enumerate(state.replicas):
        if me.paused:
            yield from _meanwhile(state, who, me)
            continue
        yield f"{who} is paused", state.with_replica(who, paused=True)
        if me.doing != IDLE:
            # A process that ends: its transaction, if any, is rolled back, and its lease runs out by itself.
            yield f"{who} is killed", state.with_replica(who, doing=IDLE, epoch=0)
        moves = {IDLE: _idle, WORKING: _working, CHECKED: _checked}[me.doing]
        yield from moves(state, who, rules)


def _meanwhile(state: State, who: int, me: Replica) -> Iterator[tuple[str, State]]:
    yield f"{who} resumes", state.with_replica(who, paused=False)
    if me.doing == CHECKED:
        yield f"the server ends the transaction of {who}", state.with_replica(who, doing=WORKING)


def _idle(state: State, who: int, rules: Rules) -> Iterator[tuple[str, State]]:
    free = may_acquire(state) and not (rules.locks_row and state.locked)
    if free and state.epoch < MOST_EPOCHS:
        yield f"{who} acquires", acquired(state, who, rules)


def _working(state: State, who: int, rules: Rules) -> Iterator[tuple[str, State]]:
    mine = state.holder == who and state.epoch == state.replicas[who].epoch
    if mine:
        yield f"{who} renews", replace(state, ran_out=False)
    if mine and not (rules.locks_row and state.locked):
        released = replace(state, holder=None, ran_out=True)
        yield f"{who} releases", released.with_replica(who, doing=IDLE, epoch=0)
    if mine or not rules.compares_epoch:
        yield f"{who} reads the fence", state.with_replica(who, doing=CHECKED)
    else:
        yield f"{who} is refused", state.with_replica(who, doing=IDLE, epoch=0)


def _checked(state: State, who: int, _: Rules) -> Iterator[tuple[str, State]]:
    if len(state.commits) == MOST_COMMITS:
        return
    done = replace(state, commits=(*state.commits, (who, state.epoch)))
    if state.holder == who and state.epoch == state.replicas[who].epoch:
        yield f"{who} commits", done.with_replica(who, doing=WORKING)
    else:
        yield f"{who} commits what is another's", replace(done, commits=(*done.commits, ANOTHERS))


def wrong(state: State) -> str | None:
    """What must never be."""
    if ANOTHERS in state.commits:
        return "a commit under a lease that another one holds"
    epochs = [epoch for _, epoch in state.commits]
    if epochs != sorted(epochs):
        return "an older epoch's commit after a newer one's"
    by_epoch: dict[int, set[int]] = {}
    for who, epoch in state.commits:
        by_epoch.setdefault(epoch, set()).add(who)
    if any(len(them) > 1 for them in by_epoch.values()):
        return "two replicas committed under one epoch"
    return None


@dataclass
class Exploration:
    """What a search came to."""

    states: int = 0
    counterexample: list[str] = field(default_factory=list)
    problem: str | None = None
    refusals: int = 0


def explore(rules: Rules, check: Callable[[State], str | None] = wrong) -> Exploration:
    """Visit every state, breadth first, so that a counterexample is a shortest one."""
    found = Exploration()
    start = State()
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        found.states += 1
        found.problem = check(state)
        if found.problem:
            origin: tuple[State, str] | None = came_from[state]
            while origin is not None:
                found.counterexample.insert(0, origin[1])
                origin = came_from[origin[0]]
            return found
        for name, following in steps(state, rules):
            found.refusals += name.endswith("is refused")
            if following not in came_from:
                came_from[following] = (state, name)
                waiting.append(following)
    return found
