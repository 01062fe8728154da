"""Answers of the API: statuses, bodies, and the envelope that errors come in.

The envelope's shape is the vendor's: ``{"error": {message, code, slug, status, request_id, suggested_fix,
errors}}``. Its codes and slugs are made up; nothing should depend on them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.queries import cursor_of
from otel_bridge.emulator.records import to_json

if TYPE_CHECKING:
    from otel_bridge.emulator.store import Page, Usage

JSON: Final = b"application/json; charset=utf-8"
HTML: Final = b"text/html"

_SLUGS: Final = {
    400: "HTTP_BadRequest",
    401: "HTTP_Unauthorized",
    403: "HTTP_Forbidden",
    404: "HTTP_NotFound",
    405: "HTTP_MethodNotAllowed",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer without the headers that every answer has."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def page_answer(page: Page) -> Answer:
    """One page of the list."""
    cursor = b"null" if page.next_page is None else b'"%b"' % cursor_of(page.next_page).encode()
    logs = b",".join([record.entry for record in page.records])
    return Answer(200, b'{"logs":[%b],"next_cursor":%b}' % (logs, cursor))


def usage_answer(usage: Usage, entity_types: tuple[str, ...]) -> Answer:
    """The counts that were asked for; a type that the API does not know is left out."""
    counts = {"tool_calls": usage.tool_calls, "sessions": usage.sessions}
    entities = {
        name: {"unit": "count", "total_quantity": str(count), "event_count": count}
        for name, count in counts.items()
        if name in entity_types
    }
    return json_answer({"entities": entities, "instant_charge": f"{usage.instant_charge:f}"})


def json_answer(content: Any, status: int = 200) -> Answer:
    """Any JSON."""
    return Answer(status, to_json(content))


def error_answer(
    status: int,
    message: str,
    suggested_fix: str,
    errors: list[str] | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    """The error envelope."""
    envelope: dict[str, Any] = {
        "message": message,
        "code": 10_000 + status,
        "slug": _SLUGS.get(status, "HTTP_InternalServerError"),
        "status": status,
        "request_id": uuid.uuid4().hex,
        "suggested_fix": suggested_fix,
    }
    if errors:
        envelope["errors"] = errors
    return Answer(status, to_json({"error": envelope}), headers=headers)


def too_many_requests(seconds: int) -> Answer:
    """429: not the envelope, as the vendor's page on rate limits shows it."""
    message = f"Rate limit exceeded. Try again in {seconds} seconds."
    return Answer(429, to_json({"message": message}), headers=((b"retry-after", b"%d" % seconds),))
