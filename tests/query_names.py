"""The names that queries use: metrics and labels of PromQL, attributes of TraceQL and LogQL.

No parser of those languages: just enough of their lexis to tell names from functions, keywords and texts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[1] / "deploy"
_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`")
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_KEYWORDS = frozenset(
    ["by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"]
)
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\{([^{}]*)\}")
_MATCHER = re.compile(rf"({_NAME})\s*(?:=~|!~|!=|=)")
_CALL = re.compile(rf"{_NAME}\s*\(")
_DURATION = re.compile(r"\[[^\]]*\]")
_LABEL_VALUES = re.compile(r"label_values\((.*),\s*(\w+)\)\Z", re.DOTALL)


@dataclass
class Names:
    """What a query speaks of."""

    metrics: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


def promql(query: str) -> Names:
    """The metrics and labels of a PromQL query, or of Grafana's ``label_values``."""
    names = Names()
    asked = _LABEL_VALUES.match(query)
    if asked:
        names.labels.add(asked[2])
        query = asked[1]
    text = _DURATION.sub("", _TEXT.sub('""', query))
    for group in _GROUPING.findall(text):
        names.labels.update(part.strip() for part in group.split(",") if part.strip())
    text = _GROUPING.sub(" ", text)
    for selector in _SELECTOR.findall(text):
        names.labels.update(_MATCHER.findall(selector))
    text = _CALL.sub("(", _SELECTOR.sub(" ", text))
    names.metrics.update(each for each in re.findall(rf"(?<![\w$.]){_NAME}", text) if each not in _KEYWORDS)
    return names


def traceql(query: str) -> set[str]:
    """The attributes of a TraceQL query, with their scope: ``span.user.id``, ``resource.service.name``."""
    return set(re.findall(r"\b(?:span|resource)\.[a-zA-Z_][\w.]*", _TEXT.sub('""', query)))


def logql(query: str) -> Names:
    """The labels that a LogQL query selects streams by (as metrics), and those of structured metadata."""
    text = _DURATION.sub("", _TEXT.sub('""', query))
    names = Names()
    for selector in _SELECTOR.findall(text):
        names.metrics.update(_MATCHER.findall(selector))
    for group in _GROUPING.findall(text):
        names.labels.update(part.strip() for part in group.split(",") if part.strip())
    rest = _SELECTOR.sub(" ", text)
    names.labels.update(re.findall(rf"\|\s*({_NAME})\s*(?:=~|!~|!=|=)", rest))
    names.labels.update(re.findall(rf"\bunwrap\s+({_NAME})", rest))
    return names


def dashboards() -> list[tuple[str, dict[str, Any]]]:
    """Every dashboard by its file's name."""
    folder = DEPLOY / "grafana" / "dashboards"
    return [(path.name, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def dashboard_queries(kind: str) -> Iterator[tuple[str, str]]:
    """Every query of one kind of data source, with where it stands."""
    for name, dashboard in dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                if target["datasource"]["type"] == kind:
                    yield f"{name}: {panel['title']}", target.get("expr") or target["query"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query" and variable["datasource"]["type"] == kind:
                yield f"{name}: ${variable['name']}", variable["query"]["query"]


def alert_rules() -> list[dict[str, Any]]:
    """Every alert rule."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def data_sources() -> dict[str, dict[str, Any]]:
    """Grafana's data sources by their type."""
    text = (DEPLOY / "grafana" / "datasources" / "datasources.yaml").read_text()
    return {each["type"]: each for each in yaml.safe_load(text)["datasources"]}
