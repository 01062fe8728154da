"""Which trace a record belongs to, which span it is, and whose child.

The first rule that applies decides; see :class:`Rule`. Ids are a function of the project's name and the
record alone, so the same record gets the same ids from every process and in every order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_bridge.signals import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.receiver.models import Detail

MAX_DEPTH: Final = 32
"""How many known ancestors a record may have; beyond it a parent counts as missing."""

_HASH_VERSION: Final = b"otel-bridge:1"
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_W3C_TRACE_ID: Final = re.compile(
    r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)


class Rule(StrEnum):
    """What decided the trace of a record."""

    PARENT = "parent"
    CORRELATION = "correlation"
    TRACEPARENT = "traceparent"
    TRACE_ID = "trace_id"
    TRACE_ID_HASHED = "trace_id_hashed"
    LOG_ID = "log_id"

    @property
    def text(self) -> str:
        """For people: why the record stands in this trace."""
        return _RULE_TEXTS[self]


_RULE_TEXTS: Final = {
    Rule.PARENT: "the trace of its parent",
    Rule.CORRELATION: "the trace that was registered for it",
    Rule.TRACEPARENT: "the trace of the traceparent in its request id",
    Rule.TRACE_ID: "the trace of its trace id",
    Rule.TRACE_ID_HASHED: "a trace made from its trace id",
    Rule.LOG_ID: "a trace of its own",
}


@dataclass(frozen=True, slots=True)
class KnownParent:
    """The parent's identity is known.

    Attributes:
        trace_id: The parent's trace, 16 bytes.
        depth: How many known ancestors the parent has.
    """

    trace_id: bytes
    depth: int


@dataclass(frozen=True, slots=True)
class MissingParent:
    """The parent can't be had: neither delivered before, nor in the batch, nor to be fetched."""


@dataclass(frozen=True, slots=True)
class LoopingParent:
    """Following the parents leads back to the record itself."""


ParentState: TypeAlias = KnownParent | MissingParent | LoopingParent
"""What is known of the parent that a record names."""


@dataclass(frozen=True, slots=True)
class RemoteContext:
    """A span of the application's own trace that a record belongs under.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        rule: How it was found.
    """

    trace_id: bytes
    span_id: bytes
    rule: Rule


@dataclass(frozen=True, slots=True)
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
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    rule: Rule
    depth: int = 0
    parent_missing: bool = False
    links: tuple[Link, ...] = ()


def identify(
    project: str, record: Detail, parent: ParentState | None, remote: RemoteContext | None = None
) -> Identity:
    """Decide a record's identity.

    * A known parent gives its trace. One that has ``MAX_DEPTH`` ancestors counts as missing, and the depth
      stays above the limit, so that deeper descendants come out the same in every order of arrival.
    * A missing parent is still the parent span; the other rules give the trace.
    * In a loop there is no parent span, since a circle can't be drawn; the other rules give the trace. A
      record that is its own parent is a loop whatever ``parent`` says.

    Args:
        project: The project's name in the settings.
        record: The record. An empty parent id is no parent.
        parent: What is known of the parent that the record names; None counts as missing where it names one.
        remote: The application's span that the record belongs under, where one is known.
    """
    log_id = record.id
    span_id = span_id_of(project, log_id)
    parent_log_id = record.parent_log_id
    if parent_log_id is None:
        trace_id, parent_span_id, rule = _from_remote_or_record(project, record, remote)
        return Identity(trace_id, span_id, parent_span_id, rule)
    aside = () if remote is None else (Link(remote.trace_id, remote.span_id),)
    if parent_log_id == log_id or isinstance(parent, LoopingParent):
        trace_id, parent_span_id, rule = _from_remote_or_record(project, record, remote)
        return Identity(trace_id, span_id, parent_span_id, rule, parent_missing=True)
    depth = 0
    if isinstance(parent, KnownParent):
        depth = min(parent.depth, MAX_DEPTH) + 1
        if depth <= MAX_DEPTH:
            return Identity(
                parent.trace_id,
                span_id,
                span_id_of(project, parent_log_id),
                Rule.PARENT,
                depth=depth,
                links=aside,
            )
    trace_id, _, rule = _from_remote_or_record(project, record, remote)
    return Identity(
        trace_id,
        span_id,
        span_id_of(project, parent_log_id),
        rule,
        depth=depth,
        parent_missing=True,
        links=aside,
    )


def _from_remote_or_record(
    project: str, record: Detail, remote: RemoteContext | None
) -> tuple[bytes, bytes | None, Rule]:
    if remote is not None:
        return remote.trace_id, remote.span_id, remote.rule
    given = record.context.trace_id if record.context is not None else None
    if not given:
        return _hashed(project, "trace:log", record.id, _TRACE_BYTES), None, Rule.LOG_ID
    w3c = w3c_trace_id(given)
    if w3c is not None:
        return w3c, None, Rule.TRACE_ID
    return _hashed(project, "trace:trace_id", given, _TRACE_BYTES), None, Rule.TRACE_ID_HASHED


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
    while not any(digest[max(0, length - _SPAN_BYTES) : length]):
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


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Ordered:
    """Records, each after its parent where that is among them.

    Attributes:
        records: All of them, in the order given but for that.
        looping: Ids of the records that are their own ancestors.
    """

    records: tuple[Detail, ...]
    looping: frozenset[str]


def order_by_parent(records: Sequence[Detail]) -> Ordered:
    """Put parents before their children, and find loops. Takes time in proportion to the number of records.

    An id that occurs more than once stands for its first record when others name it as their parent.
    """
    position = {record.id: index for index, record in reversed(list(enumerate(records)))}
    done = [False] * len(records)
    ordered: list[Detail] = []
    looping: set[str] = set()
    for start in range(len(records)):
        # A record has one parent at most, so the way up is a path, not a tree.
        path: list[int] = []
        on_path: dict[int, int] = {}
        index: int | None = start
        while index is not None and not done[index]:
            if index in on_path:
                looping.update(records[i].id for i in path[on_path[index] :])
                break
            on_path[index] = len(path)
            path.append(index)
            parent_id = records[index].parent_log_id
            index = position.get(parent_id) if parent_id is not None else None
        for index in reversed(path):
            done[index] = True
            ordered.append(records[index])
    return Ordered(tuple(ordered), frozenset(looping))
