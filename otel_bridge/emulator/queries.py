"""What a request's body asks for, checked as the documented API checks it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

FILTER_FIELDS: Final = (
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
)
FILTER_OPERATORS: Final = ("==", "!=", "contains", "not_contains")
MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
_DAY_MS: Final = 86_400_000
_USAGE_RANGE_MS: Final = 30 * _DAY_MS
_LONGEST_USAGE_RANGE_MS: Final = 366 * _DAY_MS
_ENTITY_TYPES: Final = ("tool_calls", "sessions")


class InvalidQueryError(Exception):
    """A body that the API answers with 400.

    Args:
        errors: One sentence for each thing that is wrong, beginning with where it stands.
    """

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; ``field`` is an attribute of a record."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A request for one page of the list.

    Attributes:
        page: 1 or more.
        from_ms: ms since the epoch, perhaps fractional; None with ``to_ms`` for all times.
    """

    limit: int = DEFAULT_LIMIT
    page: int = 1
    filters: tuple[Filter, ...] = ()
    from_ms: float | None = None
    to_ms: float | None = None


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A request for counts of ``[from_ms, to_ms)``, in ms since the epoch. Empty tuples ask for all."""

    from_ms: float
    to_ms: float
    entity_types: tuple[str, ...] = _ENTITY_TYPES
    user_ids: tuple[str, ...] = ()
    session_ids: tuple[str, ...] = ()


def cursor_of(page: int) -> str:
    """The opaque cursor of a page. That of page 2 is the official page's example."""
    return base64.b64encode(json.dumps({"page": page}, separators=(",", ":")).encode()).decode()


def read_list_query(body: bytes) -> ListQuery:
    """Read the body of a list request; an empty body asks for the first page of everything.

    Raises:
        InvalidQueryError: What the API answers with 400.
    """
    content = _object(body)
    errors: list[str] = []
    from_ms, to_ms = _time_range(content, errors)
    query = ListQuery(
        _limit(content, errors), _page(content, errors), _filters(content, errors), from_ms, to_ms
    )
    if errors:
        raise InvalidQueryError(errors)
    return query


def read_usage_query(body: bytes, now_ms: int) -> UsageQuery:
    """Read the body of a usage request; without a range it asks for the last 30 days.

    Raises:
        InvalidQueryError: What the API answers with 400.
    """
    content = _object(body)
    errors: list[str] = []
    to_ms = _number(content, "to", now_ms, errors)
    from_ms = _number(content, "from", to_ms - _USAGE_RANGE_MS, errors)
    if from_ms > to_ms:
        errors.append("from: must not be after to")
    elif to_ms - from_ms > _LONGEST_USAGE_RANGE_MS:
        errors.append("from: the range must not be longer than 366 days")
    filters = content.get("filters") or {}
    if not isinstance(filters, dict):
        errors.append("filters: expected an object")
        filters = {}
    query = UsageQuery(
        from_ms,
        to_ms,
        _texts(content, "entity_types", errors) or _ENTITY_TYPES,
        _texts(filters, "user_id", errors),
        _texts(filters, "session_id", errors),
    )
    if errors:
        raise InvalidQueryError(errors)
    return query


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        content = json.loads(body)
    except ValueError:
        raise InvalidQueryError(["body: not valid JSON"]) from None
    if not isinstance(content, dict):
        raise InvalidQueryError(["body: expected an object"])
    return content


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _number(content: dict[str, Any], key: str, default: float, errors: list[str]) -> float:
    value = content.get(key, default)
    if not _is_number(value):
        errors.append(f"{key}: expected a number, in ms since the epoch")
        return default
    return float(value)


def _texts(content: dict[str, Any], key: str, errors: list[str]) -> tuple[str, ...]:
    value = content.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    errors.append(f"{key}: expected an array of strings")
    return ()


def _limit(content: dict[str, Any], errors: list[str]) -> int:
    value = content.get("limit", DEFAULT_LIMIT)
    if not _is_number(value) or value != value // 1 or not 1 <= value <= MAX_LIMIT:
        errors.append(f"limit: expected a whole number from 1 to {MAX_LIMIT}")
        return DEFAULT_LIMIT
    return int(value)


def _page(content: dict[str, Any], errors: list[str]) -> int:
    cursor = content.get("cursor")
    if cursor is None:
        return 1
    try:
        page = json.loads(base64.b64decode(cursor, validate=True))["page"]
    except (TypeError, ValueError, KeyError, binascii.Error):
        page = None
    if isinstance(page, bool) or not isinstance(page, int) or page < 1:
        errors.append("cursor: not a cursor of this API")
        return 1
    return page


def _filters(content: dict[str, Any], errors: list[str]) -> tuple[Filter, ...]:
    items = content.get("filters", [])
    if not isinstance(items, list):
        errors.append("filters: expected an array")
        return ()
    filters = []
    for n, item in enumerate(items):
        if not isinstance(item, dict):
            errors.append(f"filters.{n}: expected an object")
            continue
        field, operator, value = item.get("field"), item.get("operator"), item.get("value")
        if field not in FILTER_FIELDS:
            errors.append(f"filters.{n}.field: expected one of {', '.join(FILTER_FIELDS)}")
        elif operator not in FILTER_OPERATORS:
            errors.append(f"filters.{n}.operator: expected one of {', '.join(FILTER_OPERATORS)}")
        elif not isinstance(value, str):
            errors.append(f"filters.{n}.value: expected a string")
        else:
            filters.append(Filter(field, operator, value))
    return tuple(filters)


def _time_range(content: dict[str, Any], errors: list[str]) -> tuple[float | None, float | None]:
    if "time_range" not in content:
        return None, None
    value = content["time_range"]
    if not isinstance(value, dict):
        errors.append("time_range: expected an object")
        return None, None
    wrong = [
        f"time_range.{key}: expected a number" for key in ("from", "to") if not _is_number(value.get(key))
    ]
    if not wrong and value["from"] > value["to"]:
        wrong.append("time_range.from: must not be after time_range.to")
    errors += wrong
    return (None, None) if wrong else (value["from"], value["to"])
