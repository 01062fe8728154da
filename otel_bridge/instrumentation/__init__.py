"""Puts an application's Composio tool calls under its own spans.

It runs inside of the application, so it imports the OpenTelemetry API, opentelemetry-instrumentation and
wrapt, and nothing of the bridge.
"""

from __future__ import annotations

from otel_bridge.instrumentation.by_hand import correlate, traceparent
from otel_bridge.instrumentation.instrumentor import ComposioInstrumentor

__all__ = ["ComposioInstrumentor", "correlate", "traceparent"]
