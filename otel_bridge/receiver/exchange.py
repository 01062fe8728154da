"""One request and its whole answer, bounded in time and size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from otel_bridge.errors import AnswerTooLarge, SourceFailed, SourceUnreachable
from otel_bridge.receiver.answers import Answer, tidy

if TYPE_CHECKING:
    from collections.abc import Callable


async def exchange(
    http: httpx.AsyncClient,
    request: httpx.Request,
    *,
    timeout_s: float,
    most_bytes: int,
    on_headers: Callable[[int, httpx.Headers], None],
) -> Answer:
    """Send one request, once, and read its whole answer.

    Args:
        http: What sends it.
        request: What is sent.
        timeout_s: Seconds for everything from connecting to the body's last byte. httpx's own timeouts hold
            for each read alone, so a body that drips for ever would pass them.
        most_bytes: The most bytes of body, decompressed, that are held.
        on_headers: Called with status and headers as soon as they are there.

    Raises:
        SourceUnreachable: No connection, a broken one, or no whole answer in time.
        AnswerTooLarge: The body is beyond ``most_bytes``.
        SourceFailed: The body's compression is broken.
    """
    # Never the userinfo; the port, because a wrong one is what a person has to see.
    host = request.url.netloc.decode("ascii", "replace")
    try:
        async with asyncio.timeout(timeout_s):
            response = await http.send(request, stream=True)
            try:
                on_headers(response.status_code, response.headers)
                body = await _read(response, most_bytes)
            finally:
                await response.aclose()
    except TimeoutError:
        raise SourceUnreachable(f"no whole answer from {host} within {timeout_s:g} s") from None
    except httpx.TimeoutException:
        raise SourceUnreachable(f"no connection to {host} in time") from None
    except httpx.DecodingError:
        raise SourceFailed(f"{host} sent a body whose compression is broken") from None
    except httpx.TransportError as error:
        raise SourceUnreachable(_in_words(host, error)) from None
    return Answer(response.status_code, response.headers, body)


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    declared = response.headers.get("content-length", "")
    size = int(declared) if declared.isascii() and declared.isdecimal() and len(declared) < 20 else 0  # noqa: PLR2004
    parts: list[bytes] = []
    if size <= most_bytes:
        size = 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > most_bytes:
                break
            parts.append(part)
    if size > most_bytes:
        raise AnswerTooLarge(f"{response.url.host} sent a body of more than {most_bytes:,} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _in_words(host: str, error: httpx.TransportError) -> str:
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return f"no connection to {host} ({tidy(str(error), '')})"
    # The text of the others is left out: it can quote what was received.
    if isinstance(error, httpx.ProtocolError):
        return f"the answer of {host} ended too early, or was no HTTP"
    return f"the connection to {host} broke"
