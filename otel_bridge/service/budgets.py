"""The request budgets of a process: one for each organisation, which its projects share."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.shared_budget import SharedBudget
from otel_bridge.service.logs import event
from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_bridge.settings import ProjectSettings, Settings
    from otel_bridge.times import Clock


class OrganisationBudgets:
    """Budgets of organisations. A project that names none has one of its own.

    Args:
        share: The bridge's part of each organisation's limit; above 0, at most 1.
        clock: The time.
        shared: Whether other processes use them too, so that each claims what it sends.
    """

    def __init__(self, share: float, clock: Clock, *, shared: bool = False) -> None:
        self._share = share
        self._clock = clock
        self.wanted = asyncio.Event()
        """Set when a budget that is shared wants to claim something."""
        self._make = partial(SharedBudget, wanted=self.wanted) if shared else Budget
        self._by_project: dict[str, Budget] = {}
        self._by_key: dict[str, Budget] = {}

    @property
    def by_project(self) -> Mapping[str, Budget]:
        """By project; changes as projects come and go."""
        return self._by_project

    @property
    def by_key(self) -> Mapping[str, Budget]:
        """Each once, by what tells organisations apart, for every process alike; none ever goes."""
        return self._by_key

    def join(self, project: ProjectSettings) -> Budget:
        """The budget of a project's organisation."""
        name = project.organization or project.name
        # The prefixes keep a project that is named like an organisation apart from it.
        key = f"organization:{name}" if project.organization else f"project:{name}"
        budget = self._by_key.get(key)
        if budget is None:
            budget = self._make(self._share, self._clock, name=name, on_pause=_say_pause(name))
            self._by_key[key] = budget
        self._by_project[project.name] = budget
        self._count()
        return budget

    def leave(self, name: str) -> None:
        """A project has no budget any more; its organisation's is kept, with what was sent so far."""
        del self._by_project[name]
        self._count()

    def _count(self) -> None:
        used = Counter(id(each) for each in self._by_project.values())
        for budget in self._by_key.values():
            budget.projects = max(used[id(budget)], 1)


def budgets(settings: Settings, clock: Clock) -> Mapping[str, Budget]:
    """The budget of each project's organisation, by project."""
    shared = OrganisationBudgets(settings.collect.rate_share, clock)
    for project in settings.projects:
        shared.join(project)
    return shared.by_project


def _say_pause(name: str) -> Callable[[float], None]:
    def say(wait_s: float) -> None:
        pause = format_seconds(max(1, round(wait_s)))
        event(
            logging.WARNING,
            "rate_limited",
            f"{name}: Composio's rate limit is reached; no request for {pause}, as it asks",
            organization=name,
            wait_s=round(wait_s, 1),
        )

    return say
