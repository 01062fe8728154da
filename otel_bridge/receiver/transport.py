"""httpx over httpcore's own connections, with a free list in place of httpcore's pool.

The pool walks all its connections for every request and each answer, and that is where httpx spends most of
its time (measured: ``tests/bench``). Connections, TLS and HTTP/1.1 stay httpcore's, and httpx's interface
stays too. A proxy is left to httpx's own transport.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

_IDLE_S: Final = 30.0
# From the particular to the general: the first that fits names the error httpx would have raised.
_ERRORS: Final = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.TimeoutException, httpx.ReadTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.RemoteProtocolError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.ReadError),
    (httpcore.ConnectionNotAvailable, httpx.ReadError),
)


def proxied(base_url: str) -> bool:
    """Whether the environment sends requests to this address through a proxy."""
    url = httpx.URL(base_url)
    proxies = getproxies()
    return bool((proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(url.host))


class FreeListTransport(httpx.AsyncBaseTransport):
    """One connection a request in flight; idle ones are kept for the next, the latest used first.

    It sets no bound on connections: callers bound how many requests are in flight.

    Args:
        keep: The most idle connections that are kept.
        tls: How servers are verified; made on the first https request.
    """

    def __init__(self, keep: int, tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context) -> None:
        self._keep = keep
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[tuple[bytes, bytes, int], deque[httpcore.AsyncHTTPConnection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is read from its stream.

        Raises:
            httpx.TransportError: As httpx's own transport.
        """
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        origin = (url.raw_scheme, url.raw_host, port)
        connection = await self._taken(origin) or self._new(origin)
        try:
            answer = await connection.handle_async_request(
                httpcore.Request(
                    method=request.method.encode(),
                    url=httpcore.URL(scheme=origin[0], host=origin[1], port=port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException as error:
            await connection.aclose()
            raise _as_httpx(error, request) from error
        stream = _Body(answer, request, lambda: self._give_back(origin, connection))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close what is idle; what is in use closes when its answer does."""
        self._keep = 0
        for connections in self._idle.values():
            while connections:
                await connections.pop().aclose()

    def _new(self, origin: tuple[bytes, bytes, int]) -> httpcore.AsyncHTTPConnection:
        scheme, host, port = origin
        if scheme == b"https" and self._tls is None:
            self._tls = self._make_tls()
        return httpcore.AsyncHTTPConnection(
            httpcore.Origin(scheme, host, port), ssl_context=self._tls, keepalive_expiry=_IDLE_S
        )

    async def _taken(self, origin: tuple[bytes, bytes, int]) -> httpcore.AsyncHTTPConnection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def _give_back(
        self, origin: tuple[bytes, bytes, int], connection: httpcore.AsyncHTTPConnection
    ) -> None:
        idle = self._idle.setdefault(origin, deque())
        if connection.is_idle() and len(idle) < self._keep:
            idle.append(connection)
        else:
            await connection.aclose()


class _Body(httpx.AsyncByteStream):
    """An answer's body; its connection is given back when it is closed."""

    def __init__(
        self, answer: httpcore.Response, request: httpx.Request, give_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._answer = answer
        self._request = request
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: AsyncIterable[bytes] = self._answer.stream  # type: ignore[assignment]  # an async answer's
        try:
            async for part in parts:
                yield part
        except Exception as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            await self._give_back()


def _as_httpx(error: BaseException, request: httpx.Request) -> BaseException:
    """The error as httpx's own transport would have raised it; what is not httpcore's stays."""
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error), request=request)
    return error
