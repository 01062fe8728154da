"""httpx's interface over connections of our own, with a free list in place of a pool.

httpx spends most of its time in httpcore: its pool walks all connections for every request and each answer,
and below it every read and write passes several layers (measured: ``docs/performance.md``). Here are only
HTTP/1.1, TLS as httpx sets it up, and as many connections as requests in flight. A proxy is left to httpx's
own transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httpx

from otel_bridge.http1.connection import Connection, connect
from otel_bridge.network import trust

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

_IDLE_S: Final = 30.0
_FRESH_S: Final = 1.0
_Origin = tuple[str, str, int]


class FreeListTransport(httpx.AsyncBaseTransport):
    """One connection a request in flight; idle ones are kept for the next, the latest used first.

    It sets no bound on connections: callers bound how many requests are in flight. For asyncio, HTTP/1.1,
    requests whose body is at hand, and methods other than HEAD; of httpx's timeouts it knows ``connect`` and
    ``read``, of its request extensions ``target`` as well, which takes the place of the URL's path.

    Args:
        keep: The most idle connections that are kept.
        tls: How servers are verified; made on the first https request.
    """

    def __init__(self, keep: int, tls: Callable[[], ssl.SSLContext] = trust.context) -> None:
        self._keep = keep
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[_Origin, deque[Connection]] = {}
        # Of the last URL and the last headers, which nearly all requests share.
        self._origin: tuple[httpx.URL, _Origin] | None = None
        self._head: tuple[httpx.Headers, bytes] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is read from its stream.

        Raises:
            httpx.TransportError: As httpx's own transport.
        """
        wire = self._on_the_wire(request, await request.aread())
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        origin = self._origin_of(request.url)
        connection = await self._taken(origin) or await self._new(origin, timeout.get("connect"))
        try:
            status, headers = await connection.ask(wire, timeout.get("read"))
        except BaseException:
            connection.abort()
            raise
        stream = _Body(connection, self._idle.setdefault(origin, deque()), self._keep_one)
        extensions = _EXTENSIONS
        if connection.reason != b"OK":
            extensions = extensions | {"reason_phrase": connection.reason}
        return httpx.Response(status, headers=headers, stream=stream, extensions=extensions)

    def _origin_of(self, url: httpx.URL) -> _Origin:
        known = self._origin
        if known is None or known[0] is not url:
            scheme = url.scheme
            if scheme not in {"http", "https"}:
                raise httpx.UnsupportedProtocol("the address takes http:// or https://")
            port = url.port or (443 if scheme == "https" else 80)
            known = self._origin = (url, (scheme, url.raw_host.decode("ascii"), port))
        return known[1]

    def _on_the_wire(self, request: httpx.Request, body: bytes) -> bytes:
        """A request as bytes.

        Raises:
            httpx.LocalProtocolError: A header holds a line break.
        """
        target: bytes | None = request.extensions.get("target")
        if target is None:
            return b"%b%b" % (_line(request.method, request.url.raw_path), _head(request.headers) + body)
        # Whoever names targets sends the same headers again and again, and changes none of them.
        known = self._head
        if known is None or known[0] is not request.headers:
            known = self._head = (request.headers, _head(request.headers))
        return b"%b%b%b" % (_line(request.method, target), known[1], body)

    async def aclose(self) -> None:
        """Close what is idle; what is in use closes when its answer does."""
        self._keep = 0
        for connections in self._idle.values():
            while connections:
                connections.pop().abort()
        await asyncio.sleep(0)  # sockets are closed by the loop

    async def _new(self, origin: _Origin, timeout_s: float | None) -> Connection:
        scheme, host, port = origin
        if scheme == "http":
            return await connect(host, port, None, timeout_s)
        if self._tls is None:
            self._tls = self._make_tls()
            self._tls.set_alpn_protocols(["http/1.1"])
        return await connect(host, port, self._tls, timeout_s)

    async def _taken(self, origin: _Origin) -> Connection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            idle_s = asyncio.get_running_loop().time() - connection.idle_since_s
            if idle_s > _FRESH_S:
                # The server may have closed it in the very moment that woke us: one turn of the loop for
                # its socket to be found readable, and one for what is read to be heard.
                try:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                except BaseException:
                    connection.abort()  # nobody else knows of it
                    raise
            if connection.usable and idle_s < _IDLE_S:
                return connection
            connection.abort()
        return None

    def _keep_one(self, connection: Connection, idle: deque[Connection]) -> None:
        if connection.usable and len(idle) < self._keep:
            connection.put_by()
            idle.append(connection)
        else:
            connection.abort()


class _Body(httpx.AsyncByteStream):
    """An answer's body; its connection is put by when it is closed."""

    __slots__ = ("_connection", "_idle", "_keep_one")

    def __init__(
        self,
        connection: Connection,
        idle: deque[Connection],
        keep_one: Callable[[Connection, deque[Connection]], None],
    ) -> None:
        self._connection: Connection | None = connection
        self._idle = idle
        self._keep_one = keep_one

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection is not None and (part := await self._connection.part()):
            yield part

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._keep_one(connection, self._idle)


_EXTENSIONS: Final[dict[str, Any]] = {"http_version": b"HTTP/1.1"}


def _line(method: str, target: bytes) -> bytes:
    """The first line of a request."""
    if b"\n" in target or b"\r" in target:
        raise httpx.LocalProtocolError("the target holds a line break")
    return b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target)


def _head(headers: httpx.Headers) -> bytes:
    """Headers as lines, and the empty one after them."""
    lines = [b"%b: %b" % header for header in headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") >= max(len(lines), 1) or head.count(b"\r") >= max(len(lines), 1):
        raise httpx.LocalProtocolError("a header holds a line break")
    return head + b"\r\n\r\n"
