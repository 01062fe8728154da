"""What stands between the bridge and a server on a real network: load balancers, firewalls, proxies."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl


class Relay:
    """Passes bytes to a local port and back, one connection for each that is opened to it.

    Args:
        port: Where they go.
        tls: How it is spoken to; None for clear text.

    Attributes:
        port: Where it listens.
        opened: How many connections were opened.
        silent: Set to hold what is sent: nothing is refused, nothing arrives. It arrives once this is unset.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._to = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._forgotten: set[int] = set()
        self._cuts = 0
        self.port = 0
        self.opened = 0
        self.silent = False

    def forget(self) -> None:
        """Carry nothing more on the connections that are open, and close none of them; new ones work."""
        self._forgotten.update(range(1, self.opened + 1))

    def cut(self, times: int = 1) -> None:
        """Close a connection when the next bytes are sent on it, as if it had been closed a moment before."""
        self._cuts = times

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _target(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes] | None:
        """The port to pass a new connection on to, and what was read of it; None where it was answered."""
        del reader, writer
        return self._to, b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        number = self.opened
        try:
            target = await self._target(reader, writer)
            if target is None:
                writer.close()
                return
            port, first = target
            there, back = await asyncio.open_connection("127.0.0.1", port)
            back.write(first)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        for one, other, inwards in ((reader, back, True), (there, writer, False)):
            self._tasks.add(asyncio.create_task(self._pass(one, other, number, inwards=inwards)))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, inwards: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if inwards and self._cuts:
                    self._cuts -= 1
                    break
                if number in self._forgotten:
                    await asyncio.Event().wait()
                while self.silent:  # noqa: ASYNC110 - a test sets it
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # an end without a farewell is one as well
        finally:
            writer.close()


class TunnelProxy(Relay):
    """An HTTP proxy that opens tunnels (CONNECT) to local ports and passes other requests on.

    Args:
        port: Where requests without a tunnel go.
        refuses: The status that CONNECT is answered with in place of 200.
        tls: How it is spoken to; None for clear text.

    Attributes:
        heads: The first request of each connection, up to its empty line.
    """

    def __init__(self, port: int = 0, refuses: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls)
        self._refuses = refuses
        self.heads: list[str] = []

    async def _target(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes] | None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        method, target, _ = head.split(b" ", 2)
        if method != b"CONNECT":
            return self._to, head
        if self._refuses is not None:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self._refuses)
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return int(target.rpartition(b":")[2]), b""


class SocksProxy(Relay):
    """A SOCKS5 proxy (RFC 1928) that leads to local ports, whatever the host.

    Args:
        user: User and password that it asks for (RFC 1929); None where it asks for none.

    Attributes:
        asked: Host and port of each connection.
    """

    def __init__(self, user: tuple[str, str] | None = None) -> None:
        super().__init__(0)
        self._user = user
        self.asked: list[tuple[str, int]] = []

    async def _target(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes] | None:
        _, methods = await reader.readexactly(2)
        offered = await reader.readexactly(methods)
        method = 0 if self._user is None else 2
        if method not in offered:
            writer.write(b"\x05\xff")
            return None
        writer.write(bytes((5, method)))
        if self._user is not None:
            await reader.readexactly(1)
            given = [(await self._text(reader)).decode() for _ in range(2)]
            right = tuple(given) == self._user
            writer.write(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await self._text(reader)).decode()
        else:
            family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await reader.readexactly(length))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        return port, b""

    async def _text(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = await reader.readexactly(1)
        return await reader.readexactly(length)
