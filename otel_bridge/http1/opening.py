"""How a connection is opened: to the server itself, or through a proxy."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from otel_bridge.http1 import socks
from otel_bridge.http1.connection import Connection

if TYPE_CHECKING:
    from otel_bridge.network.proxy import Proxy

_ATTEMPT_DELAY_S: Final = 0.25
"""How long one address of a host may take before the next is tried beside it (RFC 8305, section 5)."""
_TUNNEL_OPEN: Final = 2
_NO_WAY_OUT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH}
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Way:
    """A proxy that connections lead through.

    Attributes:
        proxy: Which one.
        tls: How the proxy itself is verified; None where it is spoken to in clear text.
    """

    proxy: Proxy
    tls: ssl.SSLContext | None = None


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None, timeout_s: float | None, way: Way | None = None
) -> Connection:
    """Open a connection.

    Args:
        host: A name, or an address without brackets.
        port: 1 to 65,535.
        tls: How the server is verified; None for clear text.
        timeout_s: Seconds for all of it; None for no bound.
        way: The proxy that it leads through; None for none. An HTTP proxy is asked for a tunnel with ``tls``;
            without it the connection is one to the proxy itself.

    Raises:
        httpx.ConnectTimeout: It took longer.
        httpx.ConnectError: There is none to be had.
        httpx.ProxyError: The proxy opens no tunnel.
    """
    try:
        async with asyncio.timeout(timeout_s):
            if way is None:
                return await _open(host, port, tls)
            if way.proxy.scheme in socks.SCHEMES:
                return await _open_on(await socks.socket_through(way.proxy, host, port), tls, host)
            connection = await _open(way.proxy.host, way.proxy.port, way.tls)
            if tls is None:
                return connection
            try:
                return await _tunnel(connection, host, port, tls, way.proxy)
            except BaseException:
                connection.abort()
                raise
    except TimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(_why(error)) from error


async def _open(host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection,
        host,
        port,
        ssl=tls,
        server_hostname=host if tls else None,
        happy_eyeballs_delay=_ATTEMPT_DELAY_S,
    )
    return connection


async def _open_on(connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> Connection:
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, sock=connected, ssl=tls, server_hostname=host if tls else None
        )
    except BaseException:
        connected.close()
        raise
    return connection


async def _tunnel(
    connection: Connection, host: str, port: int, tls: ssl.SSLContext, proxy: Proxy
) -> Connection:
    """Ask the proxy at the end of a connection for a tunnel; the connection to the server behind it."""
    to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {to} HTTP/1.1", f"host: {to}"]
    if proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    try:
        status, _ = await connection.ask(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"), None)
    except httpx.TransportError:
        raise httpx.ProxyError("the proxy did not answer, or not with HTTP") from None
    if status // 100 != _TUNNEL_OPEN:
        reason = connection.reason.decode("ascii", "replace")
        raise httpx.ProxyError(f"the proxy opens no tunnel ({f'{status} {reason}'.rstrip()})")
    return await connection.secured(tls, host)


def _why(error: Exception) -> str:
    """Why there is no connection, in the system's words without asyncio's: "connection refused"."""
    plain = isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror))
    number = error.errno if isinstance(error, OSError) and plain else None
    if number:
        return os.strerror(number).lower()
    if isinstance(error, socket.gaierror):
        return (error.strerror or str(error)).lower()
    # Of a name with several addresses asyncio tells all failures, in one text.
    numbers = {int(number) for number in _ERRNO.findall(str(error))} if plain else set()
    # A kind of address that this machine has not says nothing of the server: a container often has no IPv6.
    numbers = (numbers - _NO_WAY_OUT) or numbers
    reasons = [os.strerror(number).lower() for number in sorted(numbers)]
    return " and ".join(reasons) if reasons else str(error)
