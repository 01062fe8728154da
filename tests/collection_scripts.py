"""What may happen to a collection: scripts of steps, drawn by hypothesis, and how each step is taken.

What no bridge can promise is left out; each such bound stands here with its reason.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from collection_doors import Peril
from collection_world import PROJECT
from hypothesis import strategies as st

from otel_bridge.ledger import Lane

if TYPE_CHECKING:
    from collection_world import World

LAST_AGE_S: Final = 120
PARENT_WAIT_S: Final = 30
# A clock that stands ahead of the source's seals windows that much too early: a step forward beyond the last
# age, less how late records may be, loses what comes late. Steps backward only delay.
_MOST_AHEAD_S: Final = 40
_MOST_BEHIND_S: Final = 300


@dataclass(frozen=True, slots=True)
class Restart:
    """``ticks``: killed after so many turns of the event loop; None for a clean stop. Then down, or once."""

    ticks: int | None
    down_s: int
    once: bool


@dataclass(frozen=True, slots=True)
class Arm:
    door: str
    call: int
    after: bool
    crash: bool


@dataclass(frozen=True, slots=True)
class Outage:
    """``blocks``: the exporter tries again by itself for as long as it takes; else it gives up."""

    seconds: int
    blocks: bool


@dataclass(frozen=True, slots=True)
class ListTrouble:
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slow:
    latency_s: float


@dataclass(frozen=True, slots=True)
class ClockStep:
    seconds: int


@dataclass(frozen=True, slots=True)
class Burst:
    """``count`` calls in one millisecond, seen ``late`` (a share of what is allowed) after it."""

    count: int
    late: float
    trouble: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnEdge:
    """A call whose time is where a window begins or ends; the newest such windows are the candidates."""

    newest: int
    off_ms: int


@dataclass(frozen=True, slots=True)
class Family:
    """``parents``: for each member its parent's number, -1 for one that does not exist, None for a root.

    ``delays``: when each is seen, as a share of what the parent's wait allows.
    ``troubles``: what the first requests for each one's detail meet, whoever asks.
    """

    parents: tuple[int | None, ...]
    delays: tuple[float, ...]
    traced: bool
    troubles: tuple[tuple[str, ...], ...]


Step: TypeAlias = Restart | Arm | Outage | ListTrouble | Slow | ClockStep | Burst | OnEdge | Family


@dataclass(frozen=True, slots=True)
class Script:
    """Steps, and how many seconds the bridge runs after each."""

    timed: tuple[tuple[Step, int], ...]
    order: str
    to_inclusive: bool

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for step, _ in self.timed)

    @property
    def ahead_s(self) -> int:
        """How far the bridge's clock is ahead of the source's at most."""
        total = itertools.accumulate(_offsets(self.steps), initial=0)
        return max(0, *total)


def _offsets(steps: tuple[Step, ...]) -> list[int]:
    """The clock's steps, cut so that it stays between the bounds."""
    at, cut = 0, []
    for step in steps:
        if isinstance(step, ClockStep):
            target = min(max(at + step.seconds, -_MOST_BEHIND_S), _MOST_AHEAD_S)
            cut.append(target - at)
            at = target
    return cut


# ── how each is taken ────────────────────────────────────────────────────────────────────────────────────
async def play(world: World, script: Script) -> None:  # noqa: C901 - a case a step
    """Take all steps while the bridge runs, and let it recover."""
    # A record is promised when it is seen by the time of its window's last re-check, which a clock that is
    # ahead makes too early.
    late_s = LAST_AGE_S - script.ahead_s
    # The wait for a parent is counted from the child's time, by the bridge's clock: a parent that is seen
    # later finds its child delivered without it. Five seconds are for retries.
    parent_s = max(0, PARENT_WAIT_S - 5 - script.ahead_s)
    clock_steps = iter(_offsets(script.steps))
    await world.start()
    for number, (step, wait_s) in enumerate(script.timed):
        name = f"log_{number}"
        match step:
            case Restart(ticks, down_s, once):
                await world.end(ticks)
                await world.rest(down_s)
                if once:
                    await world.once()
            case Arm(door, call, after, crash):
                world.perils.append(Peril(door, call, after, crash))
            case Outage(seconds, blocks):
                world.outage_blocks = blocks
                world.outage_until_s = world.clock.monotonic_s() + seconds
            case ListTrouble(kinds):
                world.source.trouble["list"] = list(kinds)
            case Slow(latency_s):
                world.source.latency_s = latency_s
            case ClockStep():
                world.step_clock(1000 * next(clock_steps))
            case Burst():
                _burst(world, name, step, late_s)
            case OnEdge():
                await _on_edge(world, name, step, late_s)
            case Family():
                _family(world, name, step, parent_s)
        await world.start()
        await world.rest(wait_s)
    await world.recover()


def _burst(world: World, name: str, step: Burst, late_s: int) -> None:
    for index in range(step.count):
        log_id = f"{name}_{index}"
        if step.trouble:
            world.source.trouble[log_id] = list(step.trouble)
        world.happen(log_id, world.true_ms, visible_in_s=step.late * late_s)


async def _on_edge(world: World, name: str, step: OnEdge, late_s: int) -> None:
    windows = await world.ledger.windows(PROJECT, Lane.LIVE)
    edges = [window.to_ms + step.off_ms for window in reversed(windows)]
    possible = [each for each in edges if world.true_ms - 1000 * late_s <= each <= world.true_ms]
    if possible:
        world.happen(name, possible[step.newest % len(possible)])


def _family(world: World, name: str, step: Family, parent_s: int) -> None:
    ids = [f"{name}_{index}" for index in range(len(step.parents))]
    for index, parent in enumerate(step.parents):
        if step.troubles[index]:
            world.source.trouble[ids[index]] = list(step.troubles[index])
        fields: dict[str, object] = {}
        if parent is not None:
            fields["parent"] = {"log_id": f"{name}_gone" if parent < 0 else ids[parent]}
        if step.traced and index % 2:
            fields["context"] = {"trace_id": f"{index:032x}"}
        world.happen(ids[index], world.true_ms + index, visible_in_s=step.delays[index] * parent_s, **fields)


# ── how each is drawn ────────────────────────────────────────────────────────────────────────────────────
_SHARES = st.sampled_from([0.0, 1.0, 0.3, 0.02, 0.8])
# Of a member's detail, what passes: a parent that is listed, and whose detail is 404 or stays 5xx for longer
# than the wait, counts as missing.
_PASSING_TROUBLE = st.one_of(
    st.just(()), st.lists(st.sampled_from(["404", "500", "timeout"]), max_size=2).map(tuple)
)
_DETAIL_TROUBLE = st.lists(st.sampled_from(["404", "500", "503", "timeout", "html"]), max_size=9).map(tuple)


@st.composite
def _families(draw: st.DrawFn) -> Family:
    size = draw(st.integers(2, 5))
    parents = st.one_of(st.integers(0, size - 1), st.none(), st.just(-1))
    return Family(
        tuple(draw(st.lists(parents, min_size=size, max_size=size))),
        tuple(draw(st.lists(_SHARES, min_size=size, max_size=size))),
        draw(st.booleans()),
        tuple(draw(st.lists(_PASSING_TROUBLE, min_size=size, max_size=size))),
    )


_RESTARTS = st.builds(
    Restart,
    st.one_of(st.none(), st.integers(0, 120)),
    st.sampled_from([0, 0, 3, 40, 400]),
    st.booleans(),
)
_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Burst, st.integers(1, 4), _SHARES, st.just(())),
    _families(),
    st.builds(OnEdge, st.integers(0, 5), st.sampled_from([0, 0, -1, 1])),
    st.builds(Burst, st.sampled_from([1, 9, 35]), _SHARES, _DETAIL_TROUBLE),
    _RESTARTS,
    st.builds(
        Arm, st.sampled_from(["ledger", "destination"]), st.integers(1, 12), st.booleans(), st.booleans()
    ),
    st.builds(Outage, st.sampled_from([10, 60, 200]), st.booleans()),
    st.builds(
        ListTrouble,
        st.lists(st.sampled_from(["500", "timeout", "html", "429"]), min_size=1, max_size=7).map(tuple),
    ),
    st.builds(Slow, st.sampled_from([0.0, 0.3, 5.0])),
    st.builds(ClockStep, st.integers(-_MOST_BEHIND_S, 2 * _MOST_AHEAD_S)),
)

_ORDERS = st.sampled_from(["newest", "oldest", "shuffled"])


def _scripts(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Script]:
    timed = st.tuples(steps, st.sampled_from([0, 7, 1, 25, 45]))
    return st.builds(Script, st.lists(timed, min_size=1, max_size=12).map(tuple), _ORDERS, st.booleans())


SCRIPTS: Final = _scripts(_STEPS)
FAMILY_SCRIPTS: Final = _scripts(st.one_of(_families(), _families(), _RESTARTS))
