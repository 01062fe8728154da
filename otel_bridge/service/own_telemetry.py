"""What the running bridge tells of itself, put together from the settings."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.exporter.destination import Signal
from otel_bridge.service.assembly import sender_to
from otel_bridge.service.logs import also_to, event
from otel_bridge.service.own_metrics import OwnMetrics
from otel_bridge.telemetry.exporters import OwnLogExporter, OwnMetricExporter, OwnSpanExporter
from otel_bridge.telemetry.log_records import OWN_EXPORT, OwnLogRecords
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.process import observe_process
from otel_bridge.telemetry.resource import own_resource, tool_call_resource
from otel_bridge.telemetry.sending import Sending
from otel_bridge.telemetry.tracing import OwnSpans, Spans
from otel_bridge.telemetry.watched import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.metrics.export import MetricExporter

    from otel_bridge.exporter.destination import Destination
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.settings import Settings

METRICS_SAY: Final = "metrics_export"
"""The action of events about the export of metrics, those of tool calls among them."""


@dataclass(frozen=True, slots=True)
class OwnTelemetry:
    """What the service needs of it.

    Attributes:
        meters: Takes values of every metric.
        observer: Counts what the service does; to be among those who hear it.
        spans: Makes spans of its steps.
    """

    meters: Meters
    observer: OwnMetrics
    spans: Spans

    def measured(self, measurement: Measurement) -> None:
        """Take a tool call's duration."""
        self.observer.measured(measurement)

    def prometheus_text(self) -> bytes:
        """What ``/metrics`` answers, of the type ``telemetry.prometheus.CONTENT_TYPE``. From any thread."""
        return self.meters.prometheus_text()


@asynccontextmanager
async def own_telemetry(settings: Settings) -> AsyncIterator[OwnTelemetry]:
    """Metrics always; spans and log records of the bridge where the settings ask for them.

    At the end what is left is sent, for 1.5 s at most.

    Raises:
        SettingsError: A destination is wrong.
    """
    wanted = set(settings.telemetry.signals)
    resource = own_resource(settings.mapping.resource)
    async with AsyncExitStack() as stack:
        ends = []
        meters = Meters(
            resource,
            tool_call_resource(settings.mapping.service_name, settings.mapping.resource),
            exporter=_metrics(settings),
            interval_ms=settings.export.metric_interval,
            sends_own="metrics" in wanted,
        )
        ends.append(meters.close)
        observe_process(meters)
        spans = Spans()
        if "traces" in wanted:
            to = settings.destination(Signal.TRACES)
            watch = Watch("the bridge's own spans", to.where, _say)
            spans = OwnSpans(resource, OwnSpanExporter(_sending(settings, to, watch)))
            ends.append(spans.close)
        if "logs" in wanted:
            to = settings.destination(Signal.LOGS)
            watch = Watch("the bridge's own log records", to.where, _say)
            records = OwnLogRecords(resource, OwnLogExporter(_sending(settings, to, watch)))
            stack.enter_context(also_to(records))
            ends.append(records.close)
        observer = OwnMetrics(meters, [project.name for project in settings.projects])
        try:
            yield OwnTelemetry(meters, observer, spans)
        finally:
            await asyncio.gather(*(asyncio.to_thread(end) for end in ends))


def _metrics(settings: Settings) -> MetricExporter | None:
    if Signal.METRICS not in settings.signals:
        return None
    to = settings.destination(Signal.METRICS)
    watch = Watch("metrics", to.where, lambda text: event(logging.WARNING, METRICS_SAY, text))
    return OwnMetricExporter(_sending(settings, to, watch))


def _sending(settings: Settings, to: Destination, watch: Watch) -> Sending:
    return Sending(sender_to(settings, to), to.timeout_ms / 1000, watch)


def _say(text: str) -> None:
    event(logging.WARNING, OWN_EXPORT, text)
