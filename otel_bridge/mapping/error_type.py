"""``error.type``: a low-cardinality class for a failure.

Read from, in this order: an HTTP status (400 to 599) in the record's metadata, metrics or data; an error code
that is in the list below; the same two in the message. Else ``_OTHER``: the vendor's codes are open, and so
would be the number of values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.mapping.conventions import ERROR_TYPE_OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_bridge.receiver.models import Detail

_STATUS_KEYS: Final = (
    "status_code",
    "statusCode",
    "http_status",
    "httpStatus",
    "http_status_code",
    "httpStatusCode",
    "http.response.status_code",
    "http.status_code",
    "response_status",
    "status",
    "code",
)
_CODE_KEYS: Final = (
    "error_type",
    "errorType",
    "error_code",
    "errorCode",
    "code",
    "slug",
    "type",
    "reason",
    "error",
)
_NESTED_KEYS: Final = ("error", "response", "result", "output", "data", "details", "http")
_MOST_NESTED: Final = 2

# What sources write, its words joined by "_", to the one name that is exported.
_CODES: Final = {
    "rate_limited": "rate_limited",
    "rate_limit": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "too_many_requests": "rate_limited",
    "quota_exceeded": "quota_exceeded",
    "timeout": "timeout",
    "timed_out": "timeout",
    "request_timeout": "timeout",
    "gateway_timeout": "timeout",
    "deadline_exceeded": "timeout",
    "etimedout": "timeout",
    "unauthorized": "unauthorized",
    "unauthenticated": "unauthorized",
    "authentication_failed": "unauthorized",
    "invalid_grant": "invalid_grant",
    "token_expired": "token_expired",
    "expired_token": "token_expired",
    "forbidden": "forbidden",
    "permission_denied": "forbidden",
    "access_denied": "forbidden",
    "insufficient_permissions": "forbidden",
    "insufficient_scope": "forbidden",
    "not_found": "not_found",
    "tool_not_found": "tool_not_found",
    "connected_account_not_found": "connected_account_not_found",
    "no_connected_account": "connected_account_not_found",
    "conflict": "conflict",
    "already_exists": "conflict",
    "bad_request": "invalid_request",
    "invalid_request": "invalid_request",
    "invalid_request_error": "invalid_request",
    "invalid_argument": "invalid_request",
    "invalid_arguments": "invalid_request",
    "invalid_input": "invalid_request",
    "validation_error": "invalid_request",
    "validation_failed": "invalid_request",
    "payload_too_large": "payload_too_large",
    "service_unavailable": "unavailable",
    "unavailable": "unavailable",
    "bad_gateway": "unavailable",
    "connection_refused": "connection_failed",
    "connection_reset": "connection_failed",
    "connection_error": "connection_failed",
    "econnrefused": "connection_failed",
    "econnreset": "connection_failed",
    "internal_error": "internal_error",
    "internal_server_error": "internal_error",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_LONGEST_CODE: Final = 64
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

_STATUS_TEXT: Final = re.compile(r"[45]\d\d")
_STATUS_IN_MESSAGE: Final = re.compile(
    r"\b(?:http(?:/[\d.]{1,3})?|status(?:[ _]?code)?|(?:error|response)(?: code)?|code)[ :=(]{1,3}"
    r"([45]\d\d)\b"
    r"|\b([45]\d\d) (?:client error|server error|bad request|unauthorized|payment required|forbidden"
    r"|not found|method not allowed|request timeout|conflict|gone|payload too large|unprocessable"
    r"|too many requests|internal server error|bad gateway|service unavailable|gateway time)"
)
# Phrases that say the class by themselves in prose; the first one listed that occurs counts.
_PHRASES: Final = (
    ("rate limit", "rate_limited"),
    ("rate_limit", "rate_limited"),
    ("too many requests", "rate_limited"),
    ("quota exceeded", "quota_exceeded"),
    ("timed out", "timeout"),
    ("timeout", "timeout"),
    ("deadline exceeded", "timeout"),
    ("unauthorized", "unauthorized"),
    ("invalid_grant", "invalid_grant"),
    ("token expired", "token_expired"),
    ("forbidden", "forbidden"),
    ("permission denied", "forbidden"),
    ("access denied", "forbidden"),
    ("not found", "not_found"),
    ("service unavailable", "unavailable"),
    ("bad gateway", "unavailable"),
    ("connection refused", "connection_failed"),
    ("connection reset", "connection_failed"),
    ("internal server error", "internal_error"),
)
_MESSAGE_CHARACTERS: Final = 2048


def error_type_of(record: Detail) -> str:
    """Decide the class of a record that failed."""
    places = list(_places(record))
    for place in places:
        for key in _present(_STATUS_KEYS, place):
            status = _http_status(place.get(key))
            if status is not None:
                return status
    for place in places:
        for key in _present(_CODE_KEYS, place):
            code = _known_code(place.get(key))
            if code is not None:
                return code
    return _from_message(record.message or "")


def _places(record: Detail) -> Iterator[dict[str, Any]]:
    yield record.metadata
    yield record.metrics
    data = record.data  # each time it is asked for it is read
    if isinstance(data, dict):
        yield from _with_nested(data, 0)


def _with_nested(place: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    yield place
    if depth < _MOST_NESTED:
        for key in _NESTED_KEYS:
            inner = place.get(key)
            if isinstance(inner, dict):
                yield from _with_nested(inner, depth + 1)


def _present(keys: tuple[str, ...], place: dict[str, Any]) -> Iterable[str]:
    # Most places have none of the keys; that is quickly seen.
    return () if place.keys().isdisjoint(keys) else keys


def _http_status(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 400 <= value <= 599 else None  # noqa: PLR2004 - HTTP's classes of errors
    if isinstance(value, str) and _STATUS_TEXT.fullmatch(value):
        return value
    return None


def _known_code(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_CODE:
        return None
    words = _CAMEL.sub("_", value) if not value.isupper() else value
    return _CODES.get(_NOT_WORD.sub("_", words.lower()).strip("_"))


def _from_message(message: str) -> str:
    message = message[:_MESSAGE_CHARACTERS].lower()
    if _STATUS_TEXT.search(message):
        status = _STATUS_IN_MESSAGE.search(message)
        if status is not None:
            return status[1] or status[2]
    return next((name for phrase, name in _PHRASES if phrase in message), ERROR_TYPE_OTHER)
