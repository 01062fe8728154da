"""The SDK's exporters of spans, log records and metrics, over `Sending`.

The SDK's own ones know less of long-lived connections, and read the environment in their own ways: the time
of ``OTEL_EXPORTER_OTLP_TIMEOUT`` in seconds, a proxy's variables as requests and gRPC do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_bridge.telemetry.sending import Sending

_TEMPORALITY_VARIABLE: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_DELTA: Final[dict[str, tuple[type, ...]]] = {
    "delta": (Counter, ObservableCounter, Histogram),
    "lowmemory": (Counter, Histogram),
}


class OwnSpanExporter(SpanExporter):
    """Exports spans.

    Args:
        sending: Where they go.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send; blocks."""
        taken = self._sending.send(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Give up what is being sent, and close the connections."""
        self._sending.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back."""
        del timeout_millis
        return True


class OwnLogExporter(LogRecordExporter):
    """Exports log records.

    Args:
        sending: Where they go.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Send; blocks."""
        taken = self._sending.send(encode_logs(batch).SerializeToString())
        return LogRecordExportResult.SUCCESS if taken else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """Give up what is being sent, and close the connections."""
        self._sending.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back."""
        del timeout_millis
        return True


class OwnMetricExporter(MetricExporter):
    """Exports metrics, since the start or since the last export as the standard variable has it.

    Args:
        sending: Where they go.
    """

    def __init__(self, sending: Sending) -> None:
        preference = os.environ.get(_TEMPORALITY_VARIABLE, "").strip().lower()
        delta = dict.fromkeys(_DELTA.get(preference, ()), AggregationTemporality.DELTA)
        super().__init__(preferred_temporality=delta)
        self._sending = sending

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send; blocks."""
        del timeout_millis, kwargs
        taken = self._sending.send(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS if taken else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Give up what is being sent, and close the connections."""
        del timeout_millis, kwargs
        self._sending.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back."""
        del timeout_millis
        return True
