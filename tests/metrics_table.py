"""The tables of docs/metrics.md and docs/logs.md, made from the catalogues of the program.

``python tests/metrics_table.py`` writes them; a test fails when they are not as the program is.
"""

from __future__ import annotations

import re
from pathlib import Path

from otel_bridge.service.actions import ACTIONS
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import Attribute, Metric, prometheus_label, prometheus_name

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "metrics.md", DOCS / "logs.md")
_BLOCK = re.compile(r"(<!-- from the catalogue: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _rows(metrics: list[Metric]) -> str:
    rows = ["| metric | at `/metrics` | kind, unit | attributes | meaning |", "|---|---|---|---|---|"]
    for metric in metrics:
        attributes = ", ".join(f"`{attribute.name}`" for attribute in metric.attributes)
        cells = (f"`{metric.name}`", f"`{prometheus_name(metric)}`", f"{metric.kind}, `{metric.unit}`")
        rows.append(f"| {' | '.join(cells)} | {attributes} | {metric.description} |")
    return "\n".join(rows) + "\n"


def own_table() -> str:
    """The metrics of the bridge."""
    return _rows([metric for metric in CATALOGUE if not metric.of_tool_calls])


def tool_call_table() -> str:
    """The metrics of tool calls."""
    return _rows([metric for metric in CATALOGUE if metric.of_tool_calls])


def attribute_table() -> str:
    """What metrics are counted by."""
    found: dict[tuple[str, str], Attribute] = {}
    for metric in CATALOGUE:
        for attribute in metric.attributes:
            found.setdefault((attribute.name, _values(attribute)), attribute)
    rows = ["| attribute | label at `/metrics` | values |", "|---|---|---|"]
    for (name, values), _ in sorted(found.items()):
        rows.append(f"| `{name}` | `{prometheus_label(name)}` | {values} |")
    return "\n".join(rows) + "\n"


def _values(attribute: Attribute) -> str:
    return ", ".join(f"`{value}`" for value in attribute.values) or attribute.bound


def action_table() -> str:
    """What the log's lines are about."""
    rows = ["| `action` | what happened |", "|---|---|"]
    rows += [f"| `{action}` | {meaning} |" for action, meaning in ACTIONS.items()]
    return "\n".join(rows) + "\n"


TABLES = {
    "own": own_table,
    "tool_calls": tool_call_table,
    "attributes": attribute_table,
    "actions": action_table,
}


def filled(text: str) -> str:
    """A page with its tables made anew."""
    return _BLOCK.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
