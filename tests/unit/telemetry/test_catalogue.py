"""The declarations keep to the conventions of OpenTelemetry and Prometheus."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from inspect import signature
from unittest.mock import create_autospec

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.semconv import attributes, metrics
from opentelemetry.semconv._incubating import attributes as new_attributes
from opentelemetry.semconv._incubating import metrics as new_metrics

from otel_bridge.telemetry import catalogue as c
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import Kind, Metric, prometheus_label, prometheus_name

EVERY = pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)


@EVERY
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", metric.name)
    assert not metric.name.endswith(("total", "seconds", "bytes", "count"))
    assert re.fullmatch(r"s|By|1|\{[a-z]+\}", metric.unit)
    assert metric.description.endswith(".")
    assert re.fullmatch(r"[a-z_:][a-z0-9_:]*", prometheus_name(metric))


@EVERY
def test_every_attribute_is_bounded_and_has_a_namespace(metric: Metric) -> None:
    for attribute in metric.attributes:
        assert attribute.values or attribute.bound
        assert "." in attribute.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", prometheus_label(attribute.name))


@EVERY
def test_histograms_and_only_they_have_buckets_that_rise(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert all(lower < higher for lower, higher in itertools.pairwise(metric.buckets))


OWN = ("otel_bridge.", "composio.", "gen_ai.")
"""Namespaces of this project, of what it reads from, and of conventions that are not in the package yet."""


def conventional() -> set[str]:
    """Every name of a metric or an attribute in OpenTelemetry's own package of the conventions."""
    found: set[str] = set()
    for parent in (metrics, attributes, new_metrics, new_attributes):
        for module in pkgutil.iter_modules(parent.__path__, f"{parent.__name__}."):
            constants = vars(importlib.import_module(module.name)).items()
            found |= {value for name, value in constants if name.isupper() and isinstance(value, str)}
    return found


def test_names_of_others_are_those_of_the_conventions() -> None:
    names = {metric.name for metric in CATALOGUE}
    names |= {attribute.name for metric in CATALOGUE for attribute in metric.attributes}
    assert {name for name in names if not name.startswith(OWN)} <= conventional()


def conventional_instruments() -> dict[str, tuple[str, str]]:
    """The instrument and the unit of every metric that the package of the conventions can make."""
    found = {}
    for parent in (metrics, new_metrics):
        for module in pkgutil.iter_modules(parent.__path__, f"{parent.__name__}."):
            for name, make in vars(importlib.import_module(module.name)).items():
                if name.startswith("create_"):
                    meter = create_autospec(Meter, instance=True)
                    make(meter, *[[] for _ in range(len(signature(make).parameters) - 1)])
                    ((method, _, given),) = meter.method_calls
                    instrument = method.removeprefix("create_").removeprefix("observable_")
                    found[given["name"]] = (instrument, given["unit"])
    return found


def test_metrics_of_the_conventions_are_of_their_instrument_and_unit() -> None:
    known = conventional_instruments()
    ours = {metric.name: metric for metric in CATALOGUE if metric.name in known}
    assert set(ours) == {"process.cpu.time", "process.memory.usage", "process.uptime"}
    for name, metric in ours.items():
        assert (re.sub("[ -]", "_", metric.kind), metric.unit) == known[name]


ASKED = {
    "windows": (c.WINDOWS, c.WINDOWS_OPEN),
    "records seen": (c.LISTED,),
    "delivered": (c.DELIVERED,),
    "deduplicated": (c.DEDUPLICATED,),
    "set aside by reason": (c.SET_ASIDE, c.ASIDE_NOW),
    "sent again": (c.RESENT,),
    "rejected by the destination": (c.REJECTED,),
    "requests by route and status": (c.REQUEST_DURATION,),
    "budget limit, remaining, used": (c.BUDGET_LIMIT, c.BUDGET_REMAINING, c.BUDGET_USED),
    "lag": (c.DELIVERY_LAG,),
    "watermark age": (c.WATERMARK_AGE,),
    "oldest undelivered": (c.UNDELIVERED_AGE,),
    "lateness": (c.LATENESS,),
    "batch sizes": (c.EXPORT_RECORDS, c.EXPORT_SIZE),
    "export duration": (c.EXPORT_DURATION,),
    "retries": (c.EXPORT_RETRIES,),
    "circuit state": (c.CIRCUIT_OPEN,),
    "ledger size": (c.LEDGER_SIZE,),
    "build info": (c.BUILD,),
    "the tool calls": (c.TOOL_DURATION,),
}
"""What somebody on call asks, each with the metrics that answer it."""


@pytest.mark.parametrize("question", ASKED)
def test_each_question_of_somebody_on_call_is_answered(question: str) -> None:
    assert set(ASKED[question]) <= set(CATALOGUE)


def test_what_is_told_apart_is_told_apart() -> None:
    assert c.REASON in c.SET_ASIDE.attributes
    assert {c.ROUTE, c.STATUS} <= set(c.REQUEST_DURATION.attributes)
    assert {c.LATENESS.kind, c.DELIVERY_LAG.kind, c.TOOL_DURATION.kind} == {Kind.HISTOGRAM}
    assert c.TOOL_DURATION.buckets == tuple(round(0.01 * 2**n, 2) for n in range(14))
    assert {each.name for each in c.TOOL_DURATION.attributes} == {
        "gen_ai.tool.name",
        "composio.toolkit.slug",
        "error.type",
        "composio.project",
    }


def test_no_two_metrics_share_a_name() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({prometheus_name(metric) for metric in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric("a.b", Kind.COUNTER, "{record}", ""), "a_b_total"),
        (Metric("a.b", Kind.COUNTER, "s", ""), "a_b_seconds_total"),
        (Metric("a.size", Kind.GAUGE, "By", ""), "a_size_bytes"),
        (Metric("a.size", Kind.UP_DOWN_COUNTER, "By", ""), "a_size_bytes"),
        (Metric("a.seconds", Kind.GAUGE, "s", ""), "a_seconds"),
        (Metric("a.b", Kind.HISTOGRAM, "1", ""), "a_b"),
    ],
)
def test_names_in_prometheus(metric: Metric, expected: str) -> None:
    assert prometheus_name(metric) == expected
