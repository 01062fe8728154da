"""docs/commands.md says what the commands, their options and the endpoints are: all of them, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands_page import PAGE, filled, told
from documentation import DOCS, ROOT, blocks_in, pages

import otel_bridge
from otel_bridge.cli.commands import commands
from otel_bridge.service.reasons import Code
from otel_bridge.settings import variables

GROUP: Any = commands
OPTIONS = {
    name: {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
    for name, command in GROUP.commands.items()
}
GENERAL = {"--help", "--version", "--install-completion", "--show-completion"}
ENDPOINT = re.compile(r"`(GET|POST) (/[\w./{}-]*)`")
_CALL = re.compile(r"\botel-bridge ([a-z]+)([^|;&\n`]*)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def test_the_help_texts_are_as_the_program_prints_them() -> None:
    assert filled(PAGE.read_text()) == PAGE.read_text(), "run: python tests/commands_page.py"


def test_every_command_has_a_section_and_a_help_text_and_no_other_has() -> None:
    text = PAGE.read_text()
    assert set(told(text)) == {"otel-bridge", *GROUP.commands}
    assert set(re.findall(r"^## ([a-z-]+)$", text, re.MULTILINE)) == set(GROUP.commands)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_calls_a_command_or_an_option_that_does_not_exist(page: Path) -> None:
    code = [block.code for block in blocks_in(page) if block.language in {"sh", "bash", "console"}]
    for command, rest in _CALL.findall("\n".join([*code, *_SPAN.findall(page.read_text())])):
        assert command in GROUP.commands, f"{page.name}: otel-bridge {command}"
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", rest.partition(" #")[0]):
            assert option in OPTIONS[command] | GENERAL, f"{page.name}: otel-bridge {command} {option}"


def test_every_command_is_in_the_readme_and_no_other() -> None:
    shown = set(re.findall(r"`otel-bridge ([a-z]+)", (ROOT / "README.md").read_text()))
    assert shown == set(GROUP.commands)


def routes() -> set[str]:
    """The paths that the web layer gives a route."""
    sources = (Path(otel_bridge.__file__).parent / "web").glob("*.py")
    return {path for source in sources for path in re.findall(r'\bRoute\(\s*"(/[^"]*)"', source.read_text())}


def test_every_endpoint_is_documented_and_no_other() -> None:
    documented = {path for _, path in ENDPOINT.findall(PAGE.read_text())}
    assert documented == routes()


def test_the_openapi_file_has_the_documented_endpoints() -> None:
    described = yaml.safe_load((Path(otel_bridge.__file__).parent / "web" / "openapi.yaml").read_text())
    there = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert set(ENDPOINT.findall(PAGE.read_text())) == there


def test_the_page_for_who_operates_it_has_every_endpoint_and_reason() -> None:
    page = (DOCS / "operations.md").read_text()
    assert set(re.findall(r"^\| `(?:GET|POST) (/\S*)` \|", page, re.MULTILINE)) == routes()
    section = page.partition("## Is it well?")[2].partition("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in row.split("`")[1::2]
    }
    assert named == {code.value for code in Code}


def test_no_page_names_a_variable_that_does_not_exist() -> None:
    settings = {variable for _, variable, _ in variables()}
    known = {name for each in settings for name in (each.name, each.file_name) if name}
    source = "\n".join(file.read_text() for file in Path(otel_bridge.__file__).parent.rglob("*.py"))
    for page in pages():
        for name in set(re.findall(r"\bOTEL_BRIDGE_[A-Z_]+\b", page.read_text())):
            if name.startswith("OTEL_BRIDGE_TEST_") or name == "OTEL_BRIDGE_REQUIRE_BACKENDS":
                continue  # the tests' own, on the pages for those who run them
            assert name in known or f'"{name}"' in source, f"{page.relative_to(DOCS.parent)}: {name}"
