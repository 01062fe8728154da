"""httpx's interface over connections of our own, with a free list in place of a pool.

httpx spends most of its time in httpcore: its pool walks all connections for every request and each answer,
and below it every read and write passes several layers (measured: ``docs/performance.md``). Here are only
HTTP/1.1, TLS, proxies, and as many connections as requests in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from otel_bridge.http1 import socks
from otel_bridge.http1.opening import Way, connect
from otel_bridge.network import trust
from otel_bridge.network.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from otel_bridge.http1.connection import Connection

_IDLE_S: Final = 30.0
_FRESH_S: Final = 1.0
_Origin = tuple[str, str, int]


def transport_to(
    url: str, keep: int, tls: Callable[[], ssl.SSLContext] | None = None, *, age_s: float | None = None
) -> FreeListTransport:
    """What carries requests to an address, directly or through the proxy that the environment names.

    Args:
        url: The address.
        keep: As for `FreeListTransport`, as are ``tls`` and ``age_s``.
        tls: See above.
        age_s: See above.

    Raises:
        SettingsError: The environment names a proxy or authorities that can't be used.
    """
    proxy = proxy_for(url)
    tls = tls or trust.Authorities()
    if httpx.URL(url).scheme == "https":
        tls()  # what can't be used is told of before anything is sent
    if proxy is not None and proxy.scheme in socks.SCHEMES:
        socks.require_extra(proxy)
    return FreeListTransport(keep, tls, age_s=age_s, proxy=proxy)


class FreeListTransport(httpx.AsyncBaseTransport):
    """One connection a request in flight; idle ones are kept for the next, the latest used first.

    It sets no bound on connections: callers bound how many requests are in flight. For asyncio, HTTP/1.1,
    requests whose body is at hand, and methods other than HEAD; of httpx's timeouts it knows ``connect`` and
    ``read``, of its request extensions ``target`` as well, which takes the place of the URL's path.

    Requests must be safe to repeat. A server may close a connection in the moment in which a request is sent
    on it. So a request that fails on a connection that was used before, with no byte of an answer, is sent
    again on a new one; only how it fails there says something of the server. So is one that is answered with
    408, which some servers send before they close an idle connection (RFC 9110, section 15.5.9).

    Args:
        keep: The most idle connections that are kept.
        tls: How servers are verified: asked for each new connection, and the same object until it is renewed.
            By default as the environment says.
        age_s: For so many seconds a connection is used for new requests; None for no bound.
        proxy: What connections lead through; None for none.
    """

    def __init__(
        self,
        keep: int,
        tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        age_s: float | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._keep = keep
        self._verifying = tls or trust.Authorities()
        self._tls: ssl.SSLContext | None = None
        self._age_s = age_s
        self._proxy = proxy
        self._way: Way | None = None
        if proxy is not None:
            self._way = Way(proxy, trust.context() if proxy.scheme == "https" else None)
        self._idle: dict[_Origin, deque[Connection]] = {}
        # Of the last URL and the last headers, which nearly all requests share.
        self._origin: tuple[httpx.URL, _Origin] | None = None
        self._head: tuple[httpx.Headers, bytes] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is read from its stream.

        Raises:
            httpx.TransportError: As httpx's own transport.
        """
        origin = self._origin_of(request.url)
        wire = self._on_the_wire(request, await request.aread())
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        read_s = timeout.get("read")
        used_before = await self._taken(origin)
        if used_before is not None:
            try:
                response = await self._ask(used_before, origin, wire, read_s)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if used_before.heard:
                    raise
            else:
                if response.status_code != HTTPStatus.REQUEST_TIMEOUT:
                    return response
                await response.aclose()
        return await self._ask(await self._new(origin, timeout.get("connect")), origin, wire, read_s)

    async def _ask(
        self, connection: Connection, origin: _Origin, wire: bytes, read_s: float | None
    ) -> httpx.Response:
        idle = self._idle.setdefault(origin, deque())
        try:
            status, headers = await connection.ask(wire, read_s)
        except BaseException:
            connection.abort()
            if not connection.heard:
                # What closed or silenced this one has most likely done so to those that have waited longer.
                _abort_all(idle)
            raise
        stream = _Body(connection, idle, self._keep_one)
        extensions = _EXTENSIONS
        if connection.reason != b"OK":
            extensions = extensions | {"reason_phrase": connection.reason}
        response = httpx.Response(status, stream=stream, extensions=extensions)
        response.headers = _Received(headers)
        return response

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
            line = self._line(request, request.url.raw_path)
            return b"%b%b%b" % (line, _head(request.headers), body)
        # Whoever names targets sends the same headers again and again, and changes none of them.
        known = self._head
        if known is None or known[0] is not request.headers:
            known = self._head = (request.headers, _head(request.headers))
        return b"%b%b%b" % (self._line(request, target), known[1], body)

    def _line(self, request: httpx.Request, target: bytes) -> bytes:
        """The first line of a request, and what a proxy that passes it on wants to know."""
        if b"\n" in target or b"\r" in target:
            raise httpx.LocalProtocolError("the target holds a line break")
        url = request.url
        method = request.method.encode("ascii")
        if self._proxy is None or self._proxy.scheme in socks.SCHEMES or url.scheme != "http":
            return b"%b %b HTTP/1.1\r\n" % (method, target)
        line = b"%b http://%b%b HTTP/1.1\r\n" % (method, url.netloc, target)
        if self._proxy.authorization is None:
            return line
        return b"%bproxy-authorization: %b\r\n" % (line, self._proxy.authorization.encode("ascii"))

    async def aclose(self) -> None:
        """Close what is idle; what is in use closes when its answer does."""
        self._keep = 0
        for connections in self._idle.values():
            _abort_all(connections)
        await asyncio.sleep(0)  # sockets are closed by the loop

    async def _new(self, origin: _Origin, timeout_s: float | None) -> Connection:
        scheme, host, port = origin
        if scheme == "http":
            return await connect(host, port, None, timeout_s, self._way)
        tls = self._verifying()
        if tls is not self._tls:
            self._tls = tls
            tls.set_alpn_protocols(["http/1.1"])
        return await connect(host, port, tls, timeout_s, self._way)

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
            if connection.usable and idle_s < _IDLE_S and not self._is_old(connection):
                return connection
            connection.abort()
        return None

    def _is_old(self, connection: Connection) -> bool:
        return (
            self._age_s is not None and asyncio.get_running_loop().time() - connection.since_s >= self._age_s
        )

    def _keep_one(self, connection: Connection, idle: deque[Connection]) -> None:
        if connection.usable and len(idle) < self._keep and not self._is_old(connection):
            connection.put_by()
            idle.append(connection)
        else:
            connection.abort()


class _Received(httpx.Headers):
    """An answer's headers as they came. httpx's own form of them is made where one is asked for by name."""

    def __init__(self, received: list[tuple[bytes, bytes]]) -> None:
        # Not httpx's own: that makes its form at once, which of each answer's parts costs most.
        self._received = received
        self._encoding: str | None = None

    @cached_property
    def _list(self) -> list[tuple[bytes, bytes, bytes]]:  # type: ignore[override] # a plain attribute there
        return [(name, name.lower(), text) for name, text in self._received]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Names and values, as they came."""
        return super().raw if "_list" in self.__dict__ else self._received


class _Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        part = b"" if self._connection is None else await self._connection.part()
        if not part:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._keep_one(connection, self._idle)


_EXTENSIONS: Final[dict[str, Any]] = {"http_version": b"HTTP/1.1"}


def _abort_all(connections: deque[Connection]) -> None:
    while connections:
        connections.pop().abort()


def _head(headers: httpx.Headers) -> bytes:
    """Headers as lines, and the empty one after them."""
    lines = [b"%b: %b" % header for header in headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") >= max(len(lines), 1) or head.count(b"\r") >= max(len(lines), 1):
        raise httpx.LocalProtocolError("a header holds a line break")
    return head + b"\r\n\r\n"
