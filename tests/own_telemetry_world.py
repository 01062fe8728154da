"""A whole bridge with its own telemetry: emulator, destination, a ledger on disk, one project's worker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.ledger import open_ledger
from otel_bridge.service import gauges
from otel_bridge.service.assembly import otlp_exporter
from otel_bridge.service.crew import workers
from otel_bridge.service.own_telemetry import own_telemetry
from otel_bridge.settings import load
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from prometheus_client import Metric as Family

    from otel_bridge.ledger import Ledger
    from otel_bridge.service.own_telemetry import OwnTelemetry
    from otel_bridge.service.worker import ProjectWorker

_LOOK_EVERY_S = 0.05


@dataclass
class World:
    """What runs."""

    server: EmulatorServer
    sink: RecordingSink
    ledger: Ledger
    telemetry: OwnTelemetry
    worker: ProjectWorker

    async def looked(self) -> None:
        """Wait until the gauges have been looked at once more."""
        await asyncio.sleep(4 * _LOOK_EVERY_S)

    def families(self) -> dict[str, Family]:
        """What ``/metrics`` would answer, read as Prometheus' own library reads it."""
        text = self.telemetry.prometheus_text().decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """The one sample of this name whose labels are these, and perhaps others."""
        (found,) = (
            sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        return found


@asynccontextmanager
async def world(folder: Path, logs: int = 20, **variables: str) -> AsyncIterator[World]:
    """Run for as long as the block does; nothing is collected before a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gauges, "LOOK_EVERY_S", _LOOK_EVERY_S)
        async with _world(folder, logs, variables) as made:
            yield made


@asynccontextmanager
async def _world(folder: Path, logs: int, variables: dict[str, str]) -> AsyncIterator[World]:
    clock, stop = SystemClock(), asyncio.Event()
    async with (
        EmulatorServer(EmulatorOptions(logs=logs, late_share=0)) as server,
        RecordingSink() as sink,
    ):
        settings = load(
            None,
            {
                "COMPOSIO_API_KEY": "ak_test",
                "COMPOSIO_BASE_URL": server.base_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
                "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
                "OTEL_BRIDGE_PARENT_WAIT": "0s",
                **variables,
            },
        )
        ledger = open_ledger(settings.ledger.state.get_secret_value(), clock)
        await ledger.open()
        try:
            async with own_telemetry(settings) as telemetry:
                exporter = otlp_exporter(settings, clock, attempts=5, observer=telemetry.observer)
                async with workers(
                    settings,
                    ledger=ledger,
                    exporter=exporter,
                    clock=clock,
                    stop=stop,
                    observer=telemetry.observer,
                    telemetry=telemetry,
                ) as (worker,):
                    yield World(server, sink, ledger, telemetry, worker)
                await exporter.aclose()
        finally:
            await ledger.close()


def metrics_in(sink: RecordingSink) -> dict[str, list[tuple[dict[str, str], Metric]]]:
    """The metrics a destination was sent, by name: each with its resource."""
    found: dict[str, list[tuple[dict[str, str], Metric]]] = {}
    for received in sink.received:
        if received.signal != "metrics":
            continue
        for of_resource in ExportMetricsServiceRequest.FromString(received.body).resource_metrics:
            resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    found.setdefault(metric.name, []).append((resource, metric))
    return found
