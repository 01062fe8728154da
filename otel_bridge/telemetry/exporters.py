"""The SDK's OTLP exporters, told everything rather than left to their own reading of the environment.

That of ``OTEL_EXPORTER_OTLP_TIMEOUT`` takes seconds where the specification says milliseconds. They carry the
bridge's own telemetry, which may be lost: tool calls go the way of ``otel_bridge.exporter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider

from otel_bridge.exporter.destination import Destination, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter


def metric_exporter(destination: Destination) -> MetricExporter:
    """The exporter of metrics for this destination."""
    arguments = _arguments(destination)
    if destination.protocol is Protocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 - grpc is heavy
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter(**arguments)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - loads requests
        OTLPMetricExporter as HttpExporter,
    )

    return HttpExporter(**arguments)


def span_exporter(destination: Destination) -> SpanExporter:
    """The exporter of spans for this destination."""
    arguments = _arguments(destination)
    if destination.protocol is Protocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - grpc is heavy
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(**arguments)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - loads requests
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(**arguments)


def log_exporter(destination: Destination) -> LogRecordExporter:
    """The exporter of log records for this destination."""
    arguments = _arguments(destination)
    if destination.protocol is Protocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (  # noqa: PLC0415 - grpc is heavy
            OTLPLogExporter as GrpcExporter,
        )

        return GrpcExporter(**arguments)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import (  # noqa: PLC0415 - loads requests
        OTLPLogExporter as HttpExporter,
    )

    return HttpExporter(**arguments)


def _arguments(destination: Destination) -> dict[str, Any]:
    """What the exporters of this protocol take. Their own work is not measured."""
    arguments: dict[str, Any] = {
        "endpoint": destination.endpoint,
        "headers": dict(destination.headers),
        "timeout": destination.timeout_ms / 1000,
        "meter_provider": NoOpMeterProvider(),
    }
    if destination.protocol is Protocol.GRPC:
        from grpc import Compression  # noqa: PLC0415 - grpc is heavy; only who uses it loads it

        gzip = Compression.Gzip if destination.gzip else Compression.NoCompression
        arguments |= {"compression": gzip, "insecure": not destination.tls}
        if destination.tls:
            files = (destination.certificate, destination.client_certificate, destination.client_key)
            from otel_bridge.exporter.grpc_tls import credentials  # noqa: PLC0415 - grpc is heavy

            arguments["credentials"] = credentials(*files)
        return arguments
    from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression  # noqa: PLC0415 - as above

    from otel_bridge.telemetry.http_session import Session  # noqa: PLC0415 - loads requests

    return arguments | {
        "session": Session(arguments["headers"]),
        "certificate_file": destination.certificate,
        "client_key_file": destination.client_key,
        "client_certificate_file": destination.client_certificate,
        "compression": HttpCompression.Gzip if destination.gzip else HttpCompression.NoCompression,
    }
