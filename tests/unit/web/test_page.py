"""The page: what it says, that it is safe with any record, for screen readers too, and small."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_stage import LINKS, Call, Stage, aside, asking, busy, deliveries

from otel_bridge.errors import SourceRefused
from otel_bridge.ledger import Reason
from otel_bridge.web import page as page_module
from otel_bridge.web.page import MOST_NAMED, MOST_PROJECTS, render
from otel_bridge.web.snapshot import Snapshots
from otel_bridge.web.troubles import READY
from otel_bridge.web.waterfall import MOST_ROWS
from otel_bridge.web.words import duration, waits

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

MOST_BYTES = 100_000
VOID = {"meta", "wbr", "col"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} \u202e\x00\x1b[31m"


class Outline(HTMLParser):
    """Reads a page: its tags in their order, each with its attributes, and whether they close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


async def page_of(stage: Stage) -> str:
    return render(await Snapshots(stage.running).take(), LINKS).refreshing()


async def test_the_page_says_in_words_how_it_stands(stage: Stage) -> None:
    text = Outline(await page_of(stage)).text
    assert "Composio refuses the bridge. 1 of 2 projects is well." in text
    assert "desk: Give a key that is valid" in text
    assert "list: HTTP 403 from Composio: this key lacks the permission" in text
    assert "3 s behind, 1,306 delivered in the last hour, 2 set aside" in text
    assert "48 s behind, 0 delivered in the last hour, nothing set aside" in text
    assert (
        "312 of the bridge's 1,000 requests used in the last 1 min; 1,433 of the organisation's 2,000 left"
        in text
    )
    assert "failed: 429 rate limit of the toolkit reached, retry in 30 s" in text
    assert "refused by the destination traces: attribute value too long" in text.replace("  ", " ") or (
        "refused by the destinationtraces: attribute value too long" in text
    )
    assert "1 listed, but its detail is not there, 1 refused by the destination." in text
    assert "in 1 min 32 s" in text
    assert "otel-bridge retry tries all of them again" in text
    assert "None is known to be down" in text


async def test_when_all_is_well_it_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    text = Outline(await page_of(stage)).text
    assert "Everything is delivered as it happens." in text
    assert "up to date, 0 delivered in the last hour, nothing set aside" in text
    assert "None delivered since the start." in text
    assert "Nothing: what was collected is delivered." in text


async def test_calls_stand_under_the_calls_that_made_them_with_links_to_their_trace(stage: Stage) -> None:
    outline = Outline(await page_of(stage))
    fall = [
        attributes.get("class") for attributes in outline.all("th") if "d" in (attributes.get("class") or "")
    ]
    assert fall[:5] == ["d0", "d0", "d1", "d1", "d0"]
    urls = [attributes["href"] for attributes in outline.all("a") if "rel" in attributes]
    assert urls[0] == "http://localhost:16686/trace/1f3a9c011f3a9c011f3a9c011f3a9c01"
    low = 0x1F3A9C011F3A9C01
    assert str(urls[1]).startswith(f"https://app.datadoghq.eu/apm/trace/{low}?start=17764")


async def test_nothing_on_the_page_comes_from_elsewhere_or_runs(stage: Stage) -> None:
    page = await page_of(stage)
    outline = Outline(page)
    assert not outline.all("script", "link", "img", "iframe", "object", "embed", "form", "input", "base")
    for _, attributes in outline.tags:
        assert not [
            name for name in attributes if name.startswith("on") or name in {"style", "src", "srcset"}
        ]
    assert "url(" not in page
    assert "@import" not in page


async def test_the_policy_allows_this_style_and_nothing_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"style-src 'sha256-{digest}'"
    )


async def test_it_refreshes_itself_until_it_is_paused(client: httpx.AsyncClient) -> None:
    running = await client.get("/")
    assert running.headers["refresh"] == "10"
    assert 'href="?refresh=off">Pause' in running.text
    paused = await client.get("/?refresh=off")
    assert "refresh" not in paused.headers
    assert 'href="./">Refresh every 10 s' in paused.text
    for odd in ("on", "<script>", "0", ""):
        assert (await client.get("/", params={"refresh": odd})).headers["refresh"] == "10"


async def test_every_graphic_has_words_and_every_table_its_headers(stage: Stage) -> None:
    outline = Outline(await page_of(stage))
    assert outline.open == []
    for attributes in outline.all("svg"):
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"] or "") > 5
    assert len(outline.all("h1")) == 1
    assert len(outline.all("main")) == 1
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in outline.all("section", "article"):
        assert attributes["aria-labelledby"] in ids
    assert all(attributes.get("scope") in {"row", "col"} for attributes in outline.all("th"))
    labels = [attributes["aria-label"] for attributes in outline.all("a") if "rel" in attributes]
    assert len(labels) == len(set(labels)), "each link says which trace it leads to"
    assert outline.tags[0][1] == {"lang": "en"}


async def test_whatever_a_record_says_is_text_on_the_page(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    plain = {name for _, attributes in Outline(await page_of(stage)).tags for name in attributes}
    drawn = {
        "role",
        "aria-label",
        "aria-hidden",
        "scope",
        "title",
        "rel",
        "datetime",
        "d",
        "x",
        "y",
        "width",
        "height",
        "viewbox",
    }
    drawn |= {"tabindex", "preserveaspectratio"}
    numbers = itertools.count(1)

    async def shows_as_text(name: str, message: str) -> None:
        call = Call(name, 0, 10, error=message or "x")
        stage.deliver("default", deliveries([call], next(numbers), stage.now_ms))
        await stage.commit("default", set_aside=[aside(1, Reason.REFUSED, message, stage.now_ms)])
        page = await page_of(stage)
        outline = Outline(page)
        assert outline.open == []
        assert not outline.all("script", "img")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)
        assert {name for _, attributes in outline.tags for name in attributes} <= plain | drawn
        assert len(page.encode()) < MOST_BYTES

    await shows_as_text(EVIL, EVIL * 5)
    assert "alert(1)" in Outline(await page_of(stage)).text

    @given(st.text(max_size=40), st.text(max_size=300))
    @settings(max_examples=25)
    def any_text(name: str, message: str) -> None:
        coroutine = shows_as_text(name, message)
        # Nothing in it waits: the ledger is in memory.
        with pytest.raises(StopIteration):
            coroutine.send(None)

    any_text()


@pytest.mark.parametrize("count", [1, 12, 400])
async def test_the_page_stays_small_whatever_there_is_to_show(tmp_path: Path, count: int) -> None:
    projects = [f"{'é<&' * 30}{number:04}" for number in range(count)]
    stage = Stage(tmp_path, *projects)
    await stage.start()
    for number, project in enumerate(projects[:50]):
        story = [Call("ÄLONG_" * 30, each * 7, 1000, error="<é>" * 200) for each in range(60)]
        stage.deliver(project, deliveries(story, number + 1, stage.now_ms - number))
        stage.spent(project, 10, 1000)
        await stage.commit(
            project,
            set_aside=[aside(each, Reason.UNREADABLE, "<é>" * 90, stage.now_ms) for each in range(30)],
        )
    stage.clock.step_wall_clock(3_600_000)
    page = await page_of(stage)
    assert len(page.encode()) < MOST_BYTES
    outline = Outline(page)
    rows = [each for each in outline.all("th") if (each.get("class") or "").startswith("d")]
    assert 0 < len(rows) <= MOST_ROWS
    assert re.search(r"and \d+ more", outline.text)
    if count > MOST_PROJECTS + MOST_NAMED:
        assert re.search(r"and \d+ more, see /api/status", outline.text)


async def test_the_least_page_still_says_how_it_stands(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_BYTES", 1)
    text = Outline(await page_of(stage)).text
    assert "list: HTTP 403" in text
    assert "3 s behind, 1,306 delivered in the last hour, 2 set aside" in text
    assert "and 4 more" in text


async def test_troubled_projects_come_first(stage: Stage) -> None:
    page = await page_of(stage)
    assert page.index("desk</h2>") < page.index("shop</h2>")


async def test_those_that_had_something_to_do_come_before_those_that_had_not(tmp_path: Path) -> None:
    stage = Stage(tmp_path, *(f"p{number:02}" for number in range(40)))
    await stage.start()
    stage.deliver("p37", deliveries([Call("A", 0, 10)], 1, stage.now_ms))
    page = await page_of(stage)
    assert page.index("p37</h2>") < page.index("p00</h2>") < page.index("p01</h2>")
    assert "p36</h2>" not in page
    assert page.count('class="spark"') == 1, "what would be empty is not drawn"
    assert "Deliveries, last hour none" in " ".join(Outline(page).text.split())


async def test_a_page_that_knows_nothing_yet_claims_nothing(tmp_path: Path) -> None:
    text = Outline(await page_of(Stage(tmp_path))).text
    assert "nothing collected yet" in text
    for claim in ("up to date", "as it happens", "every destination"):
        assert claim not in text


async def test_a_budget_without_a_limit_and_one_that_is_blocked_are_told(tmp_path: Path) -> None:
    stage = await busy(tmp_path)
    stage.spent("shop", 5, 0)
    stage.running.budgets["desk"].observe({"retry-after": "40"}, 429)
    text = Outline(await page_of(stage)).text
    assert "No request is sent for" in text
    from otel_bridge.receiver.budget import Budget  # noqa: PLC0415 - the one use

    stage.running.budgets = {"shop": Budget(0.5, stage.clock, name="shop")}
    text = Outline(await page_of(stage)).text
    assert "0 requests in the last 1 min; Composio has named no limit" in text


async def test_a_far_side_that_is_down_is_named(stage: Stage) -> None:
    from otel_bridge.circuit_state import CircuitState, Phase  # noqa: PLC0415 - the one use

    state = CircuitState(
        "https://collector (traces)", Phase.OPEN, stage.now_ms - 30_000, 30, 5, "refused", 1.0, None, 1
    )
    stage.running.health.circuit_changed(state, state)
    text = Outline(await page_of(stage)).text
    assert "https://collector (traces) is down: refused (for 30 s)" in text
    assert "went down" not in text, "it is told once"
    just_now = replace(state, since_ms=stage.now_ms - 5_000)
    stage.running.health.circuit_changed(just_now, just_now)
    text = Outline(await page_of(stage)).text
    assert "https://collector (traces) went down 5 s ago: refused" in text
    async with asking(stage) as client:
        circuits = (await client.get("/api/status")).json()["circuits"]
    assert [each["name"] for each in circuits] == ["https://collector (traces)"]


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (400_000, "400 µs"),
        (1_000_000, "1 ms"),
        (999_400_000, "999 ms"),
        (1_500_000_000, "1.50 s"),
        (61_000_000_000, "1 min 1 s"),
        (93_600_000_000_000, "1 d 2 h"),
    ],
)
def test_a_calls_duration_in_words(ns: int, words: str) -> None:
    assert duration(ns) == words


async def test_the_page_is_served_as_html(stage: Stage) -> None:
    async with asking(stage) as client:
        answer = await client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!DOCTYPE html>")


async def test_what_is_set_aside_stands_before_the_calls_and_is_told_at_the_top(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    page = await page_of(stage)
    assert page.index("Latest tool calls</h2>") < page.index("Set aside</h2>")
    await stage.commit("default", set_aside=[aside(1, Reason.REFUSED, "too long", stage.now_ms)])
    page = await page_of(stage)
    assert page.index("Set aside</h2>") < page.index("Latest tool calls</h2>")
    text = Outline(page).text
    assert text.startswith("set aside · otel-bridge")
    assert "Delivering, but 1 record is set aside." in text
    assert READY not in text


async def test_a_project_in_trouble_that_is_not_shown_in_full_is_marked(tmp_path: Path) -> None:
    stage = Stage(tmp_path, *(f"p{number:02}" for number in range(MOST_PROJECTS + 2)))
    await stage.start()
    for name in stage.projects[1:]:
        stage.running.health.poll_failed(name, SourceRefused("HTTP 401", 401), stage.now_ms)
    page = await page_of(stage)
    assert re.search(r'"row">p07</th><td><span class="bad">trouble: </span>up to date', page)
    assert re.search(r'"row">p00</th><td>up to date', page)


async def test_a_budget_that_is_used_up_says_so_and_which_setting_raises_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.spent("default", 1_000, 1_000)
    (project,) = (await Snapshots(stage.running).take()).projects
    assert project.budget is not None
    assert waits(project.budget, stage.now_ms) is None, "nobody waits"
    assert "OTEL_BRIDGE_RATE_SHARE" in (waits(replace(project.budget, waiting=3), stage.now_ms) or "")
    assert waits(replace(project.budget, waiting=3, used=10), stage.now_ms) is None


@pytest.mark.parametrize(
    ("message", "shown"),
    [("quota", "failed: quota"), ("GMAIL_SEND_EMAIL failed: quota", "failed: quota")],
)
async def test_a_failed_call_says_so_in_words_and_once(tmp_path: Path, message: str, shown: str) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    stage.deliver("default", deliveries([Call("GMAIL_SEND_EMAIL", 0, 10, message)], 1, stage.now_ms))
    outline = Outline(await page_of(stage))
    assert f'"why">{shown}<' in (await page_of(stage))
    assert outline.text.count("failed: ") == 1
