"""docs/architecture.md follows one record through the code: what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "otel_bridge"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = sorted(set(re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+\.py)`", PAGE)))
NAMES = sorted(set(re.findall(r"`([A-Z][A-Za-z]+\.[a-z_]+)`", PAGE)))
WORDS = re.findall(r"^\| ([a-z -]+) \| (?:of a|a |the |a\b)", PAGE.partition("## Words")[2], re.MULTILINE)


def defined(path: Path) -> set[str]:
    """The functions, classes, and methods (``Class.method``) that a module defines."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            for each in node.body:
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    found.add(f"{node.name}.{each.name}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_named_is_there(module: str) -> None:
    assert (CODE / module).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_is_named_is_defined_in_a_module_that_is_named(name: str) -> None:
    assert any(name in defined(CODE / module) for module in MODULES)


def test_what_is_named_beside_a_module_is_defined_there() -> None:
    pairs = re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+\.py)`\s+`([A-Za-z_.]+)`", PAGE)
    assert len(pairs) >= 10
    missing = [(module, name) for module, name in pairs if name not in defined(CODE / module)]
    assert not missing


def test_every_folder_is_named() -> None:
    folders = {each.parent.name for each in CODE.glob("*/__init__.py")}
    assert {each for each in folders if f"`{each}/`" not in PAGE} == set()


def test_every_word_of_the_glossary_is_used_in_the_code() -> None:
    text = "\n".join(each.read_text(encoding="utf-8").lower() for each in CODE.rglob("*.py"))
    assert len(WORDS) >= 12
    assert [word for word in WORDS if word.replace("-", "") not in text.replace("-", "")] == []
