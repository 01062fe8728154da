"""What the mapping makes and an exporter takes: spans and log records as plain values.

Times are ns since the epoch, ids are bytes (16 for a trace, 8 for a span), attributes keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from otel_bridge.frozen import value

AttributeValue = (
    str | bool | int | float | bytes | Sequence["AttributeValue"] | Mapping[str, "AttributeValue"] | None
)
"""What OTLP's AnyValue can hold. Integers fit 64 bits, floats may be any IEEE double."""

Attributes = Mapping[str, AttributeValue]


class SpanKind(IntEnum):
    """OTLP's numbers for the kinds the bridge can be told to use."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class StatusCode(IntEnum):
    """OTLP's numbers for a span's status."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Severity(IntEnum):
    """OTLP's severity numbers for the levels Composio uses."""

    INFO = 9
    WARN = 13
    ERROR = 17


@dataclass(frozen=True, slots=True)
class Resource:
    """Who a signal speaks of. Hashable by its identity text, so batches can be grouped."""

    attributes: tuple[tuple[str, AttributeValue], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What made the signal."""

    name: str
    version: str
    schema_url: str


@value(frozen=True, slots=True)
class Link:
    """A pointer from a span to another one, in this or another trace."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes = field(default_factory=dict)


@value(frozen=True, slots=True)
class Span:
    """One tool call."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    attributes: Attributes
    status: StatusCode = StatusCode.UNSET
    status_message: str = ""
    links: tuple[Link, ...] = ()


@value(frozen=True, slots=True)
class LogRecord:
    """One entry of Composio's log, as a log record. The ids are None where there is no span."""

    time_ns: int
    observed_ns: int
    severity: Severity
    severity_text: str
    body: str
    event_name: str
    attributes: Attributes
    trace_id: bytes | None = None
    span_id: bytes | None = None


@value(frozen=True, slots=True)
class Delivery:
    """Everything one record becomes; acknowledged, refused and committed as one.

    Attributes:
        key: What the record is called in outcomes: its log id.
        resource: The resource of both signals.
        scope: The scope of both signals.
        span: None where the record makes no span, or where its trace is not sampled.
        log: None where logs are not wanted.
    """

    key: str
    resource: Resource
    scope: Scope
    span: Span | None
    log: LogRecord | None


@dataclass(slots=True)
class Outcome:
    """What became of a batch, record by record; every key of the batch is in exactly one of the two.

    Attributes:
        delivered: Keys that every signal's destination has acknowledged.
        refused: Key to the reason, in one line without payload, for what a destination will not take.
        resent: How many signals were sent more than once to find the refused ones.
        warnings: What a destination said beside its acknowledgement, each once.
        doubtful: Those of the refused of which nothing shows whether they or the destination are to blame:
            worth another try later.
    """

    delivered: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    resent: int = 0
    warnings: list[str] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
