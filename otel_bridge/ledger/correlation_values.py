"""What the ledger remembers of where calls belong in the traces of the applications that made them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from otel_bridge.frozen import value


class CorrelationKind(StrEnum):
    """What a correlation names a call by."""

    LOG_ID = "log_id"
    REQUEST_ID = "request_id"


@value(frozen=True, slots=True)
class RemoteSpan:
    """A span of an application.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        sampled: Whether the application records it.
    """

    trace_id: bytes
    span_id: bytes
    sampled: bool = True

    def is_same(self, other: RemoteSpan) -> bool:
        """Whether both are one span, whatever is said of its sampling."""
        return (self.trace_id, self.span_id) == (other.trace_id, other.span_id)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Where a call belongs, as its application says. Log ids and request ids are taken to be unique.

    Attributes:
        kind: What ``key`` is.
        key: A log id, or a request id; the same for every project.
        span: The application's span that made the call.
        expires_ms: Until when it is kept, in ms since the epoch.
    """

    kind: CorrelationKind
    key: str
    span: RemoteSpan
    expires_ms: int


class Outcome(StrEnum):
    """What became of a correlation that was registered."""

    REGISTERED = "registered"  # it is kept
    KNOWN = "known"  # it was kept already, or its record stands there already
    CONFLICT = "conflict"  # another span was registered first, and stays
    LATE = "late"  # its record went out before it came


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer to one correlation.

    Attributes:
        project: Whose record it came too late for; None where that is not so.
    """

    outcome: Outcome
    project: str | None = None


@value(frozen=True, slots=True)
class FailedAttempt:
    """A failed call, as a later try of the same may be linked to it.

    Attributes:
        key: 16 bytes that tries of the same thing have in common; a call with two keys is kept twice.
        start_ns: Start, in ns since the epoch, within a signed 64-bit number.
        end_ns: End, likewise.
        trace_id: 16 bytes.
        span_id: 8 bytes.
    """

    key: bytes
    log_id: str
    start_ns: int
    end_ns: int
    trace_id: bytes
    span_id: bytes


@value(frozen=True, slots=True)
class Settled:
    """What was decided for a record before it first went out, beyond what the record itself says.

    It holds from then on: whatever is registered afterwards, the record goes out again as it went out first.

    Attributes:
        remote: The application's span that was registered for it; None where none was.
        retries: Whether ``retry_of`` is decided as well.
        retry_of: Trace id and span id of the failed attempt before it; None where there was none.
    """

    log_id: str
    remote: RemoteSpan | None = None
    retries: bool = False
    retry_of: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is remembered of a batch.

    Attributes:
        settled: By log id: what is decided.
        by_log_id: The spans registered for log ids.
        by_request_id: The spans registered for request ids.
        failed: Failed attempts with one of the keys.
        correlated_ms: When a correlation was last used for a record of the project, or came too late for one;
            None where that never was.
    """

    settled: dict[str, Settled] = field(default_factory=dict)
    by_log_id: dict[str, RemoteSpan] = field(default_factory=dict)
    by_request_id: dict[str, RemoteSpan] = field(default_factory=dict)
    failed: list[FailedAttempt] = field(default_factory=list)
    correlated_ms: int | None = None

    @property
    def names_spans(self) -> bool:
        """Whether it says of any record under which span of its application it stands."""
        return bool(self.settled or self.by_log_id or self.by_request_id)
