"""A body's content coding undone, in pieces of a bounded size whatever the server has packed into it.

httpx unpacks all that has come at once, and one coding after the other: 3 KB that were packed twice become
gigabytes before anybody can count them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

ACCEPTED: Final = "gzip, deflate"
"""What may be asked for."""

_PIECE_BYTES: Final = 256 * 1024
_KNOWN: Final = {"gzip", "x-gzip", "deflate"}
_NOT_ASKED_FOR: Final = {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}
_MARK_BYTES: Final = 2


async def unpacked(response: httpx.Response) -> AsyncIterator[bytes]:
    """The pieces of a body that is read from its stream. A coding that is none (``utf-8``) changes nothing.

    Raises:
        httpx.DecodingError: It is broken, cut off, packed twice or in a way that was not asked for. Its text
            continues "it sent".
        httpx.TransportError: As the stream.
    """
    named = response.headers.get("content-encoding", "").lower().split(",")
    codings = [each for each in map(str.strip, named) if each in _KNOWN | _NOT_ASKED_FOR]
    if len(codings) > 1:
        raise httpx.DecodingError("a body that is packed more than once")
    parts: AsyncIterable[bytes] = cast("httpx.AsyncByteStream", response.stream)
    if codings and codings[0] in _KNOWN:
        parts = _unpacked(parts, codings[0])
    async for piece in parts:
        if codings and codings[0] in _NOT_ASKED_FOR:
            raise httpx.DecodingError("a body that is packed in a way that was not asked for")
        yield piece


async def _unpacked(parts: AsyncIterable[bytes], coding: str) -> AsyncIterator[bytes]:
    unpacking = None
    left = b""
    async for part in parts:
        if unpacking is not None and unpacking.eof:
            continue  # zlib would keep what follows
        left += part
        if unpacking is None:
            if len(left) < _MARK_BYTES:
                continue
            unpacking = zlib.decompressobj(_window_bits(coding, left))
        while left:
            try:
                piece = unpacking.decompress(left, _PIECE_BYTES)
            except zlib.error as error:
                raise httpx.DecodingError("a body whose compression is broken") from error
            left = unpacking.unconsumed_tail
            if piece:
                yield piece
    if left or (unpacking is not None and not unpacking.eof):
        raise httpx.DecodingError("a body that is cut off")


def _window_bits(coding: str, start: bytes) -> int:
    if coding != "deflate":
        return zlib.MAX_WBITS | 16
    # Some servers send it bare, without the frame that the standard asks for (RFC 1950, section 2.2).
    framed = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:_MARK_BYTES], "big") % 31 == 0
    return zlib.MAX_WBITS if framed else -zlib.MAX_WBITS
