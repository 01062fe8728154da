"""The wire models of the Logs API: lenient, because nobody has promised anything but ``id``.

Source of the shapes: the official page of the Logs API and the vendor's OpenAPI document. Every field but
``id`` may be absent, null or of another type; unknown keys are kept in ``model_extra``. A field that can't be
read becomes its empty value, so that one bad field never costs the record. That is done by defaults inside
pydantic's core: a validator in Python for each field costs as much as the parsing itself.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from otel_bridge.receiver.decoding import decode_model

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
_NS_PER_MS: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MS: Final = re.compile(r"-?[0-9]{9,}(\.[0-9]+)?|-?[0-9](\.[0-9]+)?[eE]\+?[0-9]{1,2}")


class _OrNone:
    """Marks a field that is None where its value can't be read."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


class _OrEmpty:
    """Marks a field that is an empty object where its value can't be read."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default_factory=dict, on_error="default")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _slug(*candidates: Any) -> str | None:
    """The first that is a slug, or an object with one."""
    for candidate in candidates:
        slug = candidate.get("slug") if isinstance(candidate, dict) else candidate
        if isinstance(slug, str) and slug:
            return slug
    return None


Text = Annotated[str | None, _OrNone()]
Number = Annotated[float | None, BeforeValidator(_number)]
Object = Annotated[dict[str, Any], _OrEmpty()]


class Filter(BaseModel):
    """One condition of a list request; several are combined by AND."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FilterField
    operator: FilterOperator
    value: str


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)


class ParentRef(_Lenient):
    """The call that made this one, for instance ``COMPOSIO_MULTI_EXECUTE_TOOL``."""

    log_id: Text = None
    tool_slug: Text = None


class Timings(_Lenient):
    """When the call ran, in ms since the epoch, perhaps fractional."""

    start_time: Number = None
    end_time: Number = None


class Context(_Lenient):
    """The ids a call was made under."""

    session_id: Text = None
    trace_id: Text = None
    request_id: Text = None


class Source(_Lenient):
    """Where a call came from: host is mcp, sdk, api or free text."""

    host: Text = None
    framework: Text = None
    language: Text = None


class Entry(_Lenient):
    """One log entry as a list shows it."""

    id: Annotated[str, Field(min_length=1, max_length=MOST_ID)]
    timestamp: Text = None
    type: Text = None
    status: Text = None
    level: Text = None
    message: Text = None
    metadata: Object = {}
    metrics: Object = {}
    parent: Annotated[ParentRef | None, _OrNone()] = None

    @property
    def timestamp_ns(self) -> int | None:
        """The entry's time in ns since the epoch; None where it has none that can be read."""
        return read_timestamp_ns(self.timestamp)

    @property
    def parent_log_id(self) -> str | None:
        """The parent's log id, or None."""
        return (self.parent.log_id or None) if self.parent is not None else None

    @property
    def tool_slug(self) -> str | None:
        """The tool's slug, from ``metadata.tool_slug`` or ``metadata.tool``; None where neither says."""
        return _slug(self.metadata.get("tool_slug"), self.metadata.get("tool"))

    @property
    def toolkit_slug(self) -> str | None:
        """The toolkit's slug, from ``metadata.toolkit_slug`` or ``metadata.toolkit``.

        None where neither says: it is never guessed from the tool's slug, because a toolkit's own slug may
        hold an underscore.
        """
        return _slug(self.metadata.get("toolkit_slug"), self.metadata.get("toolkit"))

    @property
    def is_tool_execution(self) -> bool:
        """Whether this is a tool call. An entry that names no type is taken for one: the route says so."""
        return self.type is None or self.type == TOOL_EXECUTION


class Detail(Entry):
    """One log entry in full."""

    # Not a field: what a body took on the wire is no part of the record.
    __slots__ = ("_body_bytes",)

    timings: Annotated[Timings | None, _OrNone()] = None
    context: Annotated[Context | None, _OrNone()] = None
    source: Annotated[Source | None, _OrNone()] = None
    data: Any = None

    @property
    def body_bytes(self) -> int:
        """The bytes of the answer that it was read from, decompressed; 0 where it was read from none."""
        size: int = getattr(self, "_body_bytes", 0)
        return size

    @classmethod
    def read(cls, body: bytes) -> Detail:
        """Read an answer's body.

        Raises:
            UndecodableBody: It is no JSON.
            WrongShape: It is JSON, but no log entry.
        """
        detail = decode_model(body, cls)
        object.__setattr__(detail, "_body_bytes", len(body))  # the model is frozen
        return detail

    @classmethod
    def of(cls, entry: Entry) -> Detail:
        """What is known of an entry whose detail is not asked for."""
        return entry if isinstance(entry, Detail) else cls.model_validate(entry.model_dump())


class UsageSummary(_Lenient):
    """Counts of a time range, from ``POST /api/v3.1/project/usage/summary``."""

    entities: Object = {}

    @property
    def tool_calls(self) -> int | None:
        """How many tool calls the range holds; None where the answer does not say."""
        count = _number(_object(self.entities.get("tool_calls")).get("event_count"))
        return None if count is None else int(count)


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
        ms = _number(text)
        return None if ms is None else ms_to_ns(ms)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
