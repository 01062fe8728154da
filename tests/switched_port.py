"""A port behind which the server changes, as behind a service's address in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Switch:
    """Forwards connections on 127.0.0.1.

    Attributes:
        to: The port that new connections are forwarded to.
        port: Where it listens.
    """

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self._ends: set[asyncio.StreamWriter] = set()

    def turn(self, to: int) -> None:
        """Forward to another port from now on; the connections that there are break."""
        self.to = to
        for end in self._ends:
            end.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
        ends = {writer, there_writer}
        self._ends |= ends
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()


@asynccontextmanager
async def switched(to: int) -> AsyncIterator[Switch]:
    """Listen for as long as the block runs."""
    switch = Switch(to)
    server = await asyncio.start_server(switch.forward, "127.0.0.1", 0)
    switch.port = server.sockets[0].getsockname()[1]
    try:
        yield switch
    finally:
        server.close()
        switch.turn(to)
        await asyncio.sleep(0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
