"""Exporters whose failures are said once, and said again when they work.

The SDK's own words about a failed export hold the answer's body and a traceback, for each attempt; they are
switched off in the log.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan


class Watch:
    """Knows whether a destination takes what it is sent, and says when that changes.

    Args:
        what: What is sent, for people: ``metrics``.
        where: The endpoint, for people.
        say: Takes a line for people, from any thread.
    """

    def __init__(self, what: str, where: str, say: Callable[[str], None]) -> None:
        self._what = what
        self._where = where
        self._say = say
        self._failing = False

    def ended(self, *, well: bool) -> None:
        """An export ended."""
        if not well and not self._failing:
            self._say(
                f"{self._what}: {self._where} does not take them (otel-bridge check says why); "
                "tool calls go on"
            )
        elif well and self._failing:
            self._say(f"{self._what}: {self._where} takes them again")
        self._failing = not well


class WatchedMetrics(MetricExporter):
    """Sends metrics, and is watched."""

    def __init__(self, exporter: MetricExporter, watch: Watch) -> None:
        super().__init__(
            preferred_temporality=exporter._preferred_temporality,  # noqa: SLF001 - the base class reads its own
            preferred_aggregation=exporter._preferred_aggregation,  # noqa: SLF001 - as above
        )
        self._exporter = exporter
        self._watch = watch

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send, and tell the watch how it went."""
        result = self._exporter.export(metrics_data, timeout_millis, **kwargs)
        self._watch.ended(well=result is MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """As the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """As the exporter."""
        self._exporter.shutdown(timeout_millis, **kwargs)


class WatchedSpans(SpanExporter):
    """Sends spans, and is watched."""

    def __init__(self, exporter: SpanExporter, watch: Watch) -> None:
        self._exporter = exporter
        self._watch = watch

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send, and tell the watch how it went."""
        result = self._exporter.export(spans)
        self._watch.ended(well=result is SpanExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """As the exporter."""
        self._exporter.shutdown()


class WatchedLogs(LogRecordExporter):
    """Sends log records, and is watched."""

    def __init__(self, exporter: LogRecordExporter, watch: Watch) -> None:
        self._exporter = exporter
        self._watch = watch

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Send, and tell the watch how it went."""
        result = self._exporter.export(batch)
        self._watch.ended(well=result is LogRecordExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """As the exporter."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK does not say


def ended_within(seconds: float, end: Callable[[], object], give_up: Callable[[], object]) -> None:
    """Call ``end``, which may take long, and ``give_up`` when it has taken too long. Blocks no longer.

    Args:
        seconds: What is too long.
        end: Sends what is left.
        give_up: Makes ``end`` return soon.
    """
    ending = threading.Thread(target=end, daemon=True, name="own-telemetry-end")
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        give_up()
