"""uvicorn's HTTP protocol with bounds on what one client can hold: connections, bytes of headers, time.

uvicorn bounds none of these for httptools: a client that sends a byte now and then, or never reads its
answer, would keep its connection for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otel_bridge.web.guard import HEADERS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MOST_CONNECTIONS: Final = 64
"""More are closed unread."""
MOST_HEADER_BYTES: Final = 16_384
"""Of one request: its target, and its headers' names and values."""
MOST_HEADERS: Final = 64
REQUEST_S: Final = 10.0
"""In which a request must arrive, from the connection or from its first byte."""
READ_S: Final = 10.0
"""In which a client must go on reading an answer."""


_WHY: Final = b'{"error": "the request can\'t be read as HTTP"}'
_UNREADABLE: Final = b"\r\n".join(
    [
        b"HTTP/1.1 400 Bad Request",
        *(f"{name}: {value}".encode() for name, value in HEADERS.items()),
        b"content-type: application/json",
        b"content-length: %d" % len(_WHY),
        b"connection: close",
        b"",
        _WHY,
    ]
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _header_bytes = 0
    _arriving: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._arriving = self._later(REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._arrived()
        self._forget_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        cycle: RequestResponseCycle | None = self.cycle
        busy = cycle is not None and not cycle.response_complete
        # Line ends before a request are no message's beginning, and still they must not keep a connection.
        if self._arriving is None and not busy:
            self._arriving = self._later(REQUEST_S)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._count(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            raise ValueError("too many headers")

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._arrived()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._unread = self._unread or self._later(READ_S)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._forget_unread()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """It has asked for nothing more."""
        # Not close(): that waits until the client has read what there still is.
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what can't be read, with the headers that all other answers have, and none of its words."""
        del msg
        self.transport.write(_UNREADABLE)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MOST_HEADER_BYTES:
            # httptools turns it into its own error, and uvicorn that into an answer of 400.
            raise ValueError("too large")

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        abort: Callable[[], None] = self.transport.abort
        return self.loop.call_later(seconds, abort)

    def _arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
