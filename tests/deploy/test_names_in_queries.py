"""What dashboards, alerts and links ask for is what the bridge writes: no name of theirs leads nowhere."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from own_telemetry_world import world
from query_names import (
    DEPLOY,
    alert_rules,
    dashboard_queries,
    dashboards,
    data_sources,
    logql,
    promql,
    traceql,
)

from otel_bridge.mapping import conventions
from otel_bridge.settings.model import MappingSettings
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import Kind, prometheus_label, prometheus_name

if TYPE_CHECKING:
    from pathlib import Path

# What Prometheus itself adds.
ITS_OWN_METRICS = {"up"}
ITS_OWN_LABELS = {"job", "instance", "le"}
# What Loki makes of a log record beside its attributes.
LOKIS = {"trace_id", "span_id", "severity_text", "detected_level"}
RESOURCE = {conventions.SERVICE_NAME, conventions.PROJECT, "deployment.environment.name"}


def exposed() -> dict[str, set[str]]:
    """Every series of /metrics by its name, with its labels."""
    series: dict[str, set[str]] = {}
    for metric in CATALOGUE:
        name = prometheus_name(metric)
        labels = {prometheus_label(attribute.name) for attribute in metric.attributes}
        suffixes = ("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        for suffix in suffixes:
            series[name + suffix] = labels
    return series


def attributes() -> set[str]:
    """Every attribute that the mapping writes under a name of its own."""
    return {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value)
    }


def promql_queries() -> list[tuple[str, str]]:
    links = data_sources()["tempo"]["jsonData"]["tracesToMetrics"]["queries"]
    return [
        *dashboard_queries("prometheus"),
        *((rule["alert"], rule["expr"]) for rule in alert_rules()),
        *((link["name"], link["query"].replace("$$__tags", 'composio_toolkit_slug="x"')) for link in links),
    ]


@pytest.mark.parametrize(("where", "query"), promql_queries())
def test_metrics_and_labels_are_exposed(where: str, query: str) -> None:
    names, known = promql(query), exposed()
    assert names.metrics, where
    assert names.metrics <= known.keys() | ITS_OWN_METRICS
    labels = set().union(*(known.get(name, set()) for name in names.metrics))
    assert names.labels <= labels | ITS_OWN_LABELS


async def test_what_the_catalogue_declares_is_what_metrics_really_shows(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.worker.run_once()
        await made.looked()
        families = made.telemetry.prometheus_text().decode()
    shown = set(re.findall(r"^([a-zA-Z_:][\w:]*)", families, re.MULTILINE))
    used = set().union(*(promql(query).metrics for _, query in promql_queries())) - ITS_OWN_METRICS
    # What has not happened yet has no series; that its name is declared is tested above.
    assert used & shown >= {
        "otel_bridge_watermark_age_seconds",
        "otel_bridge_delivery_lag_seconds_bucket",
        "otel_bridge_records_delivered_total",
        "otel_bridge_source_request_duration_seconds_count",
        "otel_bridge_budget_remaining",
        "gen_ai_execute_tool_duration_seconds_bucket",
        "otel_bridge_records_held",
        "otel_bridge_circuit_open",
    }


@pytest.mark.parametrize(("where", "query"), list(dashboard_queries("tempo")))
def test_trace_queries_ask_for_attributes_that_spans_have(where: str, query: str) -> None:
    asked = traceql(query)
    assert asked, where
    for name in asked:
        scope, _, attribute = name.partition(".")
        assert attribute in (RESOURCE if scope == "resource" else attributes() - RESOURCE)


@pytest.mark.parametrize(("where", "query"), list(dashboard_queries("loki")))
def test_log_queries_ask_for_attributes_that_log_records_have(where: str, query: str) -> None:
    names = logql(query)
    known = {prometheus_label(name) for name in attributes()}
    assert names.metrics, where
    # Only what Loki's configuration makes a label can select a stream.
    assert names.metrics <= {prometheus_label(name) for name in index_labels()}
    assert names.labels <= known | LOKIS


def index_labels() -> set[str]:
    text = (DEPLOY / "loki" / "loki.yaml").read_text()
    (found,) = re.findall(r"action: index_label\n\s+attributes: \[([^\]]*)\]", text)
    return {each.strip() for each in found.split(",")}


def test_labels_of_streams_have_few_values() -> None:
    assert index_labels() == RESOURCE


def test_links_of_data_sources_lead_from_attributes_that_are_written() -> None:
    tempo, loki = data_sources()["tempo"]["jsonData"], data_sources()["loki"]["jsonData"]
    for tag in (*tempo["tracesToLogsV2"]["tags"], *tempo["tracesToMetrics"]["tags"]):
        assert tag["key"] in attributes()
        assert tag["value"] == prometheus_label(tag["key"])
    series = exposed()["gen_ai_execute_tool_duration_seconds_bucket"]
    assert {tag["value"] for tag in tempo["tracesToMetrics"]["tags"]} <= series
    assert {"trace_id", "span_id"} <= set(
        re.findall(r"\| (\w+)=", tempo["tracesToLogsV2"]["query"].replace("$$", ""))
    )
    assert loki["derivedFields"][0]["matcherRegex"] == "trace_id"
    uids = {each["uid"] for each in data_sources().values()}
    for link in (tempo["tracesToLogsV2"], tempo["tracesToMetrics"], tempo["serviceMap"]):
        assert link["datasourceUid"] in uids


def test_panels_use_data_sources_that_are_provisioned() -> None:
    known = {(each["type"], each["uid"]) for each in data_sources().values()}
    for _, dashboard in dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                assert (target["datasource"]["type"], target["datasource"]["uid"]) in known


def test_dashboards_are_not_named_as_their_folder_is() -> None:
    text = (DEPLOY / "grafana" / "dashboards" / "dashboards.yaml").read_text()
    # Grafana saves no such dashboard.
    assert not set(re.findall(r"folder: (.+)", text)) & {made["title"] for _, made in dashboards()}


def test_no_series_is_kept_for_each_of_a_panels_sessions() -> None:
    for _, dashboard in dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                query = target.get("expr") or target.get("query", "")
                if re.search(r"by \((span\.session\.id|session_id)\)", query):
                    # At each step of a range the largest ten are others: hundreds in a few hours.
                    assert "topk(10" in query, panel["title"]
                    assert "instant" in (target["queryType"], target.get("metricsQueryType")), panel["title"]


def test_legends_name_labels_that_their_query_keeps() -> None:
    for name, dashboard in dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                kept = target.get("expr", "")
                for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
                    assert label in kept, f"{name}: {panel['title']}"


def test_what_a_variable_shows_as_its_query_is_its_query() -> None:
    for name, dashboard in dashboards():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                assert variable["definition"] == variable["query"]["query"], f"{name}: ${variable['name']}"


def test_columns_that_are_renamed_are_labels_that_their_query_keeps() -> None:
    for name, dashboard in dashboards():
        for panel in dashboard["panels"]:
            kept = re.findall(r"\w+", " ".join(target.get("expr", "") for target in panel.get("targets", ())))
            for step in panel.get("transformations", ()):
                renamed = step["options"].get("renameByName", {}).keys() - {"Time", "Value"}
                assert renamed <= set(kept), f"{name}: {panel['title']}"


def pages() -> list[Path]:
    return sorted((DEPLOY.parent / "docs" / "backends").glob("*.md"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_what_a_page_says_to_click_or_type_is_written(page: Path) -> None:
    codes = [each.replace("\\|", "|") for each in re.findall(r"`([^`\n]+)`", page.read_text())]
    asked: set[str] = set()
    for code in codes:
        if re.match(r"\{ (span|resource)\.", code):
            asked |= {name.partition(".")[2] for name in traceql(code)}
        elif re.match(r"\{\w+=", code):
            names = logql(code)
            assert names.metrics <= {prometheus_label(name) for name in index_labels()}
            assert names.labels <= {prometheus_label(name) for name in attributes()} | LOKIS
        # Datadog's @name:value, Jaeger's name=value, Phoenix's attributes["a"]["b"].
        asked |= set(re.findall(r"@([a-z_]+(?:\.[a-z_]+)+)", code))
        asked |= set(re.findall(r"^([a-z_]+(?:\.[a-z_]+)+)=", code))
        asked |= {
            ".".join(re.findall(r'"(\w+)"', path)) for path in re.findall(r'attributes((?:\["\w+"\])+)', code)
        }
    assert page.stem == "collector" or asked, "nothing is told to click"
    assert asked <= attributes() | RESOURCE


def jaeger_links() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((DEPLOY / "jaeger" / "ui.json").read_text())["linkPatterns"]
    return found


@pytest.mark.parametrize("link", jaeger_links(), ids=lambda link: link["key"])
def test_links_of_jaeger_hang_on_attributes_that_spans_have(link: dict[str, str]) -> None:
    assert link["key"] in attributes()
    assert set(re.findall(r"#\{([^}]*)\}", link["url"] + link["text"])) <= attributes()
    url = urlsplit(link["url"].replace("#{", "<").replace("}", ">"))
    if not url.netloc:
        asked = parse_qs(url.query)
        assert asked["service"] == [MappingSettings().service_name]
        if "tags" in asked:
            assert json.loads(unquote(asked["tags"][0])) == {link["key"]: f"<{link['key']}>"}


def test_every_alert_says_what_to_do() -> None:
    for rule in alert_rules():
        assert {"summary", "description", "runbook"} <= rule["annotations"].keys()
        assert rule["labels"]["severity"] in ("warning", "critical")
        labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert labels <= promql(rule["expr"]).labels, rule["alert"]
