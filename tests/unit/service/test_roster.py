"""Projects that come and go while the service runs: what is taken up, what is let go, and what stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from simulated_clock import SimulatedClock

from otel_bridge.errors import SettingsError
from otel_bridge.ledger import MemoryLedger
from otel_bridge.service.roster import Roster, follow
from otel_bridge.service.running import Running, running
from otel_bridge.settings import FoundProjects, ProjectSettings, load

if TYPE_CHECKING:
    from pathlib import Path

    from otel_bridge.service.crew import Crew


class Hands:
    """Notes who comes and goes."""

    def __init__(self) -> None:
        self.telemetry = None
        self.done: list[str] = []

    def join(self, project: ProjectSettings) -> None:
        if project.name == "unwanted":
            raise SettingsError("unwanted takes a key")
        self.done.append(f"+{project.name}")

    async def leave(self, name: str) -> None:
        self.done.append(f"-{name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"api_key: ak_{name}")
    return tmp_path


def service(folder: Path) -> tuple[Running, Hands, Roster]:
    settings = load(None, {"OTEL_BRIDGE_PROJECTS": str(folder)})
    state, hands = running(settings, SimulatedClock()), Hands()
    state.ledger = MemoryLedger()
    return state, hands, Roster(state, cast("Crew", hands))


def found(state: Running) -> FoundProjects:
    assert state.settings.projects_place is not None
    return state.settings.projects_place.read()


async def test_who_comes_is_taken_up_and_who_goes_is_let_go(folder: Path) -> None:
    state, hands, roster = service(folder)
    await roster.take(found(state))
    assert hands.done == []
    (folder / "a.yaml").unlink()
    (folder / "c.yaml").write_text("api_key: ak_c")
    (folder / "b.yaml").write_text("{api_key: ak_b, start: 2h}")
    await roster.take(found(state))
    assert sorted(hands.done) == ["+b", "+c", "-a", "-b"]
    assert sorted(state.projects) == ["b", "c"]
    assert {reason.project for reason in state.health.readiness(0)} == {"b", "c"}
    await roster.take(found(state))
    assert len(hands.done) == 4


async def test_what_can_not_be_read_any_more_stays_as_it_was(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, hands, roster = service(folder)
    (folder / "a.yaml").write_text("api_key: [")
    (folder / "c.yaml").write_text("{name: b, api_key: ak_c}")
    for _ in range(2):
        await roster.take(found(state))
    assert (hands.done, state.projects) == ([], ["a", "b"])
    assert caplog.text.count("a.yaml, line 1") == 1
    assert "it is collected as it was" in caplog.text
    assert caplog.text.count("the name 'b' is taken by") == 1
    for _ in range(2):
        await roster.take(FoundProjects(unread="the folder is away"))
    assert caplog.text.count("the folder is away; all stays as it was") == 1
    assert state.projects == ["a", "b"]
    # What its file can't say, another one may.
    (folder / "c.yaml").write_text("{name: a, api_key: ak_c}")
    await roster.take(found(state))
    assert hands.done == ["-a", "+a"]
    [project] = [each for each in state.settings.projects if each.name == "a"]
    assert project.api_key is not None
    assert project.api_key.get_secret_value() == "ak_c"


async def test_one_that_can_not_be_taken_up_does_not_keep_the_next_from_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, hands, roster = service(folder)
    (folder / "unwanted.yaml").write_text("api_key: ak_x")
    (folder / "wanted.yaml").write_text("api_key: ak_y")
    await roster.take(found(state))
    assert hands.done == ["+wanted"]
    assert "unwanted takes a key" in caplog.text
    assert "unwanted" not in state.projects


async def test_it_looks_now_and_then(folder: Path) -> None:
    state, hands, _ = service(folder)
    clock = SimulatedClock(auto=False)
    state.clock = clock
    following = asyncio.create_task(follow(state, cast("Crew", hands)))
    (folder / "a.yaml").unlink()
    async with asyncio.timeout(10):
        while not hands.done:
            await clock.advance(5)
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert following.cancelled()
    await follow(running(load(None, {}), clock), cast("Crew", hands))
