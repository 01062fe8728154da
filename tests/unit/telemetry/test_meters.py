"""The metrics of a bridge: several in one process, shown and sent without getting in each other's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import opentelemetry.metrics
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from otel_bridge.telemetry import catalogue as c
from otel_bridge.telemetry import process
from otel_bridge.telemetry.declaration import Attribute, Kind, Metric
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.prometheus import histogram, labels, numbers

if TYPE_CHECKING:
    from pathlib import Path

OWN = Resource({"service.name": "otel-bridge", "said": 'with "quotes" and \\'})
TOOLS = Resource({"service.name": "composio"})
NEVER_MS = 3_600_000


class Kept(MetricExporter):
    """Keeps what it is given."""

    def __init__(self, *, delta: bool = False) -> None:
        wanted = {HistogramInstrument: AggregationTemporality.DELTA} if delta else None
        super().__init__(preferred_temporality=wanted)  # type: ignore[arg-type]  # classes of instruments
        self.sent: list[MetricsData] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 0, **kwargs: Any
    ) -> MetricExportResult:
        del timeout_millis, kwargs
        self.sent.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        del timeout_millis, kwargs


def names(data: MetricsData) -> dict[str, set[str]]:
    return {
        str(each.resource.attributes["service.name"]): {
            metric.name for scope in each.scope_metrics for metric in scope.metrics
        }
        for each in data.resource_metrics
    }


def test_two_in_one_process_know_nothing_of_each_other() -> None:
    one, other = Meters(OWN, TOOLS), Meters(OWN, TOOLS)
    one.add(c.DELIVERED, 5, "p", "live")
    assert b"otel_bridge_records_delivered_total" in one.prometheus_text()
    assert b"otel_bridge_records_delivered_total" not in other.prometheus_text()
    assert "otel_bridge" not in {family.name for family in REGISTRY.collect()}
    assert "otel_bridge" not in type(opentelemetry.metrics.get_meter_provider()).__module__


def test_what_is_sent_stands_under_the_resource_it_speaks_of() -> None:
    kept = Kept()
    meters = Meters(OWN, TOOLS, exporter=kept, interval_ms=NEVER_MS)
    meters.add(c.DELIVERED, 5, "p", "live")
    meters.record(c.DELIVERY_LAG, 2.5, "p")
    meters.record(c.TOOL_DURATION, 0.3, "X", "x", None, "p")
    meters.close()
    assert names(kept.sent[-1]) == {
        "otel-bridge": {c.DELIVERED.name, c.DELIVERY_LAG.name},
        "composio": {c.TOOL_DURATION.name},
    }


def test_own_metrics_may_stay_at_home() -> None:
    kept = Kept()
    meters = Meters(OWN, TOOLS, exporter=kept, interval_ms=NEVER_MS, sends_own=False)
    meters.add(c.DELIVERED, 5, "p", "live")
    meters._provider.force_flush()  # type: ignore[union-attr]  # there is one
    assert not kept.sent
    meters.record(c.TOOL_DURATION, 0.3, "X", "x", None, "p")
    meters.close()
    assert names(kept.sent[-1]) == {"composio": {c.TOOL_DURATION.name}}


def test_who_asks_for_differences_gets_differences() -> None:
    kept = Kept(delta=True)
    meters = Meters(OWN, TOOLS, exporter=kept, interval_ms=NEVER_MS)
    observed = []
    for values in ([1.0, 2.0], [3.0]):
        for value in values:
            meters.add(c.DELIVERED, 1, "p", "live")
            meters.record(c.DELIVERY_LAG, value, "p")
        meters._provider.force_flush()  # type: ignore[union-attr]  # there is one
        (data,) = [
            metric.data
            for each in kept.sent[-1].resource_metrics
            for scope in each.scope_metrics
            for metric in scope.metrics
            if metric.name == c.DELIVERY_LAG.name
        ]
        assert isinstance(data, Histogram)
        observed.append((data.data_points[0].count, data.data_points[0].sum))
    meters.close()
    assert observed == [(2, 3.0), (1, 3.0)]


def test_the_text_says_who_speaks_whatever_is_in_the_name() -> None:
    text = Meters(OWN, TOOLS).prometheus_text().decode()
    (target,) = text_string_to_metric_families(text)
    assert target.name == "target_info"
    assert target.samples[0].labels == {"service_name": "otel-bridge", "said": 'with "quotes" and \\'}


def test_series_without_labels_and_descriptions_over_lines() -> None:
    plain = Metric("a.b", Kind.HISTOGRAM, "1", "One\nand \\ two.", buckets=(0.5, 2.0))
    lines = list(histogram(plain, [("", (1, 0, 2), 9.5)]))
    assert lines == [
        "# HELP a_b One\\nand \\\\ two.",
        "# TYPE a_b histogram",
        'a_b_bucket{le="0.5"} 1',
        'a_b_bucket{le="2.0"} 1',
        'a_b_bucket{le="+Inf"} 3',
        "a_b_sum 9.5",
        "a_b_count 3",
    ]
    assert not list(histogram(plain, []))
    assert not list(numbers(plain, []))
    gauge = Metric("a.c", Kind.GAUGE, "1", "C.", (Attribute("x.y"),))
    assert list(numbers(gauge, [("", 1), (labels({"x.y": "line\nbreak", "z": 3, "t": False}), 2)]))[2:] == [
        "a_c 1",
        'a_c{x_y="line\\nbreak",z="3",t="false"} 2',
    ]


def test_the_process_tells_what_it_uses() -> None:
    meters = Meters(OWN, TOOLS)
    process.observe_process(meters)
    families = {each.name: each for each in text_string_to_metric_families(meters.prometheus_text().decode())}
    assert families["otel_bridge_build_info"].samples[0].value == 1
    assert families["process_uptime_seconds"].samples[0].value >= 0
    assert {each.labels["cpu_mode"] for each in families["process_cpu_time_seconds"].samples} == {
        "user",
        "system",
    }
    memory = families.get("process_memory_usage_bytes")
    assert memory is None or memory.samples[0].value > 1_000_000


def test_memory_is_left_out_where_the_system_does_not_tell(tmp_path: Path) -> None:
    odd = tmp_path / "statm"
    assert not list(process._memory(odd))
    odd.write_text("1")
    assert not list(process._memory(odd))
    odd.write_text("10 3 2")
    ((held, _),) = process._memory(odd)
    assert held % 3 == 0
