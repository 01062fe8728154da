"""Projects that come and go while the service runs: looked for now and then, and taken up one by one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import BridgeError, SettingsError
from otel_bridge.ledger import Lane
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.service.crew import Crew
    from otel_bridge.service.running import Running
    from otel_bridge.settings import FoundProjects, ProjectSettings

LOOK_EVERY_S: Final = 5.0


async def follow(state: Running, crew: Crew) -> None:
    """Take up the projects that come, and let those go that are there no more, until cancelled."""
    place = state.settings.projects_place
    if place is None:
        return
    roster = Roster(state, crew)
    poll = state.settings.collect.poll_interval
    every_s = LOOK_EVERY_S if poll == "auto" else min(LOOK_EVERY_S, poll / 1000)
    while True:
        await state.clock.sleep(every_s)
        await roster.take(await asyncio.to_thread(place.read))


def say_refused(found: FoundProjects) -> None:
    """Tell of the projects that can't be collected as they are written."""
    for where, line in found.refused.items():
        event(logging.WARNING, "project_refused", line, where=where)


@dataclass(slots=True)
class Roster:
    """Who is collected.

    What can't be read any more is collected as it was: a file that is half written, or a database that
    restarts, must not end what goes well.

    Attributes:
        state: The running service.
        crew: Its workers.
    """

    state: Running
    crew: Crew
    _standing: dict[str, ProjectSettings] = field(init=False)
    _told: dict[str, str] = field(init=False)
    _unread: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        found = self.state.settings.found
        self._standing = dict(found.good)
        self._told = dict(found.refused)

    async def take(self, found: FoundProjects) -> None:
        """Make the crew what was found."""
        if found.unread is not None:
            if found.unread != self._unread:
                event(logging.WARNING, "projects_unread", f"{found.unread}; all stays as it was")
            self._unread = found.unread
            return
        self._unread = None
        for where, line in found.refused.items():
            if self._told.get(where) != line:
                stays = "; it is collected as it was" if where in self._standing else ""
                event(logging.WARNING, "project_refused", line + stays, where=where)
        self._told = dict(found.refused)
        self._standing = self._with_those_that_stay(found)
        await self._make({project.name: project for project in self._standing.values()})

    def _with_those_that_stay(self, found: FoundProjects) -> dict[str, ProjectSettings]:
        standing = dict(found.good)
        names = {project.name for project in standing.values()}
        for where in found.refused:
            before = self._standing.get(where)
            if before is not None and before.name not in names:
                standing[where] = before
                names.add(before.name)
        return standing

    async def _make(self, wanted: Mapping[str, ProjectSettings]) -> None:
        before = {project.name: project for project in self.state.settings.projects}
        gone = [name for name, project in before.items() if wanted.get(name) != project]
        await asyncio.gather(*(self._leave(name, stays=name in wanted) for name in gone))
        self._are({name: project for name, project in before.items() if name not in gone})
        for name, project in wanted.items():
            if before.get(name) != project:
                await self._join(project, changed=name in before)

    async def _leave(self, name: str, *, stays: bool) -> None:
        await self.crew.leave(name)
        if not stays:
            self.state.health.leave(name)
            self.state.recent.leave(name)
            event(logging.INFO, "project_left", f"{name} is not collected any more", project=name)

    async def _join(self, project: ProjectSettings, *, changed: bool) -> None:
        state = self.state
        state.recent.join(project.name)
        state.health.begins_at(project.name, None)
        if self.crew.telemetry is not None:
            self.crew.telemetry.observer.begin(project.name)
        try:
            self.crew.join(project)
        except SettingsError as error:
            event(logging.WARNING, "project_refused", str(error), project=project.name)
            return
        self._are({each.name: each for each in (*state.settings.projects, project)})
        if state.ledger is not None:
            with suppress(BridgeError):
                state.health.begins_at(project.name, await state.ledger.watermark_ms(project.name, Lane.LIVE))
        what = "is collected as it is written now" if changed else "is collected from now on"
        event(logging.INFO, "project_joined", f"{project.name} {what}", project=project.name)

    def _are(self, projects: Mapping[str, ProjectSettings]) -> None:
        state = self.state
        state.settings = state.settings.model_copy(update={"projects": tuple(projects.values())})
