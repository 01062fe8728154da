"""Which trace a record belongs to, which span it is, and whose child.

The first rule that applies decides; see :class:`Rule`. Ids are a function of the project's name, the record
and the correlation that was registered for it, so the same record gets the same ids from every process and in
every order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_bridge.frozen import value
from otel_bridge.mapping.options import GroupBy, TraceOptions, Unsampled
from otel_bridge.mapping.traceparent import parse_traceparent
from otel_bridge.signals import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.receiver.models import Detail

MAX_DEPTH: Final = 32
"""How many known ancestors a record may have; beyond it a parent counts as missing."""

_DEFAULT: Final = TraceOptions()
_HASH_VERSION: Final = b"otel-bridge:1"
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_ZERO: Final = bytes(_SPAN_BYTES)
_W3C_TRACE_ID: Final = re.compile(
    r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)


class Rule(StrEnum):
    """What decided the trace of a record."""

    PARENT = "parent"
    CORRELATION = "correlation"
    TRACEPARENT = "traceparent"
    UNSAMPLED = "unsampled"
    TRACE_ID = "trace_id"
    TRACE_ID_HASHED = "trace_id_hashed"
    SESSION = "session"
    LOG_ID = "log_id"

    @property
    def text(self) -> str:
        """For people: why the record stands in this trace."""
        return _RULE_TEXTS[self]


_RULE_TEXTS: Final = {
    Rule.PARENT: "the trace of its parent",
    Rule.CORRELATION: "the trace that the application registered for it",
    Rule.TRACEPARENT: "the trace of the traceparent in its request id",
    Rule.UNSAMPLED: "a trace of its own, because the application did not sample the one it was called in",
    Rule.TRACE_ID: "the trace of its trace id",
    Rule.TRACE_ID_HASHED: "a trace made from its trace id",
    Rule.SESSION: "a trace made from its session id",
    Rule.LOG_ID: "a trace of its own",
}


@value(frozen=True, slots=True)
class KnownParent:
    """The parent's identity is known.

    Attributes:
        trace_id: The parent's trace, 16 bytes.
        depth: How many known ancestors the parent has.
        sampled: False where the parent's span is left out because the application did not sample the trace.
    """

    trace_id: bytes
    depth: int
    sampled: bool = True


@dataclass(frozen=True, slots=True)
class MissingParent:
    """The parent can't be had: neither delivered before, nor in the batch, nor to be fetched."""


@dataclass(frozen=True, slots=True)
class LoopingParent:
    """Following the parents leads back to the record itself."""


ParentState: TypeAlias = KnownParent | MissingParent | LoopingParent
"""What is known of the parent that a record names."""


@value(frozen=True, slots=True)
class RemoteContext:
    """A span of the application's own trace that a record belongs under.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        rule: How it was found.
        sampled: Whether the application records the trace; else that span will never arrive.
    """

    trace_id: bytes
    span_id: bytes
    rule: Rule
    sampled: bool = True


@value(frozen=True, slots=True)
class Identity:
    """Where a record stands.

    Attributes:
        trace_id: 16 bytes, never zero in the low 64 bits where it was made by hashing.
        span_id: 8 bytes, never zero.
        parent_span_id: 8 bytes, or None for a root.
        rule: What decided the trace.
        depth: How many known ancestors stand above it; ``MAX_DEPTH + 1`` where they are too many.
        parent_missing: The record names a parent whose trace could not be followed.
        links: What a rule set aside.
        looping: The record is its own ancestor.
        sampled: False where its span is left out because the application did not sample the trace.
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    rule: Rule
    depth: int = 0
    parent_missing: bool = False
    links: tuple[Link, ...] = ()
    looping: bool = False
    sampled: bool = True


def identify(
    project: str,
    record: Detail,
    parent: ParentState | None,
    remote: RemoteContext | None = None,
    options: TraceOptions = _DEFAULT,
) -> Identity:
    """Decide a record's identity.

    * A known parent gives its trace. One that has ``MAX_DEPTH`` ancestors counts as missing, and the depth
      stays above the limit, so that deeper descendants come out the same in every order of arrival.
    * A missing parent is still the parent span; the other rules give the trace.
    * In a loop there is no parent span among the records, since a circle can't be drawn; the other rules give
      the trace. A record that is its own parent is a loop whatever ``parent`` says.
    * A span of the application that did not become the parent is linked: one whose trace is not sampled, one
      that the record's parent set aside, or the one in the request id where another one was registered. A
      W3C trace id without a span id can't be linked; ``composio.trace.id`` keeps it.

    Args:
        project: The project's name in the settings.
        record: The record. An empty parent id is no parent.
        parent: What is known of the parent that the record names; None counts as missing where it names one.
        remote: The application's span that was registered for the record. One that its request id holds is
            read here.
        options: See there.
    """
    span_id = span_id_of(project, record.id)
    parent_log_id = record.parent_log_id
    contexts = _contexts(record, remote)
    place = _place(project, record, contexts, options)
    links = tuple([Link(each.trace_id, each.span_id) for each in contexts]) if contexts else ()
    looping = parent_log_id == record.id or isinstance(parent, LoopingParent)
    if parent_log_id is None or looping:
        return Identity(
            place.trace_id,
            span_id,
            place.parent_span_id,
            place.rule,
            parent_missing=parent_log_id is not None,
            links=links if place.parent_span_id is None else links[1:],
            looping=parent_log_id is not None,
            sampled=place.sampled,
        )
    depth = 0
    if isinstance(parent, KnownParent):
        depth = min(parent.depth, MAX_DEPTH) + 1
        if depth <= MAX_DEPTH:
            place = _Place(parent.trace_id, None, Rule.PARENT, parent.sampled)
    return Identity(
        place.trace_id,
        span_id,
        span_id_of(project, parent_log_id),
        place.rule,
        depth=depth,
        parent_missing=place.rule is not Rule.PARENT,
        links=links,
        sampled=place.sampled,
    )


@value(frozen=True, slots=True)
class _Place:
    """Where a record stands for all that is not its parent."""

    trace_id: bytes
    parent_span_id: bytes | None
    rule: Rule
    sampled: bool = True


def _contexts(record: Detail, remote: RemoteContext | None) -> list[RemoteContext]:
    """The application's spans that the record belongs under, the one that decides first."""
    found = [] if remote is None else [remote]
    request_id = record.context.request_id if record.context is not None else None
    header = parse_traceparent(request_id) if request_id else None
    if header is not None and (
        remote is None or (header.trace_id, header.span_id) != (remote.trace_id, remote.span_id)
    ):
        found.append(RemoteContext(header.trace_id, header.span_id, Rule.TRACEPARENT, header.sampled))
    return found


def _place(project: str, record: Detail, contexts: Sequence[RemoteContext], options: TraceOptions) -> _Place:
    if contexts:
        remote = contexts[0]
        if remote.sampled or options.unsampled is not Unsampled.OWN:
            sampled = remote.sampled or options.unsampled is not Unsampled.DROP
            return _Place(remote.trace_id, remote.span_id, remote.rule, sampled)
        return replace(_own_trace(project, record, options), rule=Rule.UNSAMPLED)
    given = record.context.trace_id if record.context is not None else None
    if not given:
        return _own_trace(project, record, options)
    w3c = w3c_trace_id(given)
    if w3c is not None:
        return _Place(w3c, None, Rule.TRACE_ID)
    return _Place(_hashed(project, "trace:trace_id", given, _TRACE_BYTES), None, Rule.TRACE_ID_HASHED)


def _own_trace(project: str, record: Detail, options: TraceOptions) -> _Place:
    session_id = _session_id(record) if options.group_by is GroupBy.SESSION else None
    if session_id:
        return _Place(_hashed(project, "trace:session", session_id, _TRACE_BYTES), None, Rule.SESSION)
    return _Place(_hashed(project, "trace:log", record.id, _TRACE_BYTES), None, Rule.LOG_ID)


def _session_id(record: Detail) -> str | None:
    given = record.context.session_id if record.context is not None else None
    if not given:
        given = record.metadata.get("session_id")
    return given if isinstance(given, str) else None


def w3c_trace_id(text: str) -> bytes | None:
    """Read 32 hexadecimal digits, not all zero, or a UUID with its dashes; 16 bytes, or None."""
    if _W3C_TRACE_ID.fullmatch(text) is None:
        return None
    trace_id = bytes.fromhex(text.replace("-", ""))
    return trace_id if any(trace_id) else None


def span_id_of(project: str, log_id: str) -> bytes:
    """The span id of a record: 8 bytes, never zero."""
    return _hashed(project, "span", log_id, _SPAN_BYTES)


def _hashed(project: str, domain: str, key: str, length: int) -> bytes:
    text = _prefix(project, domain) + _delimited(key)
    digest = sha256(text).digest()
    attempt = 0
    # W3C forbids zero ids; the low 64 bits of a trace id are Datadog's id.
    while digest[length - _SPAN_BYTES : length] == _ZERO:
        attempt += 1
        digest = sha256(text + _delimited(str(attempt))).digest()
    return digest[:length]


@lru_cache(maxsize=1024)
def _prefix(project: str, domain: str) -> bytes:
    return _HASH_VERSION + _delimited(project) + _delimited(domain)


def _delimited(text: str) -> bytes:
    # Length before text: no two lists of parts give the same bytes. Lone surrogates are hashed as they are.
    encoded = text.encode("utf-8", "surrogatepass")
    return b"%d:%b," % (len(encoded), encoded)
