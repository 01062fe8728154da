"""Composio's tool calls as OpenTelemetry spans and log records, delivered over OTLP."""

from otel_bridge._version import __version__

__all__ = ["__version__"]
