"""The declarations keep to the conventions of OpenTelemetry and Prometheus."""

from __future__ import annotations

import itertools
import re

import pytest

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


def test_no_two_metrics_share_a_name() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({prometheus_name(metric) for metric in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric("a.b", Kind.COUNTER, "{record}", ""), "a_b_total"),
        (Metric("a.b", Kind.COUNTER, "s", ""), "a_b_seconds_total"),
        (Metric("a.size", Kind.GAUGE, "By", ""), "a_size_bytes"),
        (Metric("a.seconds", Kind.GAUGE, "s", ""), "a_seconds"),
        (Metric("a.b", Kind.HISTOGRAM, "1", ""), "a_b"),
    ],
)
def test_names_in_prometheus(metric: Metric, expected: str) -> None:
    assert prometheus_name(metric) == expected
