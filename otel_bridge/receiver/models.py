"""The wire models of the Logs API: lenient, because nobody has promised anything but ``id``.

Source of the shapes: the official page of the Logs API and the vendor's OpenAPI document. Every field but
``id`` may be absent, null or of another type, and is its empty value then, so that one bad field never costs
the record; unknown keys are left out. msgspec reads what is as documented. What it refuses is read as plain
values, and ``of_value`` decides what becomes of each.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict

from otel_bridge.receiver.decoding import REFUSED, WrongShape, decode_value, read_raw
from otel_bridge.receiver.lenient import number_of, object_of, slug_of, text_of
from otel_bridge.receiver.nesting import MAX_DEPTH, is_deeper

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", bound=msgspec.Struct)

FilterField = Literal[
    "tool_slug",
    "toolkit_slug",
    "connected_account_id",
    "auth_config_id",
    "status",
    "user_id",
    "session_id",
    "sandbox_id",
    "request_id",
    "log_id",
]
FilterOperator = Literal["==", "!=", "contains", "not_contains"]

TOOL_EXECUTION: Final = "tool.execution"
MOST_ID: Final = 2048
"""The longest id in characters: it is part of a URL, and servers bound those. Composio's have 16."""
_NULL: Final = msgspec.Raw(b"null")
_NS_PER_MS: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MS: Final = re.compile(r"-?[0-9]{9,}(\.[0-9]+)?|-?[0-9](\.[0-9]+)?[eE]\+?[0-9]{1,2}")


class Filter(BaseModel):
    """One condition of a list request; several are combined by AND."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FilterField
    operator: FilterOperator
    value: str


class ParentRef(msgspec.Struct, frozen=True, gc=False):
    """The call that made this one, for instance ``COMPOSIO_MULTI_EXECUTE_TOOL``."""

    log_id: str | None = None
    tool_slug: str | None = None


class Timings(msgspec.Struct, frozen=True, gc=False):
    """When the call ran, in ms since the epoch, perhaps fractional."""

    start_time: float | None = None
    end_time: float | None = None


class Context(msgspec.Struct, frozen=True, gc=False):
    """The ids a call was made under."""

    session_id: str | None = None
    trace_id: str | None = None
    request_id: str | None = None


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a call came from: host is mcp, sdk, api or free text."""

    host: str | None = None
    framework: str | None = None
    language: str | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One log entry of a list: what tells its place among the others, and whether its detail is wanted."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID)]
    timestamp: str | None = None
    type: str | None = None
    status: str | None = None
    parent: ParentRef | None = None

    @classmethod
    def of_value(cls, value: Any) -> Self:
        """Make one of any JSON value.

        Raises:
            WrongShape: It is no object, or has no id.
        """
        if not isinstance(value, dict):
            raise WrongShape("no JSON object")
        return cls(**cls._fields_of(value))

    @classmethod
    def _fields_of(cls, value: dict[str, Any]) -> dict[str, Any]:
        texts = {name: text_of(value.get(name)) for name in ("timestamp", "type", "status")}
        return {"id": _id_in(value), **texts, "parent": _part(ParentRef, value.get("parent"), text_of)}

    @property
    def timestamp_ns(self) -> int | None:
        """The entry's time in ns since the epoch; None where it has none that can be read."""
        return read_timestamp_ns(self.timestamp)

    @property
    def parent_log_id(self) -> str | None:
        """The parent's log id, or None."""
        return (self.parent.log_id or None) if self.parent is not None else None

    @property
    def is_tool_execution(self) -> bool:
        """Whether this is a tool call. An entry that names no type is taken for one: the route says so."""
        return self.type is None or self.type == TOOL_EXECUTION


class Detail(Entry, frozen=True, gc=False):
    """One log entry in full.

    Attributes:
        raw_data: ``data`` as JSON: most records are delivered without it. Of its bytes no more than the
            syntax is checked; see ``data``.
        body_bytes: The bytes of the answer that it was read from, decompressed; 0 where it was read from
            none. It is no key of the record.
        missing: Why this is what the list said, although the detail was asked for: ``not_found``,
            ``refused``, ``too_large``, ``unreadable`` or ``failed``; None where it is the detail. No key of
            the record either.
    """

    level: str | None = None
    message: str | None = None
    metadata: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    timings: Timings | None = None
    context: Context | None = None
    source: Source | None = None
    raw_data: msgspec.Raw = msgspec.field(name="data", default=_NULL)
    body_bytes: Annotated[int, msgspec.Meta(ge=0, le=0)] = msgspec.field(name="", default=0)
    missing: Annotated[str, msgspec.Meta(max_length=0)] | None = msgspec.field(name=" ", default=None)

    @classmethod
    def read(cls, body: bytes) -> Detail:
        """Read an answer's body.

        Raises:
            UndecodableBody: It is no JSON.
            WrongShape: It is JSON, but no log entry.
        """
        try:
            detail = _DETAIL.decode(body)
        except REFUSED:
            detail = cls.of_value(decode_value(body))
        else:
            if detail.may_be_deep and is_deeper(body):
                detail = cls.of_value(decode_value(body))
        msgspec.structs.force_setattr(detail, "body_bytes", len(body))
        return detail

    @classmethod
    def of(cls, entry: Entry) -> Detail:
        """What is known of an entry whose detail is not asked for."""
        if isinstance(entry, Detail):
            return entry
        return cls(entry.id, entry.timestamp, entry.type, entry.status, entry.parent)

    def without_detail(self, why: str) -> Detail:
        """The same, as what the list said of a record whose detail can't be had; see ``missing``."""
        return msgspec.structs.replace(self, missing=why)

    @classmethod
    def _fields_of(cls, value: dict[str, Any]) -> dict[str, Any]:
        return super()._fields_of(value) | {
            "level": text_of(value.get("level")),
            "message": text_of(value.get("message")),
            "metadata": object_of(value.get("metadata")),
            "metrics": object_of(value.get("metrics")),
            "timings": _part(Timings, value.get("timings"), number_of),
            "context": _part(Context, value.get("context"), text_of),
            "source": _part(Source, value.get("source"), text_of),
            "raw_data": msgspec.Raw(json.dumps(value.get("data")).encode()),
        }

    @property
    def data(self) -> Any:
        """What the call was given and what came out; read anew each time."""
        return read_raw(self.raw_data, MAX_DEPTH - 1)

    @property
    def as_listed(self) -> Detail:
        """What a list would have shown of it."""
        return msgspec.structs.replace(
            self, timings=None, context=None, source=None, raw_data=_NULL, body_bytes=0
        )

    @property
    def may_be_deep(self) -> bool:
        """Whether anything beside ``data`` holds objects or arrays of no known shape."""
        return not (
            _NESTING.isdisjoint(map(type, self.metadata.values()))
            and _NESTING.isdisjoint(map(type, self.metrics.values()))
        )

    @property
    def tool_slug(self) -> str | None:
        """The tool's slug, from ``metadata.tool_slug`` or ``metadata.tool``; None where neither says."""
        return slug_of(self.metadata.get("tool_slug"), self.metadata.get("tool"))


_DETAIL: Final = msgspec.json.Decoder(Detail)
_NESTING: Final = frozenset({dict, list})


def _id_in(value: dict[str, Any]) -> str:
    if "id" not in value:
        raise WrongShape("id: missing")
    log_id = text_of(value["id"])
    if log_id is None:
        raise WrongShape("id: not text")
    if not log_id:
        raise WrongShape("id: empty")
    if len(log_id) > MOST_ID:
        raise WrongShape(f"id: longer than {MOST_ID:,} characters")
    return log_id


def _part(model: type[T], value: Any, read: Callable[[Any], Any]) -> T | None:
    if not isinstance(value, dict):
        return None
    return model(**{name: read(value.get(name)) for name in model.__struct_fields__})


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """Counts of a time range, from ``POST /api/v3.1/project/usage/summary``.

    Attributes:
        tool_calls: How many tool calls the range holds; None where the answer does not say.
    """

    tool_calls: int | None

    @classmethod
    def read(cls, body: bytes) -> UsageSummary:
        """Read an answer's body.

        Raises:
            UndecodableBody: It is no JSON.
            WrongShape: It is JSON, but no object.
        """
        value = decode_value(body)
        if not isinstance(value, dict):
            raise WrongShape("no JSON object")
        tool_calls = object_of(object_of(value.get("entities")).get("tool_calls"))
        count = number_of(tool_calls.get("event_count"))
        return cls(None if count is None else int(count))


def ms_to_ns(ms: float) -> int:
    """Turn ms, perhaps fractional, into whole ns without the rounding of a product of floats."""
    whole = math.floor(ms)
    return whole * _NS_PER_MS + round((ms - whole) * _NS_PER_MS)


@lru_cache(maxsize=2048)  # sorting, windows and spans each ask a record for its time
def read_timestamp_ns(text: str | None) -> int | None:
    """Read an ISO 8601 time, or a number of ms since the epoch, to ns since the epoch.

    A time without a zone is UTC. None where the text can't be read.
    """
    if text is None:
        return None
    text = text.strip()
    if _EPOCH_MS.fullmatch(text):  # asked first: fromisoformat takes 1704120112345 for the year 1704
        ms = number_of(text)
        return None if ms is None else ms_to_ns(ms)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
