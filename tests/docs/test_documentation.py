"""The documentation says what the program does: nothing left out, nothing made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from settings_table import DOCS, filled

from otel_bridge.cli.commands import commands
from otel_bridge.mapping import conventions
from otel_bridge.mapping.identity import Rule
from otel_bridge.settings import load

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_NOT_ATTRIBUTES = {
    "SCOPE_NAME",
    "SCHEMA_URL",
    "EXECUTE_TOOL",
    "EXTENSION",
    "ERROR_TYPE_OTHER",
    "EVENT_PREFIX",
}


def attributes() -> set[str]:
    names = set()
    for constant, value in vars(conventions).items():
        if constant.isupper() and constant not in _NOT_ATTRIBUTES and not constant.endswith("_VERSION"):
            names.add(value + "*" if constant.endswith("_PREFIX") else value)
    return names


def test_every_setting_is_in_the_table_as_the_program_has_it() -> None:
    page = DOCS / "settings.md"
    assert filled(page.read_text()) == page.read_text(), "run: python tests/settings_table.py"


def test_every_attribute_is_documented_and_no_other() -> None:
    words = set(_CODE.findall((DOCS / "mapping.md").read_text()))
    assert attributes() <= words
    documented = {word for word in words if re.fullmatch(r"(composio|gen_ai)\.[a-z_.*]+", word)}
    assert documented - attributes() <= {"gen_ai.execute_tool.duration", "composio."}


def test_every_command_is_in_the_readme_and_no_other() -> None:
    known = set(commands.commands)  # type: ignore[attr-defined]  # a group has them
    shown = set(re.findall(r"`otel-bridge ([a-z]+)", (ROOT / "README.md").read_text()))
    assert shown == known


def test_the_rules_of_identity_are_told_apart() -> None:
    assert len({rule.text for rule in Rule}) == len(Rule)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_the_settings_file_of_the_documentation_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "settings.md").read_text(), re.DOTALL)
    key = tmp_path / "desk_key"
    key.write_text("ak_desk")
    path = tmp_path / "bridge.yaml"
    path.write_text(example.replace("/run/secrets/desk_key", str(key)))
    settings = load(path, {"SHOP_COMPOSIO_KEY": "ak_shop", "OTLP_KEY": "x"})
    assert [project.name for project in settings.projects] == ["shop", "desk"]
