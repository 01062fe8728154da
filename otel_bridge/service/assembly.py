"""Puts the rooms together: from settings to a worker for each project."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_bridge.errors import DestinationUnavailable, SettingsError
from otel_bridge.exporter.age_limits import AgeLimit, age_limit_of
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter, sender_for
from otel_bridge.exporter.renewed_sender import RenewedSender
from otel_bridge.file_values import Part
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions, TraceOptions
from otel_bridge.pipeline.capacity import Capacity
from otel_bridge.pipeline.concurrency import AutoConcurrency, Concurrency
from otel_bridge.pipeline.context import ProjectContext
from otel_bridge.pipeline.deliver import CorrelationWait, Deliverer, Waits
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.pipeline.observer import NO_OBSERVER, Observer
from otel_bridge.pipeline.polling import AutoPollInterval, PollInterval
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.client import LogsClient
from otel_bridge.receiver.routes import Route
from otel_bridge.retry import Backoff
from otel_bridge.service.circuits import telling_circuits
from otel_bridge.service.logs import event
from otel_bridge.service.worker import ProjectWorker, WorkerOptions
from otel_bridge.signals import SpanKind
from otel_bridge.telemetry.tracing import Spans
from otel_bridge.times import Clock, parse_time_ms

if TYPE_CHECKING:
    import asyncio

    import httpx
    from pydantic import SecretStr

    from otel_bridge.circuit import Circuit
    from otel_bridge.exporter.destination import Destination
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.exporter.route import OnRetry
    from otel_bridge.exporter.sender import Sender
    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger import Ledger
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.service.own_telemetry import OwnTelemetry
    from otel_bridge.settings import ProjectSettings, Settings

ONCE_ATTEMPTS = 5


def require_keys(settings: Settings) -> None:
    """See that every project has a key, before anything is opened or started.

    Raises:
        SettingsError: A project has none.
    """
    for project in settings.projects:
        _key(settings, project)


def _key(settings: Settings, project: ProjectSettings) -> SecretStr:
    if project.api_key is None:
        where = "COMPOSIO_API_KEY" if len(settings.projects) == 1 else f"projects: {project.name}: api_key"
        raise SettingsError(
            f"{where} is not set: takes the project API key (ak_…) from the Composio dashboard, "
            "or COMPOSIO_API_KEY_FILE the name of a file that holds it"
        )
    return project.api_key


def project_source(  # noqa: PLR0913 - the rooms
    settings: Settings,
    project: ProjectSettings,
    budget: Budget,
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    circuit: Circuit | None = None,
    observer: Observer = NO_OBSERVER,
) -> ProjectSource:
    """The source of one project. Without a circuit of its base URL it has one of its own.

    Raises:
        SettingsError: The project has no key.
    """
    api_key = _key(settings, project)
    wanted = project.concurrency or settings.collect.concurrency
    concurrency = AutoConcurrency(budget, clock) if wanted == "auto" else Concurrency(wanted)

    def heard(route: str, status: int, seconds: float) -> None:
        if route == Route.DETAIL.value:
            concurrency.heard(status, seconds)
        observer.requested(project.name, route, status or None, seconds)

    client = LogsClient(
        base_url=project.base_url,
        api_key=_renewed_key(settings, project, api_key),
        key_from=project.key_from,
        budget=budget,
        clock=clock,
        timeout_s=settings.collect.timeout / 1000,
        concurrency=concurrency.most,
        transport=transport,
        circuit=circuit,
        on_request=heard,
    )
    return ProjectSource(client, project.filters, project.detail or settings.collect.detail, concurrency)


def _renewed_key(
    settings: Settings, project: ProjectSettings, api_key: SecretStr
) -> SecretStr | Renewable[SecretStr]:
    """The key as its file holds it; that of a project that comes and goes is renewed with the project."""
    if settings.projects_place is not None or not settings.reads_files:
        return api_key

    def of(present: Settings) -> SecretStr:
        now = next((each.api_key for each in present.projects if each.name == project.name), None)
        return now or api_key

    return Part(settings.present, of)


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


def trace_options(settings: Settings) -> TraceOptions:
    """What is set about traces."""
    mapping = settings.mapping
    return TraceOptions(mapping.unsampled, mapping.group_by, mapping.link_retries)


def otlp_exporter(
    settings: Settings,
    clock: Clock,
    *,
    attempts: int | None,
    signals: frozenset[Signal] = frozenset({Signal.TRACES, Signal.LOGS}),
    observer: Observer = NO_OBSERVER,
) -> OtlpExporter:
    """The exporter for spans and log records; measurements can be probed with it, and go another way.

    Args:
        settings: As read.
        clock: Sleeps between tries.
        attempts: How often a request is tried in all; None for as long as it takes.
        signals: Which of the wanted signals it has.
        observer: Hears of its requests.
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
        on_retry=_telling_retries(observer),
        on_sent=observer.exported,
        on_circuit=telling_circuits(observer),
        on_blocked=observer.destination_blocked,
        senders=lambda destination: sender_to(settings, destination),
    )


def sender_to(settings: Settings, destination: Destination) -> Sender:
    """A sender to one of the settings' destinations, made anew when a file changes that they refer to."""
    if not settings.reads_files:
        return sender_for(destination)
    return RenewedSender(
        Part(settings.present, lambda present: present.destination(destination.signal)), sender_for
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


def _telling_retries(observer: Observer) -> OnRetry:
    def tell(signal: Signal, error: DestinationUnavailable, failures: int, wait_s: float) -> None:
        observer.retried(signal)
        event(
            logging.DEBUG,  # what lasts is told by the circuit
            "export_retry",
            f"{signal.value}: {error}",
            failures=failures,
            retry_in_s=round(wait_s, 1),
        )

    return tell


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """What all workers of a process have in common.

    Attributes:
        settings: As read.
        ledger: What is done.
        exporter: Where spans and log records go.
        clock: The time.
        stop: Set when the service stops.
        observer: Is told what they do.
        capacity: How much all their pipelines hold.
    """

    settings: Settings
    ledger: Ledger
    exporter: Exporter
    clock: Clock
    stop: asyncio.Event
    observer: Observer = NO_OBSERVER
    capacity: Capacity = field(default_factory=Capacity)

    def with_observer(self, observer: Observer) -> ServiceContext:
        """The same with another observer."""
        return replace(self, observer=observer)


def project_worker(
    shared: ServiceContext,
    project: ProjectSettings,
    source: ProjectSource,
    stop: asyncio.Event,
    telemetry: OwnTelemetry | None,
) -> ProjectWorker:
    """The worker of one project.

    Args:
        shared: What it has in common with others.
        project: Its settings.
        source: Its side of the source.
        stop: Set when the service stops, or the project leaves it.
        telemetry: What measures, if anything does.
    """
    settings, ledger = shared.settings, shared.ledger
    collect, poll = settings.collect, settings.collect.poll_interval
    start = project.start or collect.start
    context = ProjectContext(
        project=project.name,
        source=source,
        ledger=ledger,
        clock=shared.clock,
        stop=stop,
        observer=shared.observer,
        spans=Spans() if telemetry is None else telemetry.spans,
        capacity=shared.capacity,
    )
    deliverer = Deliverer(
        context,
        resolver=IdentityResolver(
            project.name,
            ledger,
            lambda log_id: source.parent(log_id, Priority.HEAD),
            memory=ledger,
            options=trace_options(settings),
        ),
        mapper=project_mapper(settings, project),
        exporter=shared.exporter,
        waits=Waits(parent_ms=collect.parent_wait, correlation=CorrelationWait(collect.correlation_wait)),
        measure=None if telemetry is None else telemetry.measured,
        warn=lambda text: event(logging.WARNING, "destination_warning", text, project=project.name),
    )
    options = WorkerOptions(
        start=lambda now_ms: parse_time_ms(start, now_ms),
        interval=AutoPollInterval(source.client.budget) if poll == "auto" else PollInterval(poll / 1000),
        recheck_ages_ms=collect.recheck,
        keep_ms=settings.ledger.keep,
        verify_every_ms=collect.verify_every,
    )
    return ProjectWorker(context, deliverer, options)
