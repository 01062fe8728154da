"""One request and its whole answer, bounded in time and size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httpx

from otel_bridge.errors import AnswerTooLarge, SourceFailed, SourceUnreachable
from otel_bridge.http1.unpacking import unpacked
from otel_bridge.network.proxy import through_proxy
from otel_bridge.receiver.answers import Answer, tidy
from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
    Grow = Callable[[int], Awaitable[None]]
    """Counts bytes of a body that have come, and returns once there is room for more."""

_LENGTH_CHARACTERS = len("content-length")
_CODING_CHARACTERS = len("content-encoding")
_MOST_DIGITS = 20
FREE_BYTES: Final = 256_000
"""A body up to this size never waits for room."""


async def exchange(  # noqa: PLR0913 - one request and its bounds
    send: Send,
    request: httpx.Request,
    *,
    timeout_s: float,
    most_bytes: int,
    on_headers: Callable[[int, httpx.Headers], None],
    grow: Grow | None = None,
) -> Answer:
    """Send one request, once, and read its whole answer.

    Args:
        send: Sends it, and returns as soon as the headers are there.
        request: What is sent.
        timeout_s: Seconds for everything from connecting to the body's last byte. httpx's own timeouts hold
            for each read alone, so a body that drips for ever would pass them.
        most_bytes: The most bytes of body, decompressed, that are held.
        on_headers: Called with status and headers as soon as they are there.
        grow: Called for what a body has beyond ``FREE_BYTES``, part by part; while it waits, nothing more is
            read from the connection and the time does not count.

    Raises:
        SourceUnreachable: No connection, a broken one, or no whole answer in time.
        AnswerTooLarge: The body is beyond ``most_bytes``.
        SourceFailed: The body of a success can't be unpacked.
    """
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            response = await send(request)
            stream = cast("httpx.AsyncByteStream", response.stream)
            try:
                on_headers(response.status_code, response.headers)
                body = await _read(response, stream, most_bytes, grow and _paused(deadline, grow))
            except httpx.DecodingError:
                if response.is_success:
                    raise
                body = b""  # the status says enough
            finally:
                await stream.aclose()
    except _TooLong:
        raise AnswerTooLarge(f"{request.url.host} sent a body of more than {most_bytes:,} bytes") from None
    except TimeoutError:
        raise SourceUnreachable(
            f"no whole answer from {_way(request)} within {format_seconds(timeout_s)}"
        ) from None
    except httpx.TimeoutException:
        raise SourceUnreachable(f"no connection to {_way(request)} in time") from None
    except httpx.DecodingError as error:
        raise SourceFailed(f"{_host(request)} sent {error}") from None
    except httpx.TransportError as error:
        raise SourceUnreachable(_in_words(_way(request), error)) from None
    return Answer(response.status_code, response.headers, body)


class _TooLong(Exception):  # noqa: N818 - becomes an error with words
    """The body has more bytes than are held."""


def _paused(deadline: asyncio.Timeout, grow: Grow) -> Grow:
    """The same, with the deadline put off for as long as it waits."""

    async def grow_untimed(size: int) -> None:
        loop = asyncio.get_running_loop()
        when, began = deadline.when(), loop.time()
        deadline.reschedule(None)
        await grow(size)
        if when is not None:
            deadline.reschedule(when + loop.time() - began)

    return grow_untimed


async def _read(
    response: httpx.Response, stream: httpx.AsyncByteStream, most_bytes: int, grow: Grow | None
) -> bytes:
    coded = False
    # One pass over the raw pairs: each look-up by name costs a walk through all of them, for every answer.
    for name, value in response.headers.raw:
        if len(name) == _LENGTH_CHARACTERS and name.lower() == b"content-length":
            if value.isdigit() and len(value) < _MOST_DIGITS and int(value) > most_bytes:
                raise _TooLong
        elif len(name) == _CODING_CHARACTERS and name.lower() == b"content-encoding":
            coded = True
    source = unpacked(response) if coded else stream
    size = counted = 0
    parts: list[bytes] = []
    async for part in source:
        size += len(part)
        if size > most_bytes:
            raise _TooLong
        parts.append(part)
        if grow is not None and size > FREE_BYTES:
            await grow(size - counted)
            counted = size
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _host(request: httpx.Request) -> str:
    """Whom was asked: never the userinfo; the port, because a wrong one is what a person has to see."""
    return request.url.netloc.decode("ascii", "replace")


def _way(request: httpx.Request) -> str:
    """Whom was asked, and the proxy in between: it may be the one that does not answer."""
    return _host(request) + through_proxy(str(request.url))


def _in_words(host: str, error: httpx.TransportError) -> str:
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return f"no connection to {host} ({tidy(str(error), '')})"
    # The text of the others is left out: it can quote what was received.
    if isinstance(error, httpx.ProtocolError) and str(error).startswith("the answer is "):
        return f"no HTTP/1.1 from {host}: {error}"  # in the words of http1.connection
    if isinstance(error, httpx.ProtocolError):
        return f"the answer of {host} ended too early, or was no HTTP"
    return f"the connection to {host} broke"
