"""What a user may set about the mapping."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from otel_bridge._version import __version__
from otel_bridge.signals import AttributeValue, SpanKind


class ContentCapture(StrEnum):
    """Whether arguments and results are exported, and on which signal.

    The values are those of ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``.
    """

    NO_CONTENT = "NO_CONTENT"
    SPAN_ONLY = "SPAN_ONLY"
    EVENT_ONLY = "EVENT_ONLY"
    SPAN_AND_EVENT = "SPAN_AND_EVENT"

    @property
    def on_span(self) -> bool:
        """Whether the span carries them."""
        return self in {ContentCapture.SPAN_ONLY, ContentCapture.SPAN_AND_EVENT}

    @property
    def on_event(self) -> bool:
        """Whether the log record carries them."""
        return self in {ContentCapture.EVENT_ONLY, ContentCapture.SPAN_AND_EVENT}


class Unsampled(StrEnum):
    """What becomes of a call whose application did not sample its trace: the parent will never arrive."""

    OWN = "own"  # a trace of its own, with a link to the application's span
    JOIN = "join"  # under the application's span all the same
    DROP = "drop"  # no span, unless the call failed; the log record stays


class GroupBy(StrEnum):
    """What calls share a trace by where nothing else says so."""

    NONE = "none"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What may be set about traces. Ids are a function of the record, its correlation and these.

    Attributes:
        unsampled: What becomes of calls out of traces that the application did not sample.
        group_by: What shares a trace where nothing else says so.
        link_retries: Whether a call is linked to the failed attempt before it.
    """

    unsampled: Unsampled = Unsampled.OWN
    group_by: GroupBy = GroupBy.NONE
    link_retries: bool = True


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """The mapping of one project.

    Attributes:
        project: The project's name in the settings; part of every id that is made by hashing.
        service_name: ``service.name``; ``{toolkit}`` and ``{project}`` in it are filled in, other braces
            stay. A record without a toolkit counts as ``unknown``.
        span_kind: The kind of every span.
        content: Where arguments and results go.
        redact: Key patterns whose values are masked beside the built-in ones. Case does not count. With a
            ``*`` (any text) a pattern must match the whole key, without one it may stand anywhere in it;
            either the key as written or with its words joined by ``_`` (``apiKey`` is ``api_key``).
        sample: Share of the traces kept, 0 to 1; failures are always kept.
        attribute_bytes: The most one value may take, in bytes of UTF-8; also the log's body and the status.
        span_bytes: The most all attributes of a span, or of a log record, may take together, in bytes.
        resource: What is added to the resource, in this order.
        server_address: Host of the base URL.
        traces: Whether spans are made.
        logs: Whether log records are made.
        version: The scope's version.
    """

    project: str
    service_name: str = "composio"
    span_kind: SpanKind = SpanKind.INTERNAL
    content: ContentCapture = ContentCapture.NO_CONTENT
    redact: tuple[str, ...] = ()
    sample: float = 1.0
    attribute_bytes: int = 2048
    span_bytes: int = 65536
    resource: tuple[tuple[str, AttributeValue], ...] = ()
    server_address: str | None = None
    traces: bool = True
    logs: bool = True
    version: str = __version__
