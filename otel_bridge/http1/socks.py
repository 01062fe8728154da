"""A way through a SOCKS5 proxy (RFC 1928). The proxy looks up names, for ``socks5h`` and ``socks5`` alike."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import httpx

from otel_bridge.errors import SettingsError

if TYPE_CHECKING:
    from otel_bridge.network.proxy import Proxy

SCHEMES: Final = frozenset({"socks5", "socks5h"})
_ADDRESS_BYTES: Final = {b"\x01": 4, b"\x04": 16}


def require_extra(proxy: Proxy) -> None:
    """See that the package for SOCKS is installed.

    Raises:
        SettingsError: It is not.
    """
    if find_spec("socksio") is None:
        raise SettingsError(
            f"{proxy.variable} in the environment names a SOCKS proxy, which takes one more package: "
            "pip install 'otel-bridge[socks]'"
        )


async def socket_through(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Connect to a proxy, and have it connect to a server. The caller owns the socket.

    Raises:
        httpx.ProxyError: The proxy says no, or is none.
        OSError: There is no connection to the proxy.
    """
    connected = await _connected(proxy.host, proxy.port)
    try:
        await _agreed(connected, proxy, host, port)
    except BaseException:
        connected.close()
        raise
    return connected


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failed: OSError = ConnectionError()
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)  # noqa: FBT003 - the name says what it takes
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            failed = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failed


async def _agreed(connected: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Say who asks, and for which server; the socket is the server's afterwards."""
    from socksio import ProtocolError, socks5  # noqa: PLC0415 - an extra

    loop = asyncio.get_running_loop()
    methods = [socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user:
        methods.append(socks5.SOCKS5AuthMethod.USERNAME_PASSWORD)
    try:
        await loop.sock_sendall(connected, socks5.SOCKS5AuthMethodsRequest(methods).dumps())
        method = socks5.SOCKS5AuthReply.loads(await _exactly(connected, 2)).method
        if method not in methods:
            raise httpx.ProxyError("the proxy asks for a user and password")
        if method is socks5.SOCKS5AuthMethod.USERNAME_PASSWORD:
            pair = socks5.SOCKS5UsernamePasswordRequest(proxy.user.encode(), proxy.password.encode())
            await loop.sock_sendall(connected, pair.dumps())
            if not socks5.SOCKS5UsernamePasswordReply.loads(await _exactly(connected, 2)).success:
                raise httpx.ProxyError("the proxy does not accept its user and password")
        wanted = socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, port))
        await loop.sock_sendall(connected, wanted.dumps())
        head = await _exactly(connected, 4)
        length = _ADDRESS_BYTES.get(head[3:]) or (await _exactly(connected, 1))[0]
        await _exactly(connected, length + 2)  # the proxy's own address and port
        code = socks5.SOCKS5ReplyCode(head[1:2])
    except (ProtocolError, OverflowError, ValueError):
        raise httpx.ProxyError("the proxy does not answer as a SOCKS5 proxy") from None
    if code is not socks5.SOCKS5ReplyCode.SUCCEEDED:
        raise httpx.ProxyError(f"the proxy opens no way: {code.name.lower().replace('_', ' ')}")


async def _exactly(connected: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    while len(got) < length:
        part = await loop.sock_recv(connected, length - len(got))
        if not part:
            raise httpx.ProxyError("the proxy hangs up")
        got += part
    return got
