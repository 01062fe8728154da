"""The top of the page: what is wrong, once, the heaviest first, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from web_stage import Stage, aside

from otel_bridge.circuit_state import CircuitState, Phase
from otel_bridge.errors import (
    BridgeError,
    DestinationRefused,
    DestinationUnavailable,
    LedgerError,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.ledger import Reason as Aside
from otel_bridge.ledger import Verification
from otel_bridge.receiver.answers import advice
from otel_bridge.receiver.routes import Route
from otel_bridge.service.reasons import FOLLOWS, TO_DO, WRONG_ADDRESS, Code
from otel_bridge.web.snapshot import Snapshots
from otel_bridge.web.troubles import READY, STARTING, Standing, standing

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("shop", "desk", "crm", "ops", "lab")
SOURCE = "https://backend.composio.dev"


async def stands(stage: Stage) -> Standing:
    return standing(await Snapshots(stage.running).take())


@pytest.fixture
async def five(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path, *NAMES)
    await stage.start()
    return stage


def down(stage: Stage, name: str = SOURCE) -> CircuitState:
    since_ms = stage.now_ms - 60_000
    return CircuitState(name, Phase.OPEN, since_ms, 60, 13, "no connection", 12.0, stage.now_ms + 12_000, 3)


async def test_where_nothing_is_wrong_there_is_nothing_to_do(five: Stage) -> None:
    assert await stands(five) == Standing("ready", READY, "", [])


async def test_the_headline_of_an_address_where_no_composio_is(five: Stage) -> None:
    said = f"POST /logs was answered with 404{advice(404, Route.LIST, 'COMPOSIO_API_KEY')}"
    for name in NAMES:
        five.running.health.poll_failed(name, SourceRefused(said, 404), five.now_ms)
    found = await stands(five)
    assert found.headline == "COMPOSIO_BASE_URL leads to no Composio."
    (trouble,) = found.troubles
    assert (trouble.who, trouble.message, trouble.to_do) == ("all 5 projects", said, WRONG_ADDRESS)


async def test_the_headline_says_what_is_wrong_and_how_many_are_well(five: Stage) -> None:
    five.running.health.poll_failed("desk", SourceRefused("HTTP 401 for the key", 401), five.now_ms)
    found = await stands(five)
    assert found.headline == "Composio refuses the bridge."
    assert found.among == "4 of 5 projects are well."
    (trouble,) = found.troubles
    assert (trouble.who, trouble.message) == ("desk", "HTTP 401 for the key")
    assert trouble.to_do == TO_DO[Code.SOURCE_REFUSED]


async def test_projects_with_the_same_trouble_are_one_line_each_is_named_or_counted(five: Stage) -> None:
    for number, name in enumerate(NAMES[:4]):
        error = SourceRefused(f"HTTP 401, request {number}", 401)
        five.running.health.poll_failed(name, error, five.now_ms)
    five.running.health.poll_failed("lab", SourceRefused("HTTP 403", 403), five.now_ms)
    found = await stands(five)
    assert [trouble.who for trouble in found.troubles] == ["shop, desk, crm and 1 more", "lab"]
    assert found.among == "", "none is well"


async def test_refused_keys_are_one_line_that_names_where_they_come_from(five: Stage) -> None:
    route = Route.LIST
    for number, name in enumerate(NAMES[:4]):
        said = f"HTTP 401{advice(401, route, f'b.yaml: projects.{number}.api_key (${{env:{name}}})')}. No."
        five.running.health.poll_failed(name, SourceRefused(said, 401), five.now_ms)
    said = f"HTTP 401{advice(401, route, 'lab.yaml: api_key')}"
    five.running.health.poll_failed("lab", SourceRefused(said, 401), five.now_ms)
    first, alone = (await stands(five)).troubles
    assert first.message == (
        "HTTP 401: the key from each of b.yaml: projects.0.api_key (${env:shop}), b.yaml: projects.1.api_key "
        "(${env:desk}), b.yaml: projects.2.api_key (${env:crm}) and 1 more is not accepted. No."
    )
    assert (alone.who, alone.message) == ("lab", "HTTP 401: the key from lab.yaml: api_key is not accepted")


async def test_who_waits_for_a_far_side_that_is_down_is_told_with_it(five: Stage) -> None:
    state = down(five)
    five.running.health.circuit_changed(state, state)
    for number, name in enumerate(NAMES):
        # Each waits with words of its own, which were true when it began to wait.
        message = str(state).replace("13 failures", f"{number + 2} failures")
        for _ in range(3):
            five.running.health.poll_failed(name, SourceUnreachable(message), five.now_ms)
            five.clock.step_wall_clock(2_000)
    found = await stands(five)
    assert found.headline == "Composio does not answer as it should."
    (trouble,) = found.troubles
    assert (trouble.who, trouble.message) == ("all 5 projects", f"{SOURCE} is down: no connection")
    assert trouble.to_do == TO_DO[Code.SOURCE_FAILING]
    assert trouble.lasting == "for 1 min 30 s"


async def test_what_follows_from_a_trouble_is_not_told_beside_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.running.health.poll_failed("default", SourceRefused("HTTP 401", 401), stage.now_ms)
    found = await stands(stage)
    assert [trouble.to_do for trouble in found.troubles] == [TO_DO[Code.SOURCE_REFUSED]]
    assert FOLLOWS not in str(found)


@pytest.mark.parametrize(
    ("heavier", "lighter", "headline"),
    [
        (SourceRefused("no", 401), DestinationUnavailable("no"), "Composio refuses the bridge, and more."),
        (DestinationRefused("no"), LedgerError("full"), "A destination refuses the bridge, and more."),
        (LedgerError("full"), BridgeError("odd"), "The ledger fails, and more."),
    ],
)
async def test_the_heaviest_is_told_first(
    five: Stage, heavier: BridgeError, lighter: BridgeError, headline: str
) -> None:
    for error in (lighter, heavier):
        for _ in range(3):
            five.running.health.poll_failed("shop", error, five.now_ms)
            five.clock.step_wall_clock(2_000)
    found = await stands(five)
    assert found.headline == headline
    assert [trouble.message for trouble in found.troubles] == [str(heavier), str(lighter)]


async def test_one_project_alone_is_not_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    found = await stands(stage)
    assert (found.state, found.headline, found.among) == ("starting", STARTING, "")
    assert [trouble.who for trouble in found.troubles] == [""]


async def test_what_is_set_aside_or_missing_is_never_called_delivered(five: Stage) -> None:
    now_ms = five.now_ms
    waiting = [
        aside(1, Aside.WAITING_FOR_PARENT, "x", now_ms),
        aside(2, Aside.WAITING_FOR_CORRELATION, "x", now_ms),
    ]
    await five.commit("shop", set_aside=waiting)
    assert (await stands(five)).state == "ready", "they come by themselves"
    await five.commit("shop", set_aside=[aside(3, Aside.REFUSED, "x", now_ms)])
    await five.ledger.note_verification("desk", Verification(now_ms, 0, 1, 9, 6, 3, 1))
    found = await stands(five)
    assert (found.state, found.headline) == (
        "aside",
        "Delivering, but 1 record is set aside and 2 records are missing.",
    )
    retry, verify = (trouble.to_do for trouble in found.troubles)
    assert "otel-bridge retry" in retry
    assert "otel-bridge verify --repair" in verify


def test_every_code_but_starting_has_a_headline() -> None:
    from otel_bridge.web.troubles import _HEADLINES  # noqa: PLC0415 - the one use

    assert set(_HEADLINES) == set(Code) - {Code.STARTING}
