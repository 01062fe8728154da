"""The shape of a session before it is placed in time: which calls, how long, what fails.

Times are in ms from the session's start, perhaps fractional. A call that runs others covers them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.emulator.failures import Failure, pick_failure
from otel_bridge.emulator.scene import CHANNELS, CUSTOMERS, TOPICS, USERS, Scene
from otel_bridge.emulator.stories import STORIES, Story
from otel_bridge.emulator.toolkits import TOOLS, Tool
from otel_bridge.emulator.toolkits.meta import (
    GET_TOOL_SCHEMAS,
    MANAGE_CONNECTIONS,
    MULTI_EXECUTE,
    SEARCH_TOOLS,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

# Parents fail only where all of their children do and searches for tools never do, so this makes about 8 %
# of all tool calls.
FAILURE_SHARE: Final = 0.12
_RETRY_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call.

    Attributes:
        start: ms from the session's start.
        end: ms from the session's start; ``end >= start``, and not before a child's.
        failure: How it failed, or None.
        thought: What the agent said it was doing.
        children: The calls it ran, for ``COMPOSIO_MULTI_EXECUTE_TOOL``.
    """

    tool: Tool
    start: float
    end: float
    failure: Failure | None = None
    thought: str = ""
    children: tuple[Call, ...] = ()

    @property
    def size(self) -> int:
        """How many log entries it makes."""
        return 1 + len(self.children)


@dataclass(frozen=True, slots=True)
class Plan:
    """A session's requests in order of time."""

    story: Story
    requests: tuple[Call, ...]

    @property
    def size(self) -> int:
        """How many log entries it makes."""
        return sum(request.size for request in self.requests)

    @property
    def length_ms(self) -> float:
        """From its start to its last call's end."""
        return self.requests[-1].end

    def faster(self, factor: float) -> Plan:
        """The same session in ``factor`` of the time."""
        return Plan(self.story, tuple(_faster(request, factor) for request in self.requests))


def _faster(call: Call, factor: float) -> Call:
    children = tuple(_faster(child, factor) for child in call.children)
    return replace(call, start=call.start * factor, end=call.end * factor, children=children)


class _Planner:
    """Lays one request after another until the steps, or the entries allowed, are used up."""

    def __init__(self, rng: random.Random, scene: Scene, budget: int) -> None:
        self._rng = rng
        self._scene = scene
        self._left = budget
        self._now = 0.0
        self.requests: list[Call] = []

    def think(self, median_ms: float) -> None:
        """Time passes while the agent's model writes its next request."""
        self._now += median_ms * (0.4 + 1.6 * self._rng.random())

    def run(self, slug: str, thought: str = "", *, may_fail: bool = True) -> bool:
        """One call by itself; returns whether it succeeded (or there was no room for it)."""
        if self._left < 1:
            return True
        call = self._call(TOOLS[slug], self._now, thought, may_fail=may_fail)
        self._add(call)
        return call.failure is None

    def run_together(self, slugs: tuple[str, ...], thought: str) -> None:
        """Several calls side by side under one meta tool."""
        if self._left < 3:  # noqa: PLR2004 - a parent has two children at least
            self.run(slugs[0], thought)
            return
        slugs = slugs[: self._left - 1]
        begin = self._now + 8 + 30 * self._rng.random()
        children = tuple(
            self._call(TOOLS[slug], begin + n * 6 * self._rng.random(), "", may_fail=True)
            for n, slug in enumerate(slugs)
        )
        end = max(child.end for child in children) + 6 + 40 * self._rng.random()
        failures = [child.failure for child in children]
        self._add(
            Call(
                TOOLS[MULTI_EXECUTE],
                self._now,
                end,
                failures[0] if all(failures) else None,
                thought,
                children,
            )
        )

    def _call(self, tool: Tool, start: float, thought: str, *, may_fail: bool) -> Call:
        failure = None
        if may_fail and self._rng.random() < FAILURE_SHARE:
            failure = pick_failure(self._scene, tool.toolkit)
        duration = tool.median_ms * self._rng.lognormvariate(0, 0.45) * (failure.slowness if failure else 1)
        return Call(tool, start, start + max(5.0, min(duration, 60_000)), failure, thought)

    def _add(self, call: Call) -> None:
        self.requests.append(call)
        self._left -= call.size
        self._now = call.end


def make_scene(rng: random.Random, day: str) -> Scene:
    """A session's setting, drawn from the cast."""
    story = rng.choice(STORIES)
    return Scene(
        rng,
        rng.choice(USERS),
        rng.choice(CUSTOMERS),
        rng.choice(TOPICS),
        rng.choice(CHANNELS),
        story.goal,
        day,
        rng.randrange(120, 4_900),
        f"{rng.getrandbits(64):016x}",
    )


def plan_session(scene: Scene, budget: int) -> Plan:
    """Plan a session of at most ``budget`` log entries; at least 1."""
    rng = scene.rng
    story = next(story for story in STORIES if story.goal == scene.goal)
    planner = _Planner(rng, scene, budget)
    if rng.random() < 0.7:  # noqa: PLR2004 - the others have their tools preloaded
        planner.run(SEARCH_TOOLS, "Find the tools for the task", may_fail=False)
        planner.think(1_500)
        extra = rng.random()
        if extra < 0.3:  # noqa: PLR2004 - how often agents ask for more before they begin
            slug = GET_TOOL_SCHEMAS if extra < 0.18 else MANAGE_CONNECTIONS  # noqa: PLR2004
            planner.run(slug, "Check what the tools need", may_fail=False)
            planner.think(900)
    for step in story.steps:
        if len(step.tools) > 1:
            planner.run_together(step.tools, step.thought)
        elif not planner.run(step.tools[0], step.thought) and rng.random() < _RETRY_SHARE:
            planner.think(1_200)
            planner.run(step.tools[0], "Try again", may_fail=False)
        planner.think(2_200)
    return Plan(story, tuple(planner.requests))


def calls_of(request: Call) -> Iterator[Call]:
    """A request's calls in the order in which their rows are written: children as they end, then itself."""
    yield from sorted(request.children, key=lambda child: child.end)
    yield request
