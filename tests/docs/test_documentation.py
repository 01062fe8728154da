"""The documentation says what the program does: nothing left out, nothing made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documentation import attributes_of_records
from settings_table import DOCS, filled

from otel_bridge.mapping.identity import Rule

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


def test_every_setting_is_in_the_table_as_the_program_has_it() -> None:
    page = DOCS / "settings.md"
    assert filled(page.read_text()) == page.read_text(), "run: python tests/settings_table.py"


def test_every_attribute_is_documented_and_no_other() -> None:
    words = set(_CODE.findall((DOCS / "mapping.md").read_text()))
    assert attributes_of_records() <= words
    documented = {word for word in words if re.fullmatch(r"(composio|gen_ai)\.[a-z_.*]+", word)}
    assert documented - attributes_of_records() <= {"gen_ai.execute_tool.duration", "composio."}


def test_the_rules_of_identity_are_told_apart() -> None:
    assert len({rule.text for rule in Rule}) == len(Rule)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        other = page.parent / target if target else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = [target for target, _ in _LINK.findall(page.read_text())]
        todo += [page.parent / target for target in targets if target and "://" not in target]
    assert {page.resolve() for page in DOCS.rglob("*.md")} - reached == set()
