"""docs/metrics.md and docs/logs.md say what the program measures and writes: all of it, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from metrics_table import DOCS, PAGES, filled

import otel_bridge
from otel_bridge.service.actions import ACTIONS
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import prometheus_name
from otel_bridge.telemetry.log_records import OWN_EXPORT

SOURCES = sorted(Path(otel_bridge.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_as_the_program_is(page: Path) -> None:
    assert filled(page.read_text()) == page.read_text(), "run: python tests/metrics_table.py"


def test_every_metric_is_documented_and_no_other() -> None:
    words = set(re.findall(r"`([^`\n]+)`", (DOCS / "metrics.md").read_text()))
    names = {metric.name for metric in CATALOGUE} | {prometheus_name(metric) for metric in CATALOGUE}
    assert names <= words
    attributes = {attribute.name for metric in CATALOGUE for attribute in metric.attributes}
    made_up = {word for word in words if word.startswith("otel_bridge.")} - names - attributes
    assert not made_up


def test_every_action_of_the_log_is_in_the_catalogue_and_no_other() -> None:
    written = {action for source in SOURCES for action in actions_in(source)}
    assert written == set(ACTIONS)


def actions_in(source: Path) -> set[str]:
    """The actions that a module gives to ``event``: literals, and what its variables of that use hold."""
    tree = ast.parse(source.read_text())
    given = [
        node.args[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "event"
    ]
    found = {text for argument in given for text in texts(argument)}
    names = {argument.id for argument in given if isinstance(argument, ast.Name)}
    if "OWN_EXPORT" in names:
        found.add(OWN_EXPORT)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and name.id in names:
                    found |= texts(value)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in names:
            found |= texts(node.value) if node.value else set()
    return found


def texts(expression: ast.expr) -> set[str]:
    if isinstance(expression, ast.IfExp):
        return texts(expression.body) | texts(expression.orelse)
    value = expression.value if isinstance(expression, ast.Constant) else None
    return {value} if isinstance(value, str) else set()
