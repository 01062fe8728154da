"""docs/metrics.md and docs/logs.md say what the program measures and writes: all of it, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documentation import ROOT, attributes_of_records, pages
from metrics_table import DOCS, PAGES, filled

import otel_bridge
from otel_bridge.service.actions import ACTIONS
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import prometheus_label, prometheus_name
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


NAME = re.compile(r"(?<![\w./@-])(?:composio|gen_ai|otel_bridge)[._][a-z][a-z0-9_.*]*")
OTHERS = {
    "composio.client": "the vendor's SDK in code",
    "composio.create": "the vendor's SDK in code",
    "composio_client": "the vendor's client",
    "otel_bridge.check": "the record that check sends",
    "otel_bridge.instrumentation": "a module",
    "otel_bridge.project_settings": "a table",
    "gen_ai_execute_tool_duration_seconds_.*": "a pattern over a metric's series",
}
"""Names of the same form that are neither metric nor attribute."""


def known_names() -> set[str]:
    names = attributes_of_records()
    names |= {prometheus_label(name) for name in names}  # as Loki writes them
    names |= {f"otel_bridge.{action}" for action in ACTIONS} | set(OTHERS)
    for metric in CATALOGUE:
        family = prometheus_name(metric)
        names |= {metric.name, family, *(f"{family}_{end}" for end in ("bucket", "sum", "count"))}
        names |= {name for each in metric.attributes for name in (each.name, prometheus_label(each.name))}
    return names


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_metric_or_an_attribute_that_does_not_exist(page: Path) -> None:
    named = {name.rstrip(".") for name in NAME.findall(page.read_text())}
    assert named - known_names() == set()


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
