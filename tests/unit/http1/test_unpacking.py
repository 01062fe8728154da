"""A packed body comes in small pieces: what a server has packed is counted before it fills the memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.http1.unpacking import unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

MB = 1 << 20
PIECE_BYTES = 256 * 1024


class Parts(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def answer(coding: str, *parts: bytes) -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": coding}, stream=Parts(parts))


async def read(coding: str, *parts: bytes) -> bytes:
    return b"".join([piece async for piece in unpacked(answer(coding, *parts))])


def bare(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(body) + packing.flush()


def as_it_is(body: bytes) -> bytes:
    return body


PACKINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-GZip", gzip.compress),
    ("identity, gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("identity", as_it_is),
    ("utf-8", as_it_is),  # some servers say so, and mean the charset
    ("", as_it_is),
]


@pytest.mark.parametrize(("coding", "pack"), PACKINGS)
@given(body=st.binary(max_size=3_000), times=st.sampled_from([1, 300]), place=st.floats(0, 1))
async def test_what_was_packed_comes_out_however_it_is_cut(
    coding: str, pack: Callable[[bytes], bytes], body: bytes, times: int, place: float
) -> None:
    packed = pack(body * times)
    cut = round(place * len(packed))
    assert await read(coding, packed[:cut], packed[cut:]) == body * times


async def test_a_bomb_goes_off_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(64 * MB))
    tracemalloc.start()
    try:
        async for piece in unpacked(answer("gzip", bomb)):
            assert len(piece) <= PIECE_BYTES
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MB


async def test_what_follows_the_end_is_not_kept() -> None:
    tracemalloc.start()
    try:
        assert await read("gzip", gzip.compress(b"all"), *[bytes(MB)] * 16) == b"all"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MB


async def test_what_is_packed_more_than_once_is_not_unpacked() -> None:
    with pytest.raises(httpx.DecodingError):
        await read("gzip, gzip", gzip.compress(gzip.compress(bytes(MB))))


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", b"no gzip"), ("deflate", b"\xff\xff"), ("gzip", zlib.compress(b"x"))]
)
async def test_what_is_broken_is_httpx_s_own_error(coding: str, body: bytes) -> None:
    with pytest.raises(httpx.DecodingError):
        await read(coding, body)


@pytest.mark.parametrize("coding", ["br", "zstd", "Compress", "utf-8, br"])
async def test_what_was_not_asked_for_is_said_where_there_is_a_body(coding: str) -> None:
    with pytest.raises(httpx.DecodingError, match="not asked for"):
        await read(coding, b"packed")
    assert await read(coding) == b""


@pytest.mark.parametrize(("coding", "pack"), [("deflate", zlib.compress), ("gzip", gzip.compress)])
async def test_what_is_cut_off_is_an_error(coding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"all of it" * 40)
    for length in (1, 2, len(packed) // 2, len(packed) - 1):
        with pytest.raises(httpx.DecodingError):
            await read(coding, packed[:length])
    assert await read(coding) == b""


@pytest.mark.parametrize(("coding", "pack"), [("deflate", zlib.compress), ("gzip", gzip.compress)])
async def test_what_does_not_add_up_at_its_end_is_an_error(
    coding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(bytes(range(256)) * 40)
    with pytest.raises(httpx.DecodingError):
        await read(coding, packed[:60], packed[60:-4] + b"\xff" * 4)
