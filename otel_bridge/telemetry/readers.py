"""The SDK's reader that sends over OTLP, given the histograms beside what the SDK has collected."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import Metric as MetricData
    from opentelemetry.sdk.resources import Resource

    from otel_bridge.telemetry.series import Distribution


class OtlpReader(PeriodicExportingMetricReader):
    """Sends the metrics over OTLP now and then: the bridge's, and the tool calls' under their own resource.

    Args:
        exporter: Sends them.
        histograms: What the SDK does not collect.
        tool_calls: The resource of the metrics that speak of tool calls.
        interval_ms: How often, in ms.
        own: Whether the bridge's own metrics are sent, or the tool calls' alone.
    """

    def __init__(
        self,
        exporter: MetricExporter,
        histograms: Sequence[Distribution],
        tool_calls: Resource,
        *,
        interval_ms: float,
        own: bool,
    ) -> None:
        self._histograms = histograms
        self._sends_own = own
        self._tool_calls = tool_calls
        preferred = exporter._preferred_temporality or {}  # noqa: SLF001 - as the base class reads it
        delta = preferred.get(HistogramInstrument) is AggregationTemporality.DELTA
        self._seen = [histogram.first_seen() if delta else None for histogram in histograms]
        super().__init__(exporter, export_interval_millis=interval_ms)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        now_ns = time.time_ns()
        own: list[MetricData] = []
        of_tool_calls: list[MetricData] = []
        for histogram, seen in zip(self._histograms, self._seen, strict=True):
            data = histogram.data(now_ns, seen)
            if data is not None:
                (of_tool_calls if histogram.metric.of_tool_calls else own).append(data)
        joined = _joined(metrics_data, own)
        if of_tool_calls:
            scope = joined.resource_metrics[0].scope_metrics[0]
            theirs = ScopeMetrics(scope.scope, of_tool_calls, scope.schema_url)
            resource = ResourceMetrics(self._tool_calls, [theirs], self._tool_calls.schema_url)
            joined = MetricsData([*(joined.resource_metrics if self._sends_own else ()), resource])
        elif not self._sends_own:
            return
        super()._receive_metrics(joined, timeout_millis, **kwargs)


def _joined(collected: MetricsData, more: Sequence[MetricData]) -> MetricsData:
    """What the SDK has collected, from its one meter, and these."""
    (resource,) = collected.resource_metrics
    (scope,) = resource.scope_metrics
    scope = replace(scope, metrics=[*scope.metrics, *more])
    return MetricsData([replace(resource, scope_metrics=[scope])])
