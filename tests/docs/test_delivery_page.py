"""The pages on delivery and security name tests: each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = re.compile(r"`(tests/[\w/.]+)`")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("page", ["delivery.md", "security.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [path for path in FILES.findall(text) if not (ROOT / path).exists()] == []
    named = NAMED.findall(text)
    assert named
    missing = [f"{file}::{name}" for file, name in named if name not in functions_in(ROOT / file)]
    assert missing == []


def test_every_test_of_the_fault_suite_stands_on_the_page() -> None:
    named = {f"{file}::{name}" for file, name in NAMED.findall((ROOT / "docs" / "delivery.md").read_text())}
    there = {
        f"tests/faults/{file.name}::{name}"
        for file in (ROOT / "tests" / "faults").glob("test_*.py")
        for name in functions_in(file)
        if name.startswith("test_")
    }
    assert there - named == set()


def functions_in(file: Path) -> set[str]:
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
