"""Tool-call measurements, sent by the OpenTelemetry SDK: ``gen_ai.execute_tool.duration``.

Recorded once an entry, when it is first delivered live. Unlike spans and log records they are no function of
the records alone (a histogram is summed over time), so the SDK and its exporters carry them.
"""

from __future__ import annotations

import os

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
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

_INTERVAL_MS = 60_000
_SHUTDOWN_MS = 5_000


class Measurements:
    """Where measurements go.

    Args:
        exporter: The SDK's exporter; see ``metric_exporter``.
        attributes: The resource's.
    """

    def __init__(self, exporter: MetricExporter, attributes: dict[str, str]) -> None:
        interval = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _INTERVAL_MS)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=interval)
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
