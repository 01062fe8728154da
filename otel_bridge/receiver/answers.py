"""What an answer other than success means, in words for people.

Nothing of a record and no secret gets into these words: the vendor's ``message`` and ``suggested_fix`` are
cut, freed of control characters, and the key is masked wherever it is echoed.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

import httpx

from otel_bridge.causes import barrier, is_barred
from otel_bridge.errors import RecordNotFound, SourceBusy, SourceError, SourceFailed, SourceRefused
from otel_bridge.frozen import value
from otel_bridge.receiver.advice import advised
from otel_bridge.receiver.decoding import UndecodableBody, decode_value
from otel_bridge.receiver.rate_headers import read_retry_after_s
from otel_bridge.receiver.routes import Route

_MOST_TEXT: Final = 300
_TOO_EARLY: Final = 425  # http.HTTPStatus has it only by another name in some versions
# What firewalls and bot protection refuse by, and Composio a key.
_OF_A_KEY: Final = {401, 403, 406, 451}
_NOT_NOW: Final = {HTTPStatus.REQUEST_TIMEOUT, _TOO_EARLY}

KEY_PLACE: Final = re.compile(r"(?<=: the key from ).+?(?= is not accepted| may not read this)")
"""Where the refused key comes from, in the words of ``advice``."""


@value(frozen=True, slots=True)
class Answer:
    """One whole answer of the source. Its repr leaves the body out.

    Attributes:
        status: The HTTP status.
        headers: The headers.
        body: The body, decompressed.
    """

    status: int
    headers: httpx.Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


def trouble_of(  # noqa: PLR0913 - an answer, and all that words about it name
    route: Route, answer: Answer, *, now_ms: int, secret: str, key_from: str, url: str
) -> SourceError | None:
    """Say what is wrong with an answer; None where nothing is.

    Args:
        route: What was asked.
        answer: What came.
        now_ms: Ms since the epoch, for a Retry-After that is a date.
        secret: The key, to be masked.
        key_from: Where the key comes from.
        url: The source's address.
    """
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    said = f"{route.label} was answered with {status}"
    if status < HTTPStatus.BAD_REQUEST:
        return SourceRefused(f"{said}{_redirect(answer.headers, secret)}", status)
    if status in _OF_A_KEY and _is_barred(answer):
        said += f" by {barrier(answer.headers, 'Composio')}, which says nothing of the key"
        return advised(SourceFailed(f"{said}{vendor_text(answer.body, secret)}"), url)
    said += advice(status, route, key_from) + vendor_text(answer.body, secret)
    return _refusal(route, answer, said, now_ms, url)


def _refusal(route: Route, answer: Answer, said: str, now_ms: int, url: str) -> SourceError:
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SourceBusy(said, read_retry_after_s(answer.headers, now_ms))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_NOW:
        return SourceFailed(said)
    if status == HTTPStatus.NOT_FOUND and route is Route.DETAIL:
        return RecordNotFound(said)
    return advised(SourceRefused(said, status), url)


def _is_barred(answer: Answer) -> bool:
    """Whether a refusal comes from what stands before Composio, whose own are JSON with an explanation."""
    try:
        content = decode_value(answer.body)
    except UndecodableBody:
        return True
    own = isinstance(content, dict) and not content.keys().isdisjoint({"error", "message"})
    return not own or is_barred(answer.headers, b"")


def advice(status: int, route: Route, key_from: str) -> str:
    """What a person can do about a status, as the continuation of a sentence; empty where that is nothing."""
    if status == HTTPStatus.UNAUTHORIZED:
        return f": the key from {key_from} is not accepted"
    if status == HTTPStatus.FORBIDDEN:
        return f': the key from {key_from} may not read this; it needs the permission "Observability: Read"'
    if status == HTTPStatus.NOT_FOUND and route is not Route.DETAIL:
        return ": there is no such route below COMPOSIO_BASE_URL (base_url)"
    return ""


def vendor_text(body: bytes, secret: str) -> str:
    """What the vendor says of an error, as the continuation of a sentence; empty where it says nothing."""
    try:
        content = decode_value(body)
    except UndecodableBody as error:
        return f" (no explanation: {error})" if body else ""
    envelope = content if isinstance(content, dict) else {}
    inner = envelope.get("error")
    error_object: dict[str, Any] = inner if isinstance(inner, dict) else envelope
    message = error_object.get("message")
    if message is None and isinstance(inner, str):
        message = inner
    words = [text for text in (message, error_object.get("suggested_fix")) if isinstance(text, str) and text]
    return f'. Composio says: "{tidy(" ".join(words), secret)}"' if words else ""


def tidy(text: str, secret: str) -> str:
    """Make foreign text fit for one line of a log: the secret masked, nothing unprintable, 300 characters."""
    if secret:
        text = text.replace(secret, "***")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _MOST_TEXT]).split())
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _redirect(headers: httpx.Headers, secret: str) -> str:
    try:
        host = httpx.URL(headers.get("location", "")).host
    except (httpx.InvalidURL, ValueError):
        host = ""
    if not headers.get("location"):
        return ": a redirect without an address; check COMPOSIO_BASE_URL (base_url)"
    where = f"host {tidy(host, secret)}" if host else "another path of the same host"
    return (
        f": a redirect to {where}, which is not followed, because the key must not be sent elsewhere;"
        " check COMPOSIO_BASE_URL (base_url)"
    )
