"""Values are counted where they happen, bounded in series, and told as sums or as differences."""

from __future__ import annotations

import itertools
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from otel_bridge.service.own_metrics import OwnMetrics
from otel_bridge.telemetry import catalogue as c
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.series import MOST_SERIES, Counts, Distribution, attributes
from otel_bridge.web.app import Measured

VALUES = st.lists(st.floats(0, 1e6), max_size=40)


def histogram(distribution: Distribution, *arguments: object) -> Histogram:
    data = distribution.data(*arguments)  # type: ignore[arg-type]  # as given by the test
    assert data is not None
    assert isinstance(data.data, Histogram)
    return data.data


@given(VALUES.filter(bool))
@settings(max_examples=50)
def test_every_value_is_in_the_bucket_of_the_least_bound_that_is_not_below_it(values: list[float]) -> None:
    distribution = Distribution(c.DELIVERY_LAG)
    for value in values:
        distribution.record(value, ("p",))
    (point,) = histogram(distribution, 9).data_points
    expected = [0] * (len(c.DELIVERY_LAG.buckets) + 1)
    for value in values:
        expected[bisect_left(c.DELIVERY_LAG.buckets, value)] += 1
    assert list(point.bucket_counts) == expected
    assert point.count == len(values)
    assert point.sum == pytest.approx(sum(values))


@given(st.lists(VALUES, min_size=1, max_size=6))
@settings(max_examples=50)
def test_differences_add_up_to_the_sum(parts: list[list[float]]) -> None:
    distribution = Distribution(c.DELIVERY_LAG)
    seen = distribution.first_seen()
    counts = [0] * (len(c.DELIVERY_LAG.buckets) + 1)
    ends = []
    for number, values in enumerate(parts):
        for value in values:
            distribution.record(value, ("p",))
        data = distribution.data(seen.since_ns + number + 1, seen)
        assert (data is None) == (not values)
        if data is not None:
            assert isinstance(data.data, Histogram)
            assert data.data.aggregation_temporality is AggregationTemporality.DELTA
            (point,) = data.data.data_points
            counts = [a + b for a, b in zip(counts, point.bucket_counts, strict=True)]
            ends.append((point.start_time_unix_nano, point.time_unix_nano))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
    if any(parts):
        (point,) = histogram(distribution, 1).data_points
        assert counts == list(point.bucket_counts)


def test_ten_thousand_tools_cost_no_more_than_a_thousand() -> None:
    meters = Meters(Resource({}), Resource({}))
    for number in range(10_000):
        meters.record(c.TOOL_DURATION, 0.3, f"TOOL_{number}", "kit", None, "p")
    families = {each.name: each for each in text_string_to_metric_families(meters.prometheus_text().decode())}
    samples = families["gen_ai_execute_tool_duration_seconds"].samples
    counts = [sample for sample in samples if sample.name.endswith("_count")]
    assert len(counts) == MOST_SERIES + 1
    (overflow,) = [sample for sample in counts if sample.labels == {"otel_metric_overflow": "true"}]
    assert overflow.value == 10_000 - MOST_SERIES
    assert sum(sample.value for sample in counts) == 10_000


def test_a_scrape_is_as_small_as_the_documentation_says() -> None:
    """Every tool, every failure, every answer of the source that there can be, for one project."""
    meters = Meters(Resource({}), Resource({}))
    OwnMetrics(meters, ["p"])
    begins = len(meters.prometheus_text().splitlines())
    for number in range(2 * MOST_SERIES):
        name = f"TOOLKIT_{number % 90}_DO_SOMETHING_THAT_HAS_A_LONG_NAME_{number}"
        meters.record(c.TOOL_DURATION, 0.3, name, f"toolkit_{number % 90}", None, "p")
    for route, status in itertools.product(c.ROUTE.values, (200, 401, 403, 404, 429, 500, 502, 503, 504)):
        meters.record(c.REQUEST_DURATION, 0.3, "p", route, status)
    text = meters.prometheus_text()
    of_tools = text.count(b"\ngen_ai_execute_tool_duration_seconds_")
    assert of_tools == 17 * (MOST_SERIES + 1)
    assert begins < 70
    assert len(text.splitlines()) - of_tools < 600
    assert len(text) < 3_300_000
    assert len(Measured.by(lambda: text).zipped) < 100_000


def test_a_counters_series_are_bounded_too() -> None:
    counts = Counts(c.DELIVERY_FAILURES, most_series=2)
    for number in range(5):
        counts.add(2, ("p", f"Error{number}"))
    counts.add(1, ("p", "Error0"))
    told = {str(each.attributes): each.value for each in counts.observe(CallbackOptions())}
    assert len(told) == 3
    assert told["{'otel.metric.overflow': True}"] == 6
    assert sum(told.values()) == 11


def test_an_absent_attribute_is_left_out() -> None:
    assert attributes(c.REQUEST_DURATION, ("p", "list", None)) == {
        "composio.project": "p",
        "otel_bridge.route": "list",
    }


def test_a_key_that_is_not_as_declared_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="argument"):
        attributes(c.REQUEST_DURATION, ("p", "list"))
