"""The page before axe-core, the auditor that most accessibility tools are built on, in each of its states.

axe-core comes from npm: ``make axe``. What it can't judge, the order of focus first of all, is in
``test_page_in_chromium.py``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import chromium, found_on
from web_stage import LINKS, Stage, aside, busy

from otel_bridge.circuit_state import CircuitState, Phase
from otel_bridge.errors import SourceRefused
from otel_bridge.ledger import Reason
from otel_bridge.web.page import render
from otel_bridge.web.snapshot import Snapshots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.backend
AXE = Path(__file__).parents[2] / ".node-axe" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESK = (390, 1900), (1280, 1750)
AUDIT = """
const standards=['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa','best-practice'];
const found=await axe.run(document,{runOnly:standards,rules:{'target-size':{enabled:true}}});
return {passes:found.passes.map(rule=>rule.id),
  violations:found.violations.map(rule=>[rule.id,rule.nodes.map(node=>node.html.slice(0,120)).slice(0,3)])}
"""
MUST_PASS = {
    "bypass",
    "color-contrast",
    "document-title",
    "heading-order",
    "html-has-lang",
    "landmark-one-main",
    "link-name",
    "page-has-heading-one",
    "region",
    "svg-img-alt",
    "target-size",
}
"""Rules that are of no worth where they found nothing to look at."""


def axe() -> str:
    """The auditor's script; skip the test where there is none, or fail it where backends are required."""
    chromium()
    if AXE.exists():
        return AXE.read_text()
    reason = "axe-core is not installed: make axe"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def audited(page: str, folder: Path, size: tuple[int, int], *, dark: bool) -> dict[str, Any]:
    """What axe-core says of a page."""
    found = found_on(page, AUDIT, folder, size, dark=dark, library=axe())
    assert isinstance(found, dict), found
    return found


async def well(folder: Path) -> Stage:
    """One project that has nothing to do."""
    stage = Stage(folder)
    await stage.start()
    return stage


async def unstarted(folder: Path) -> Stage:
    """One that has not begun."""
    return Stage(folder)


async def set_aside(folder: Path) -> Stage:
    """One of whose records some are refused."""
    stage = await well(folder)
    refused = [aside(number, Reason.REFUSED, "too long", stage.now_ms) for number in range(3)]
    await stage.commit("default", set_aside=refused)
    return stage


async def thirty(folder: Path) -> Stage:
    """Thirty, of which some are refused, and a destination that has just gone down."""
    stage = Stage(folder, *(f"team-{number:02}" for number in range(30)))
    await stage.start()
    for name in stage.projects[::4]:
        stage.running.health.poll_failed(name, SourceRefused("HTTP 401", 401), stage.now_ms)
    state = CircuitState("https://collector (logs)", Phase.OPEN, stage.now_ms, 1, 5, "refused", 1.0, None, 1)
    stage.running.health.circuit_changed(state, state)
    return stage


@pytest.mark.parametrize("make", [busy, well, unstarted, set_aside, thirty], ids=lambda make: make.__name__)
@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESK, False)], ids=["phone_dark", "desk_light"])
def test_an_auditor_finds_nothing_that_keeps_anybody_out(
    tmp_path: Path, make: Callable[[Path], Awaitable[Stage]], size: tuple[int, int], dark: bool
) -> None:
    async def page() -> str:
        stage = await make(tmp_path)
        return render(await Snapshots(stage.running).take(), LINKS).refreshing()

    found = audited(asyncio.run(page()), tmp_path, size, dark=dark)
    assert found["violations"] == []
    if make is busy:
        assert set(found["passes"]) >= MUST_PASS


def test_the_auditor_would_find_what_is_wrong(tmp_path: Path) -> None:
    body = '<body><p style="color:#ccc">faint</p><a href="/"></a></body>'
    faint = f"<!DOCTYPE html><html><head></head>{body}</html>"
    found = {rule for rule, _ in audited(faint, tmp_path, DESK, dark=False)["violations"]}
    assert found >= {"color-contrast", "html-has-lang", "link-name", "document-title", "region"}
