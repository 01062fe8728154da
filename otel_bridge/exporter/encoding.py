"""Spans and log records as OTLP bytes.

Each record is encoded by itself, and requests are put together from the records' bytes. A message nested in
another is, on the wire, its field's number, its length and its bytes
(https://protobuf.dev/programming-guides/encoding/), so joining them costs no second encoding. It gives three
things: a record that can't be encoded harms no other, the size of a request is known before it is built, and
a record that is sent twice is sent as the same bytes. It was also 10 to 60 % faster than one large message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from otel_bridge.exporter.key_values import EncodingError, KeyValues, varint
from otel_bridge.frozen import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.signals import Delivery, Link, LogRecord, Resource, Scope, Span

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8

# The repeated field of attributes in each message: its number and wire type.
_OF_RESOURCE: Final = KeyValues(b"\x0a")
_OF_SPAN: Final = KeyValues(b"\x4a")
_OF_LINK: Final = KeyValues(b"\x22")
_OF_LOG: Final = KeyValues(b"\x32")

# Span.status, there and empty: what nearly all spans have after their attributes.
_STATUS_UNSET: Final = b"\x7a\x00"

# The tags (field number and wire type) of a request's frame; the same for traces and logs, see
# opentelemetry/proto/{trace,logs}/v1/*.proto: ResourceSpans.resource, .scope_spans; ScopeSpans.scope, .spans,
# .schema_url. A request's own and only field has number 1.
_FIELD_1: Final = b"\x0a"
_FIELD_2: Final = b"\x12"
_FIELD_3: Final = b"\x1a"
_FRAME_BYTES: Final = 6  # a tag and a length of up to 5 bytes
_FRAMES_IN_A_GROUP: Final = 5


@dataclass(frozen=True, slots=True)
class Group:
    """What the records of one resource and one scope share, in OTLP bytes."""

    resource: bytes
    scope: bytes
    schema_url: bytes

    @property
    def size(self) -> int:
        """The most bytes it adds to a request."""
        return len(self.resource) + len(self.scope) + len(self.schema_url) + _FRAMES_IN_A_GROUP * _FRAME_BYTES


@value(frozen=True, slots=True)
class Encoded:
    """One span or log record as it goes over the wire.

    Attributes:
        position: Its delivery's place in the sequence that was given to the exporter.
        group: Its resource and scope.
        body: A serialised ``Span`` or ``LogRecord``.
    """

    position: int
    group: Group
    body: bytes

    @property
    def size(self) -> int:
        """The most bytes it adds to a request, its group aside."""
        return len(self.body) + _FRAME_BYTES


class Encoder:
    """Encodes records, and remembers the resources and scopes it has met while it lives.

    Short-lived on purpose: one for each call of an exporter.
    """

    def __init__(self) -> None:
        # By identity, with the objects kept alive: a resource may hold lists, which have no hash, and
        # equality would take True for 1. Equal groups from different objects become one by their bytes.
        self._groups: dict[tuple[int, int], tuple[Resource, Scope, Group]] = {}

    def span(self, delivery: Delivery, position: int = 0) -> Encoded | None:
        """Encode a delivery's span; None where it has none.

        Raises:
            EncodingError: It can't be written as OTLP.
        """
        if delivery.span is None:
            return None
        try:
            return Encoded(position, self._group(delivery), span_bytes(delivery.span))
        except (ValueError, TypeError, AttributeError) as error:
            raise EncodingError(_reason(error)) from None

    def log(self, delivery: Delivery, position: int = 0) -> Encoded | None:
        """Encode a delivery's log record; None where it has none.

        Raises:
            EncodingError: It can't be written as OTLP.
        """
        if delivery.log is None:
            return None
        try:
            return Encoded(position, self._group(delivery), log_bytes(delivery.log))
        except (ValueError, TypeError, AttributeError) as error:
            raise EncodingError(_reason(error)) from None

    def _group(self, delivery: Delivery) -> Group:
        identity = (id(delivery.resource), id(delivery.scope))
        known = self._groups.get(identity)
        if known is None:
            known = (delivery.resource, delivery.scope, _group(delivery.resource, delivery.scope))
            self._groups[identity] = known
        return known[2]


def request(records: Iterable[Encoded]) -> bytes:
    """Put records together as an ``ExportTraceServiceRequest`` or ``ExportLogsServiceRequest``.

    Resources, and scopes in each, stand in the order in which their first record came; records keep their
    order in a scope.

    Args:
        records: All of one signal.
    """
    resources: dict[bytes, dict[Group, list[bytes]]] = {}
    last: Group | None = None
    bodies: list[bytes] = []
    for record in records:
        if record.group is not last:
            last = record.group
            bodies = resources.setdefault(last.resource, {}).setdefault(last, [])
        bodies += (_FIELD_2, varint(len(record.body)), record.body)
    # Lengths come before what they count, so they are added up first and everything is joined once.
    parts: list[bytes] = []
    for resource, scopes in resources.items():
        content = [_field(_FIELD_1, resource)]
        for group, members in scopes.items():
            scope = _field(_FIELD_1, group.scope)
            url = _field(_FIELD_3, group.schema_url) if group.schema_url else b""
            length = len(scope) + sum(map(len, members)) + len(url)
            content += (_FIELD_2, varint(length), scope, *members, url)
        parts += (_FIELD_1, varint(sum(map(len, content))), *content)
    return b"".join(parts)


def encode_traces(deliveries: Sequence[Delivery]) -> bytes:
    """Encode the spans of deliveries as one ``ExportTraceServiceRequest``.

    Raises:
        EncodingError: One of them can't be written as OTLP.
    """
    encoder = Encoder()
    encoded = (encoder.span(delivery) for delivery in deliveries)
    return request(record for record in encoded if record is not None)


def encode_logs(deliveries: Sequence[Delivery]) -> bytes:
    """Encode the log records of deliveries as one ``ExportLogsServiceRequest``.

    Raises:
        EncodingError: One of them can't be written as OTLP.
    """
    encoder = Encoder()
    encoded = (encoder.log(delivery) for delivery in deliveries)
    return request(record for record in encoded if record is not None)


def span_bytes(span: Span) -> bytes:
    """A span as a serialised ``Span``, its fields in the order of their numbers, as protobuf writes them.

    Flags stay 0: whether a parent is remote, and whether its trace was sampled, is not known here.
    """
    head = trace_pb2.Span()
    head.trace_id = _identifier(span.trace_id, _TRACE_ID_BYTES, "trace id")
    head.span_id = _identifier(span.span_id, _SPAN_ID_BYTES, "span id")
    if span.parent_span_id is not None:
        head.parent_span_id = _identifier(span.parent_span_id, _SPAN_ID_BYTES, "parent span id")
    head.name = span.name
    head.kind = span.kind.value  # type: ignore[assignment] # OTLP's own numbers
    head.start_time_unix_nano = span.start_ns
    head.end_time_unix_nano = span.end_ns
    return b"%b%b%b" % (head.SerializeToString(), _OF_SPAN.encode(span.attributes), _after_attributes(span))


def _after_attributes(span: Span) -> bytes:
    """Links and status."""
    if not (span.links or span.status or span.status_message):
        return _STATUS_UNSET
    tail = trace_pb2.Span()
    for link in span.links:
        _fill_link(tail.links.add(), link)
    status = tail.status
    status.SetInParent()
    status.code = span.status.value  # type: ignore[assignment] # OTLP's own numbers
    status.message = span.status_message
    return tail.SerializeToString()


def log_bytes(log: LogRecord) -> bytes:
    """A log record as a serialised ``LogRecord``, its fields in the order of their numbers."""
    head, tail = logs_pb2.LogRecord(), logs_pb2.LogRecord()
    head.time_unix_nano = log.time_ns
    head.severity_number = log.severity.value  # type: ignore[assignment] # OTLP's own numbers
    head.severity_text = log.severity_text
    head.body.string_value = log.body
    if log.trace_id is not None:
        tail.trace_id = _identifier(log.trace_id, _TRACE_ID_BYTES, "trace id")
    if log.span_id is not None:
        tail.span_id = _identifier(log.span_id, _SPAN_ID_BYTES, "span id")
    tail.observed_time_unix_nano = log.observed_ns
    tail.event_name = log.event_name
    return b"%b%b%b" % (head.SerializeToString(), _OF_LOG.encode(log.attributes), tail.SerializeToString())


def _fill_link(message: trace_pb2.Span.Link, link: Link) -> None:
    message.trace_id = _identifier(link.trace_id, _TRACE_ID_BYTES, "trace id of a link")
    message.span_id = _identifier(link.span_id, _SPAN_ID_BYTES, "span id of a link")
    if link.attributes:
        message.MergeFromString(_OF_LINK.encode(link.attributes))


def _group(resource: Resource, scope: Scope) -> Group:
    described = _OF_RESOURCE.encode(dict(resource.attributes))
    maker = common_pb2.InstrumentationScope(name=scope.name, version=scope.version)
    return Group(described, maker.SerializeToString(), scope.schema_url.encode())


def _identifier(value: bytes, length: int, name: str) -> bytes:
    if len(value) != length:
        raise EncodingError(f"the {name} has {len(value)} bytes: takes {length}")
    if not any(value):
        raise EncodingError(f"the {name} is all zeros")
    return value


def _field(tag: bytes, content: bytes) -> bytes:
    return b"".join((tag, varint(len(content)), content))


def _reason(error: Exception) -> str:
    """Say what kind of value it was. The error's own words may hold the value, so they are left out."""
    match error:
        case UnicodeEncodeError():
            return "a text holds a lone surrogate, which UTF-8 can't hold"
        case ValueError():
            return "a number or a time is outside its 64 bits"
        case _:
            return "a field holds a value of the wrong type"
