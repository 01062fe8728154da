"""Tool-call measurements, sent by the OpenTelemetry SDK: ``gen_ai.execute_tool.duration``.

Recorded once an entry, when it is first delivered live. Unlike spans and log records they are no function of
the records alone (a histogram is summed over time), so the SDK and its exporters carry them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from otel_bridge import __version__
from otel_bridge.exporter.destination import Destination, Protocol
from otel_bridge.mapping.conventions import SCOPE_NAME
from otel_bridge.mapping.measurement import (
    METRIC_BUCKETS,
    METRIC_DESCRIPTION,
    METRIC_NAME,
    METRIC_UNIT,
    Measurement,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SHUTDOWN_MS = 5_000


class _Watched(MetricExporter):
    """An exporter whose failures are said once, and said again when it works.

    Args:
        exporter: Does the work.
        where: Its endpoint, for people.
        say: Takes a line for people.
    """

    def __init__(self, exporter: MetricExporter, where: str, say: Callable[[str], None]) -> None:
        super().__init__(
            preferred_temporality=exporter._preferred_temporality,  # noqa: SLF001 - the base class reads its own
            preferred_aggregation=exporter._preferred_aggregation,  # noqa: SLF001 - as above
        )
        self._exporter = exporter
        self._where = where
        self._say = say
        self._failing = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        result = self._exporter.export(metrics_data, timeout_millis, **kwargs)
        failing = result is not MetricExportResult.SUCCESS
        if failing and not self._failing:
            self._say(f"metrics: {self._where} does not take them (otel-bridge check says why); spans go on")
        elif self._failing and not failing:
            self._say(f"metrics: {self._where} takes them again")
        self._failing = failing
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._exporter.shutdown(timeout_millis, **kwargs)


class Measurements:
    """Where measurements go.

    Args:
        destination: Where they go.
        attributes: The resource's.
        interval_ms: How often they are sent.
        say: Takes a line for people when they are not taken.
    """

    def __init__(
        self,
        destination: Destination,
        attributes: dict[str, str],
        *,
        interval_ms: int,
        say: Callable[[str], None],
    ) -> None:
        exporter = _Watched(metric_exporter(destination), destination.where, say)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=interval_ms)
        self._provider = MeterProvider(
            metric_readers=[reader],
            # Made by hand: Resource.create() would add a random service.instance.id.
            resource=Resource(attributes),
            views=[
                View(
                    instrument_name=METRIC_NAME,
                    aggregation=ExplicitBucketHistogramAggregation(METRIC_BUCKETS),
                )
            ],
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter(SCOPE_NAME, __version__)
        self._duration = meter.create_histogram(METRIC_NAME, unit=METRIC_UNIT, description=METRIC_DESCRIPTION)

    def record(self, measurement: Measurement) -> None:
        """Take one measurement. The SDK bounds the series: past 2,000 it counts in an overflow series."""
        self._duration.record(measurement.duration_s, measurement.attributes)

    def close(self) -> None:
        """Send what is left, for a bounded time. Blocks: call it off the event loop."""
        self._provider.shutdown(timeout_millis=_SHUTDOWN_MS)


def metric_exporter(destination: Destination) -> MetricExporter:
    """The SDK's OTLP exporter for this destination, told everything rather than left to its own reading.

    Its own reading of ``OTEL_EXPORTER_OTLP_TIMEOUT`` takes seconds where the specification says milliseconds.
    """
    timeout_s = destination.timeout_ms / 1000
    headers = dict(destination.headers)
    if destination.protocol is Protocol.GRPC:
        from grpc import Compression  # noqa: PLC0415 - grpc is heavy; only who uses it loads it
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 - as above
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter(
            endpoint=destination.endpoint,
            insecure=destination.insecure,
            headers=headers,
            timeout=timeout_s,
            compression=Compression.Gzip if destination.gzip else Compression.NoCompression,
        )
    from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression  # noqa: PLC0415 - as above
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - as above
        OTLPMetricExporter as HttpExporter,
    )

    return HttpExporter(
        endpoint=destination.endpoint,
        headers=headers,
        timeout=timeout_s,
        certificate_file=destination.certificate,
        client_key_file=destination.client_key,
        client_certificate_file=destination.client_certificate,
        compression=HttpCompression.Gzip if destination.gzip else HttpCompression.NoCompression,
    )
