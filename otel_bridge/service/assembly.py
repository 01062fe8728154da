"""Puts the rooms together: from settings to a worker for each project."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_bridge.errors import DestinationUnavailable, SettingsError
from otel_bridge.exporter.age_limits import AgeLimit, age_limit_of
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff
from otel_bridge.service.circuits import say_circuit, source_circuits
from otel_bridge.service.delivery import BatchDelivery
from otel_bridge.service.identities import IdentityResolver
from otel_bridge.service.logs import event
from otel_bridge.service.measurements import Measurements
from otel_bridge.service.source import ProjectSource
from otel_bridge.service.worker import ProjectWorker, WorkerOptions
from otel_bridge.signals import SpanKind
from otel_bridge.times import Clock, parse_time_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import httpx

    from otel_bridge.circuit import Circuit
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.settings import ProjectSettings, Settings

ONCE_ATTEMPTS = 5


def project_source(  # noqa: PLR0913 - the rooms
    settings: Settings,
    project: ProjectSettings,
    budget: Budget,
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    circuit: Circuit | None = None,
) -> ProjectSource:
    """The source of one project. Without a circuit of its base URL it has one of its own.

    Raises:
        SettingsError: The project has no key.
    """
    if project.api_key is None:
        where = "COMPOSIO_API_KEY" if len(settings.projects) == 1 else f"projects: {project.name}: api_key"
        raise SettingsError(
            f"{where} is not set: takes the project API key (ak_…) from the Composio dashboard, "
            "or COMPOSIO_API_KEY_FILE the name of a file that holds it"
        )
    concurrency = project.concurrency or settings.collect.concurrency
    client = LogsClient(
        base_url=project.base_url,
        api_key=project.api_key,
        budget=budget,
        clock=clock,
        timeout_s=settings.collect.timeout / 1000,
        concurrency=concurrency,
        transport=transport,
        circuit=circuit,
    )
    return ProjectSource(client, project.filters, project.detail or settings.collect.detail, concurrency)


def project_mapper(settings: Settings, project: ProjectSettings) -> Mapper:
    """The mapping of one project."""
    resource = {**settings.mapping.resource, **project.resource}
    return Mapper(
        MappingOptions(
            project=project.name,
            service_name=project.service_name or settings.mapping.service_name,
            span_kind=SpanKind[settings.mapping.span_kind.upper()],
            content=settings.mapping.content,
            redact=settings.mapping.redact,
            sample=settings.mapping.sample,
            attribute_bytes=settings.mapping.attribute_bytes,
            span_bytes=settings.mapping.span_bytes,
            resource=tuple(resource.items()),
            server_address=urlsplit(project.base_url).hostname,
            traces=Signal.TRACES in settings.signals,
            logs=Signal.LOGS in settings.signals,
        )
    )


def budgets(settings: Settings, clock: Clock) -> dict[str, Budget]:
    """One budget for each project's organisation, by project name. Who names none has one of its own."""
    shared: dict[str, Budget] = {}
    found = {}
    for project in settings.projects:
        # The prefixes keep a project that is named like an organisation apart from it.
        key = f"organization:{project.organization}" if project.organization else f"project:{project.name}"
        if key not in shared:
            name = project.organization or project.name
            shared[key] = Budget(settings.collect.rate_share, clock, name=name, on_pause=_say_pause(name))
        found[project.name] = shared[key]
    return found


def _say_pause(name: str) -> Callable[[float], None]:
    def say(wait_s: float) -> None:
        event(
            logging.WARNING,
            "rate_limited",
            f"{name}: Composio's rate limit is reached; no request for {wait_s:.0f} s, as it asks",
            organization=name,
            wait_s=round(wait_s, 1),
        )

    return say


def otlp_exporter(
    settings: Settings,
    clock: Clock,
    *,
    attempts: int | None,
    signals: frozenset[Signal] = frozenset({Signal.TRACES, Signal.LOGS}),
) -> OtlpExporter:
    """The exporter for spans and log records; measurements can be probed with it, and go another way.

    Args:
        settings: As read.
        clock: Sleeps between tries.
        attempts: How often a request is tried in all; None for as long as it takes.
        signals: Which of the wanted signals it has.
    """
    wanted = settings.signals & signals
    destinations = {signal: settings.destination(signal) for signal in sorted(wanted)}
    # Nobody asked for log records by name: a destination that has no place for them (Jaeger) gets the spans.
    optional = frozenset() if settings.signals_were_chosen else frozenset({Signal.LOGS})
    return OtlpExporter(
        destinations,
        backoff=Backoff(first_s=0.5, most_s=60.0, attempts=attempts),
        clock=clock,
        max_records=settings.export.max_batch_records,
        max_bytes=settings.export.max_batch_bytes,
        optional_signals=optional if Signal.TRACES in settings.signals else frozenset(),
        on_warning=lambda text: event(logging.WARNING, "export_warning", text),
        on_retry=_say_retry,
        on_circuit=say_circuit,
    )


def age_limit(settings: Settings) -> AgeLimit | None:
    """How old a record the strictest destination takes; None where no limit is set or known."""
    if settings.export.age_limit is not None:
        return (
            AgeLimit("OTEL_BRIDGE_AGE_LIMIT", settings.export.age_limit)
            if settings.export.age_limit
            else None
        )
    wanted = sorted(settings.signals - {Signal.METRICS})
    known = [age_limit_of(settings.destination(signal).endpoint) for signal in wanted]
    return min((each for each in known if each), key=lambda limit: limit.limit_ms, default=None)


def _say_retry(signal: Signal, error: DestinationUnavailable, failures: int, wait_s: float) -> None:
    event(
        logging.DEBUG,  # what lasts is told by the circuit
        "export_retry",
        f"{signal.value}: {error}",
        failures=failures,
        retry_in_s=round(wait_s, 1),
    )


@asynccontextmanager
async def workers(  # noqa: PLR0913 - the rooms
    settings: Settings,
    *,
    ledger: Ledger,
    exporter: Exporter,
    clock: Clock,
    stop: asyncio.Event,
    shared_budgets: Mapping[str, Budget] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[list[ProjectWorker]]:
    """A worker for each project, over an open ledger and one exporter for all.

    Raises:
        SettingsError: A project has no key.
    """
    async with AsyncExitStack() as stack:
        by_project = shared_budgets or budgets(settings, clock)
        circuits = source_circuits(settings, clock)
        sources = {
            project.name: project_source(
                settings,
                project,
                by_project[project.name],
                clock,
                transport=transport,
                circuit=circuits[project.name],
            )
            for project in settings.projects
        }
        for source in sources.values():
            stack.push_async_callback(source.client.aclose)
        record = _recorder(settings, stack)
        yield [
            _worker(
                settings,
                project,
                sources[project.name],
                ledger=ledger,
                exporter=exporter,
                clock=clock,
                stop=stop,
                record=record,
            )
            for project in settings.projects
        ]


def _recorder(settings: Settings, stack: AsyncExitStack) -> Callable[[Measurement], None] | None:
    if Signal.METRICS not in settings.signals:
        return None
    # One meter serves all projects, so what a name says of project or toolkit is on the measurements instead.
    service_name = (
        settings.mapping.service_name.replace("{toolkit}", "").replace("{project}", "").strip("-_. ")
    )
    measurements = Measurements(
        settings.destination(Signal.METRICS),
        {**settings.mapping.resource, "service.name": service_name or "composio"},
        interval_ms=settings.export.metric_interval,
        say=lambda text: event(logging.WARNING, "metrics_export", text),
    )
    stack.push_async_callback(asyncio.to_thread, measurements.close)
    return measurements.record


def _worker(  # noqa: PLR0913 - as above
    settings: Settings,
    project: ProjectSettings,
    source: ProjectSource,
    *,
    ledger: Ledger,
    exporter: Exporter,
    clock: Clock,
    stop: asyncio.Event,
    record: Callable[[Measurement], None] | None,
) -> ProjectWorker:
    start = project.start or settings.collect.start
    delivery = BatchDelivery(
        project.name,
        ledger=ledger,
        resolver=IdentityResolver(project.name, ledger, lambda log_id: source.parent(log_id, Priority.HEAD)),
        mapper=project_mapper(settings, project),
        exporter=exporter,
        clock=clock,
        parent_wait_ms=settings.collect.parent_wait,
        measure=record,
        warn=lambda text: event(logging.WARNING, "destination_warning", text, project=project.name),
    )
    options = WorkerOptions(
        project=project.name,
        start=lambda now_ms: parse_time_ms(start, now_ms),
        poll_interval_ms=settings.collect.poll_interval,
        recheck_ages_ms=settings.collect.recheck,
        keep_ms=settings.ledger.keep,
        verify_every_ms=settings.collect.verify_every,
    )
    return ProjectWorker(options, source=source, delivery=delivery, ledger=ledger, clock=clock, stop=stop)
