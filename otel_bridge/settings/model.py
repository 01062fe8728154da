"""What a user may set: the sections of the YAML file, each field with its variable and what it takes.

The tables of the documentation, ``config --schema`` and the error lines all come from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from otel_bridge.ledger import default_state_url
from otel_bridge.mapping.options import ContentCapture, GroupBy, Unsampled
from otel_bridge.receiver.models import Filter
from otel_bridge.settings.kinds import (
    Ages,
    AutoConcurrency,
    AutoDurationMs,
    BaseUrl,
    DurationMs,
    HostNames,
    Key,
    Label,
    Listen,
    Lower,
    Names,
    OneLine,
    Point,
    PositiveDurationMs,
    ServiceName,
    Upper,
    Variable,
)
from otel_bridge.settings.links import TAKES, Links
from otel_bridge.settings.section import Section

DEFAULT_BASE_URL = "https://backend.composio.dev"
DEFAULT_PROJECT = "default"
_DURATION = "a duration such as 5s, 2m or 1h"
_URL = (
    "an https URL without user and password, such as https://backend.composio.dev "
    "(plain http only to loopback, unless OTEL_BRIDGE_ALLOW_HTTP=true)"
)


def _written(text: str) -> Any:
    """A default as a person would write it; the field's own validator reads it."""
    return text


DetailPolicy = Literal["all", "failed", "none"]


class ProjectSettings(Section):
    """One Composio project. What it leaves out comes from ``collect`` and ``mapping``."""

    name: Annotated[str, Label, Variable(None, "a name, 1 to 100 characters")] = Field(
        DEFAULT_PROJECT, min_length=1, max_length=100, description="Part of every id: choose it once."
    )
    api_key: Annotated[
        SecretStr | None,
        Key,
        Variable(
            "COMPOSIO_API_KEY", "the project API key: ASCII without spaces", secret=True, from_file=True
        ),
    ] = Field(None, description="The project API key, permission *Observability: Read*.")
    base_url: Annotated[BaseUrl, Variable("COMPOSIO_BASE_URL", _URL)] = Field(
        DEFAULT_BASE_URL, description="Where Composio is."
    )
    organization: Annotated[str | None, Label, Variable(None, "a name")] = Field(
        None, description="Projects of one organisation share one request budget."
    )
    filters: Annotated[tuple[Filter, ...], Variable(None, "a list of {field, operator, value}")] = Field(
        (), description="Only records that match all of these are collected."
    )
    resource: Annotated[dict[str, str], Variable(None, "names and values")] = Field(
        default={}, description="Added to the resource of this project's spans and log records."
    )
    start: Annotated[Point | None, Variable(None, "a time or an age")] = Field(
        None, description="As `collect.start`."
    )
    detail: Annotated[DetailPolicy | None, Lower, Variable(None, "all, failed or none")] = Field(
        None, description="As `collect.detail`."
    )
    concurrency: Annotated[AutoConcurrency | None, Variable(None, "auto or a number from 1 to 256")] = Field(
        None, description="As `collect.concurrency`."
    )
    service_name: Annotated[
        str | None, ServiceName, Variable(None, "a name; may hold {toolkit} and {project}")
    ] = Field(None, min_length=1, description="As `mapping.service_name`.")

    _key_from: str = PrivateAttr(default="api_key")

    @property
    def key_from(self) -> str:
        """Where the key comes from, for messages: a variable, or a file and what it is called there."""
        return self._key_from

    def with_key_from(self, place: str) -> Self:
        """The same, knowing where its key comes from."""
        named = self.model_copy()
        named._key_from = place  # noqa: SLF001 - its own kind
        return named


class CollectSettings(Section):
    """What is collected, when, and how much of the request budget it may take."""

    projects_from: Annotated[
        str | None, Label, Variable("OTEL_BRIDGE_PROJECTS", "a YAML file, a folder of them, or table")
    ] = Field(
        None,
        min_length=1,
        description="Where the projects are, in place of `projects`; they come and go without a restart.",
    )
    start: Annotated[
        Point,
        Variable(
            "OTEL_BRIDGE_START",
            "a past time such as 2026-04-17T10:00:00Z or an age such as 36h, at most 400 days ago",
        ),
    ] = Field("1h", description="Where a new ledger begins: an age or a time.")
    poll_interval: Annotated[
        AutoDurationMs, Variable("OTEL_BRIDGE_POLL_INTERVAL", "auto or a duration such as 5s, 2m or 1h")
    ] = Field(
        "auto",
        description="How often new records are looked for. `auto`: every second while list requests take "
        "less than 5 % of the share, else up to every 5 s.",
    )
    recheck: Annotated[Ages, Variable("OTEL_BRIDGE_RECHECK", "ages that rise, such as 30s,2m,10m,1h")] = (
        Field(
            _written("30s,2m,10m,1h"),
            description="Ages at which a collected window is listed again for late records before it is "
            "sealed.",
        )
    )
    detail: Annotated[DetailPolicy, Lower, Variable("OTEL_BRIDGE_DETAIL", "all, failed or none")] = Field(
        "all", description="Which records get a detail request."
    )
    rate_share: Annotated[float, Variable("OTEL_BRIDGE_RATE_SHARE", "a number above 0 and at most 1")] = (
        Field(
            0.5,
            gt=0,
            le=1,
            description="The share of the organisation's request budget that the bridge may use.",
        )
    )
    concurrency: Annotated[
        AutoConcurrency, Variable("OTEL_BRIDGE_CONCURRENCY", "auto or a number from 1 to 256")
    ] = Field(
        "auto",
        description="Detail requests in flight, per project. `auto`: as many as the share needs at the "
        "latency that is seen, from 4 to 128.",
    )
    parent_wait: Annotated[DurationMs, Variable("OTEL_BRIDGE_PARENT_WAIT", _DURATION)] = Field(
        _written("30s"),
        description="How long a record waits for a parent that is not logged yet: Composio logs a call when "
        "it ends, so a parent comes after its children.",
    )
    correlation_wait: Annotated[DurationMs | None, Variable("OTEL_BRIDGE_CORRELATION_WAIT", _DURATION)] = (
        Field(
            None,
            description="How long a record that no application has placed waits, counted from its time, for "
            "a correlation. Unset: 5 s for a project that has used one within a day, nothing for others; "
            "`0s`: never.",
        )
    )
    verify_every: Annotated[
        DurationMs, Variable("OTEL_BRIDGE_VERIFY_EVERY", "a duration such as 1d, or 0s for never")
    ] = Field(
        _written("1d"),
        description="How often what was sealed since is compared with Composio, and repaired.",
    )
    timeout: Annotated[PositiveDurationMs, Variable("OTEL_BRIDGE_SOURCE_TIMEOUT", _DURATION)] = Field(
        _written("30s"), description="How long one request to Composio may take."
    )


Protocol = Literal["grpc", "http/protobuf"]


class OtlpSettings(Section):
    """Where one signal goes; the same meanings as the standard ``OTEL_EXPORTER_OTLP_*`` variables."""

    endpoint: str | None = Field(None, description="The URL.")
    protocol: str | None = Field(None, description="`grpc` or `http/protobuf`.")
    headers: SecretStr | None = Field(None, description="Names and values, or `k=v,k2=v2`.")
    compression: str | None = Field(None, description="`gzip` or `none`.")
    certificate: str | None = Field(
        None, description="A PEM file that the server's certificate is checked by."
    )
    client_key: str | None = Field(None, description="A PEM file: the client's private key.")
    client_certificate: str | None = Field(None, description="A PEM file: the client's certificate.")
    timeout: str | None = Field(None, description="Milliseconds.")
    insecure: str | None = Field(None, description="gRPC without TLS where the endpoint has no scheme.")

    @field_validator("headers", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        if isinstance(value, dict):
            from urllib.parse import quote  # noqa: PLC0415 - only a file that writes them as a mapping needs it

            if not all(isinstance(each, str) or type(each) is int for each in value.values()):
                raise ValueError("names and values, both text")
            return ",".join(f"{quote(name)}={quote(str(each))}" for name, each in value.items())
        return value

    @field_validator("timeout", "insecure", mode="before")
    @classmethod
    def _worded(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, int) else value


SignalName = Literal["traces", "logs", "metrics"]


class ExportSettings(OtlpSettings):
    """Where spans, log records and measurements go."""

    signals: Annotated[
        tuple[SignalName, ...],
        Names,
        Variable("OTEL_BRIDGE_SIGNALS", "one or more of traces, logs, metrics, joined by commas"),
    ] = Field(("traces", "logs", "metrics"), min_length=1, description="What is sent.")
    max_batch_records: Annotated[
        int, Variable("OTEL_BRIDGE_MAX_BATCH_RECORDS", "a number from 1 to 10000")
    ] = Field(512, ge=1, le=10_000, description="The most records in one request.")
    max_batch_bytes: Annotated[
        int, Variable("OTEL_BRIDGE_MAX_BATCH_BYTES", "a number of bytes from 10000 to 100000000")
    ] = Field(
        3_000_000, ge=10_000, le=100_000_000, description="The most bytes in one request, uncompressed."
    )
    metric_interval: Annotated[
        int, Variable("OTEL_METRIC_EXPORT_INTERVAL", "milliseconds, from 100 to 86400000")
    ] = Field(60_000, ge=100, le=86_400_000, description="Milliseconds between two exports of measurements.")
    age_limit: Annotated[
        DurationMs | None, Variable("OTEL_BRIDGE_AGE_LIMIT", "a duration such as 18h, or 0s for no limit")
    ] = Field(
        None,
        description="How old a record the destination takes. Unset: known by its address (Datadog 18 h, "
        "Grafana Cloud 7 d, Logfire 24 h, New Relic and Dynatrace 1 h).",
    )
    connection_age: Annotated[
        DurationMs | None,
        Variable("OTEL_BRIDGE_CONNECTION_AGE", "a duration such as 5m, or 0s for no bound"),
    ] = Field(
        None,
        description="For how long a connection to a destination takes new requests, so that the Collectors "
        "behind a load balancer share them. Unset: no bound.",
    )
    traces: OtlpSettings = Field(OtlpSettings(), description="What differs for spans.")
    logs: OtlpSettings = Field(OtlpSettings(), description="What differs for log records.")
    metrics: OtlpSettings = Field(OtlpSettings(), description="What differs for measurements.")


class MappingSettings(Section):
    """What a record becomes."""

    service_name: Annotated[
        str, ServiceName, Variable("OTEL_BRIDGE_SERVICE_NAME", "a name; may hold {toolkit} and {project}")
    ] = Field("composio", min_length=1, description="`service.name` of exported tool calls.")
    span_kind: Annotated[
        Literal["internal", "client", "server"],
        Lower,
        Variable("OTEL_BRIDGE_SPAN_KIND", "internal, client or server"),
    ] = Field("internal", description="The kind of a tool call's span.")
    content: Annotated[
        ContentCapture,
        Upper,
        Variable(
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
            "NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT",
        ),
    ] = Field(ContentCapture.NO_CONTENT, description="Whether arguments and results are exported, and where.")
    redact: Annotated[
        tuple[str, ...], Names, Variable("OTEL_BRIDGE_REDACT", "key patterns, joined by commas")
    ] = Field((), description="Keys whose values are masked, besides the built-in list.")
    group_by: Annotated[GroupBy, Lower, Variable("OTEL_BRIDGE_GROUP_BY", "none or session")] = Field(
        GroupBy.NONE,
        description="What calls share a trace by where nothing else says so: `session` makes one trace of a "
        "session.",
    )
    unsampled: Annotated[Unsampled, Lower, Variable("OTEL_BRIDGE_UNSAMPLED", "own, join or drop")] = Field(
        Unsampled.OWN,
        description="What becomes of a call whose application did not sample its trace: a trace of its `own` "
        "with a link, `join` that trace, or `drop` the span and keep the log record.",
    )
    link_retries: Annotated[bool, Lower, Variable("OTEL_BRIDGE_LINK_RETRIES", "true or false")] = Field(
        default=True,
        description="Whether a call is linked to the failed attempt before it, within one request or under "
        "one parent.",
    )
    sample: Annotated[float, Variable("OTEL_BRIDGE_SAMPLE", "a number from 0 to 1")] = Field(
        1.0, ge=0, le=1, description="The share of traces kept; failures always are."
    )
    attribute_bytes: Annotated[
        int, Variable("OTEL_BRIDGE_ATTRIBUTE_BYTES", "a number of bytes from 64 to 1000000")
    ] = Field(
        2048, ge=64, le=1_000_000, description="The longest value of one attribute; Tempo cuts at 2048."
    )
    span_bytes: Annotated[
        int, Variable("OTEL_BRIDGE_SPAN_BYTES", "a number of bytes from 4096 to 2000000")
    ] = Field(65_536, ge=4096, le=2_000_000, description="The largest span or log record.")
    resource: Annotated[dict[str, str], Variable(None, "names and values")] = Field(
        default={}, description="Added to the resource; `OTEL_RESOURCE_ATTRIBUTES` are in it as well."
    )


class LedgerSettings(Section):
    """What the bridge remembers."""

    state: Annotated[
        SecretStr,
        OneLine,
        Variable(
            "OTEL_BRIDGE_STATE",
            "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE",
            from_file=True,
        ),
    ] = Field(default_factory=lambda: SecretStr(default_state_url()), description="The ledger.")
    lease: Annotated[PositiveDurationMs, Variable("OTEL_BRIDGE_LEASE", "a duration such as 15s")] = Field(
        _written("15s"),
        description="With PostgreSQL: after so long without a sign of life a replica's work is taken over by "
        "another one.",
    )
    keep: Annotated[PositiveDurationMs, Variable("OTEL_BRIDGE_KEEP", "a duration such as 2d")] = Field(
        _written("2d"),
        description="How long the ids of delivered records are kept once their window is sealed.",
    )
    keep_correlations: Annotated[
        PositiveDurationMs, Variable("OTEL_BRIDGE_KEEP_CORRELATIONS", "a duration such as 1d")
    ] = Field(
        _written("1d"),
        description="How long a correlation waits for its record; 100,000 are kept at most.",
    )


class HttpSettings(Section):
    """The endpoints of ``run``."""

    listen: Annotated[
        Listen, Variable("OTEL_BRIDGE_LISTEN", "an address such as 127.0.0.1:8790, or nothing")
    ] = Field("127.0.0.1:8790", description="Where the endpoints are; empty turns them off.")
    token: Annotated[
        SecretStr | None,
        OneLine,
        Variable("OTEL_BRIDGE_TOKEN", "a token on one line", secret=True, from_file=True),
    ] = Field(None, description="What `POST` endpoints ask for; without one they answer on loopback only.")
    hosts: Annotated[
        tuple[str, ...],
        Names,
        HostNames,
        Variable("OTEL_BRIDGE_HOSTS", "names of hosts without a port, joined by commas"),
    ] = Field(
        (),
        description=(
            "The names that requests may call the bridge by: on loopback besides this machine's own (a "
            "reverse proxy's), elsewhere these alone, `localhost` for this machine's own, and addresses. "
            "Unset elsewhere: any name."
        ),
    )
    lag_limit: Annotated[PositiveDurationMs, Variable("OTEL_BRIDGE_LAG_LIMIT", _DURATION)] = Field(
        _written("5m"),
        description="`/readyz` says no to a project that is further behind; at least three poll intervals.",
    )
    start_grace: Annotated[DurationMs, Variable("OTEL_BRIDGE_START_GRACE", _DURATION)] = Field(
        _written("1m"), description="For how long after the start `/readyz` calls being behind `starting`."
    )


class LinkSettings(Section):
    """Where the page leads: into the backends that hold what was delivered."""

    trace: Annotated[Links, Variable("OTEL_BRIDGE_TRACE_LINKS", TAKES)] = Field(
        default={}, description="Names, each with the URL template of a trace."
    )


class LogSettings(Section):
    """The bridge's own log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Lower,
        Variable("OTEL_BRIDGE_LOG_LEVEL", "debug, info, warning or error"),
    ] = Field("info", description="The least severe level that is written.")
    format: Annotated[
        Literal["text", "json"] | None, Lower, Variable("OTEL_BRIDGE_LOG_FORMAT", "text or json")
    ] = Field(None, description="Unset: text on a terminal, json elsewhere.")


class TelemetrySettings(Section):
    """What the bridge sends of itself, beside the tool calls and never mixed with them."""

    signals: Annotated[
        tuple[Literal["traces", "logs", "metrics", "none"], ...],
        Names,
        Lower,
        Variable("OTEL_BRIDGE_TELEMETRY", "one or more of traces, logs, metrics, joined by commas, or none"),
    ] = Field(
        ("metrics",),
        min_length=1,
        description="What the bridge sends of itself over OTLP, as the service `otel-bridge`. Metrics go "
        "where `export.signals` has metrics; `/metrics` has them always.",
    )


class SettingsModel(Section):
    """All of it, as the YAML file writes it."""

    projects: tuple[ProjectSettings, ...] = Field(
        (ProjectSettings(),), min_length=1, description="What is collected."
    )
    collect: CollectSettings = CollectSettings()
    export: ExportSettings = ExportSettings()
    mapping: MappingSettings = MappingSettings()
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    http: HttpSettings = HttpSettings()
    links: LinkSettings = LinkSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _names_differ(self) -> SettingsModel:
        names = [project.name for project in self.projects]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two projects are named {name!r}: a name is part of every id, so each takes its own"
                )
        return self
