"""One HTTP/1.1 connection: asyncio's transport on one side, httptools' parser on the other.

Between them stands no task, no lock and no stream: bytes are parsed where they arrive, and whoever asked is
woken when there is something for them. The parser is llhttp, Node's own, in its strict form.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final, cast

import httptools
import httpx

if TYPE_CHECKING:
    import ssl

_HELD_BYTES: Final = 256 * 1024
"""So much of a body waits for its reader; with more of it the server is not read from."""
_FRAME_BYTES: Final = 100 * 1024
"""Bytes beside the body, such as headers, that an answer may have; bodies in small pieces may have more."""
_FRAME_PER_BODY_BYTE: Final = 16
_AT_ONCE_BYTES: Final = 64 * 1024
"""What asyncio buffers for a socket before it asks for a pause."""
_FINAL: Final = 200


def _what_it_is(data: bytes) -> str:
    """What an answer is that can't be parsed, as far as its first bytes tell."""
    if data[:2] == b"\x15\x03":
        return "the answer is a TLS alert, no HTTP/1.1"
    # Nine bytes before each frame: its length, its type (SETTINGS or GOAWAY come first), and stream 0.
    if data[:1] == b"\0" and data[3:4] in {b"\x04", b"\x07"} and data[5:9] == bytes(4):
        return "the answer is HTTP/2, no HTTP/1.1"
    return "the answer is no HTTP/1.1"


class Connection(asyncio.Protocol):
    """Asks one thing at a time. What is not said here of its use is an error of the caller.

    Attributes:
        since_s: When it was opened, on the loop's clock.
        idle_since_s: When it was put by, on the loop's clock; for its owner.
        heard: Whether any byte of the answer has come.
        reason: The words after the answer's status.
    """

    def __init__(self) -> None:
        self.since_s = 0.0
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._read_s: float | None = None
        self._closed = False
        self._spoilt = False  # it has said what nobody asked for
        self._done = True
        self._begin()

    def _begin(self) -> None:
        self._failure: httpx.TransportError | None = None
        self.heard = False
        self._status = 0
        self.reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._headed = False
        self._parts: list[bytes] = []
        self._held = 0
        self._body_bytes = 0
        self._frame_bytes = 0
        self._keep = False
        self._paused = False

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────
    async def ask(self, request: bytes, read_s: float | None) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a request; the status and the headers of its answer.

        Args:
            request: Head and body, as they go over the wire.
            read_s: The most seconds between two pieces of the answer; None for no bound.

        Raises:
            httpx.TransportError: There is no answer, or no HTTP.
        """
        self._begin()
        self._done = False
        self._read_s = read_s
        if self._transport is None or self._closed:
            raise httpx.WriteError("the connection is closed")
        if len(request) <= _AT_ONCE_BYTES:
            self._transport.write(request)
        else:
            # Over TLS asyncio tells only of what waits until the socket takes more, and all of the first
            # write goes to the socket's own buffer. What comes after it waits, and is told of.
            whole = memoryview(request)
            self._transport.write(whole[:-1])
            self._transport.write(whole[-1:])
        while not self._headed:
            await self._more()
        return self._status, self._headers

    async def secured(self, tls: ssl.SSLContext, host: str) -> Connection:
        """The connection to what answers at the other end of a tunnel, whose name is verified.

        Raises:
            OSError: It is not whom it should be, or hangs up.
        """
        inner = Connection()
        transport = None
        if self._transport is not None:
            loop = asyncio.get_running_loop()
            transport = await loop.start_tls(self._transport, inner, tls, server_hostname=host)
        if transport is None:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        inner.connection_made(transport)
        return inner

    async def part(self) -> bytes:
        """What has come of the body since the last part; empty at its end.

        Raises:
            httpx.TransportError: It broke, or ended too early.
        """
        while not self._parts:
            if self._done:
                return b""
            await self._more()
        parts, self._parts, self._held = self._parts, [], 0
        if self._paused:
            self._read_on()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            if self._read_s is None:
                await self._waiter
            else:
                async with asyncio.timeout(self._read_s):
                    await self._waiter
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time") from None
        finally:
            self._waiter = None

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size():
            return False  # answered before the whole request was there, such as one that is too large
        return self._done and self._keep and not self._spoilt and not self._closed

    def put_by(self) -> None:
        """Let go of the last answer, and see what the server does while nobody asks it."""
        self._parts = []
        self.idle_since_s = asyncio.get_running_loop().time()
        if self._paused:
            self._read_on()

    def abort(self) -> None:
        """Close it at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    # ── what asyncio calls ───────────────────────────────────────────────────────────────────────────
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.since_s = asyncio.get_running_loop().time()
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._done:
            self._spoilt = True
            self.abort()
            return
        self.heard = True
        self._frame_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._spoilt = True
            self._fail(httpx.RemoteProtocolError(_what_it_is(data)))
        if self._frame_bytes > _FRAME_BYTES + _FRAME_PER_BODY_BYTE * self._body_bytes:
            self._spoilt = True
            self._fail(httpx.RemoteProtocolError("the answer's headers are too large"))
        if self._held > _HELD_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._closed = True
        if exc is not None:
            self._fail(httpx.ReadError(str(exc)))
        elif self._headed and not self._keep and not self._has_length():
            self._done = True  # a body that ends with its connection (RFC 9112, section 6.3)
        else:
            self._fail(httpx.RemoteProtocolError("the connection closed before the whole answer"))
        self._transport = None
        self._wake()

    # ── what the parser calls ────────────────────────────────────────────────────────────────────────
    def on_message_begin(self) -> None:
        """An answer begins: the awaited one, or after it one that nobody asked for."""
        self._spoilt |= self._done

    def on_status(self, reason: bytes) -> None:
        """The words after the status, or a part of them."""
        if not self._headed:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which says nothing here."""
        if not self._headed:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """All headers are there."""
        if self._done:
            return
        status = self._parser.get_status_code()
        if status < _FINAL:
            self._headers, self.reason = [], b""
            return
        self._status, self._headed = status, True
        self._keep = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._done:
            self._parts.append(body)
            self._held += len(body)
            self._body_bytes += len(body)
            self._frame_bytes -= len(body)

    def on_message_complete(self) -> None:
        """The answer has ended, if it is not one before the answer, such as 100 Continue."""
        self._done |= self._headed

    # ── ──────────────────────────────────────────────────────────────────────────────────────────────
    def _has_length(self) -> bool:
        return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self._headers)

    def _fail(self, error: httpx.TransportError) -> None:
        if not self._done and self._failure is None:
            self._failure = error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _read_on(self) -> None:
        self._paused = False
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self._transport.resume_reading()
