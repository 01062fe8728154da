"""One HTTP/1.1 connection: however an answer comes in pieces, and whatever a server says instead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.http1.connection import Connection
from otel_bridge.http1.opening import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;note=1\r\n world\r\n0\r\nx-end: 1\r\n\r\n"
)
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + LENGTH
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nhello world"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world"


class Wire(asyncio.Transport):
    """The server's side as the connection sees it; hears, and says what a test wants."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written = b""
        self.reading = True
        self.aborted = False
        self.unsent = 0
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


async def answered(
    pieces: Sequence[bytes], *, closes: bool = False, error: Exception | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes, Connection]:
    """Status, headers and body of an answer that comes in pieces, perhaps with the connection's end."""
    connection = Connection()
    Wire(connection)

    async def say() -> None:
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
        if closes:
            connection.connection_lost(error)

    asking = asyncio.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n", None))
    await asyncio.sleep(0)
    saying = asyncio.create_task(say())
    try:
        status, headers = await asking
        body = b""
        while part := await connection.part():
            body += part
    finally:
        await saying
    return status, headers, body, connection


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, EARLY])
@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.integers(0, 200), max_size=8))
def test_an_answer_is_the_same_however_it_is_cut(answer: bytes, places: list[int]) -> None:
    status, headers, body, connection = asyncio.run(answered(cut(answer, places)))
    assert (status, body) == (200, b"hello world")
    assert len(headers) == 1
    assert connection.usable


@pytest.mark.parametrize("answer", [UNTIL_CLOSED, OLD])
async def test_what_closes_with_its_answer_is_read_and_not_used_again(answer: bytes) -> None:
    _, _, body, connection = await answered(cut(answer, [50]), closes=True)
    assert body == b"hello world"
    assert not connection.usable


async def test_no_content_is_an_answer_without_a_body() -> None:
    status, _, body, connection = await answered([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert (status, body, connection.usable) == (204, b"", True)


@pytest.mark.parametrize("answer", [LENGTH[:-1], CHUNKED[:-2], LENGTH[:9], b""])
async def test_an_end_that_comes_too_early_is_an_error(answer: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="before the whole answer"):
        await answered([answer] if answer else [], closes=True)


async def test_a_broken_connection_is_a_read_error() -> None:
    with pytest.raises(httpx.ReadError, match="reset"):
        await answered([LENGTH[:-1]], closes=True, error=ConnectionResetError("reset"))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_an_error_at_once(answer: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="no HTTP"):
        await answered([answer])


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 40_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"x: a\r\n" * 40_000,
    ],
)
async def test_headers_and_trailers_without_end_are_an_error(endless: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="too large"):
        await answered(cut(endless, list(range(0, 250_000, 50_000))))


async def test_a_body_in_chunks_of_one_byte_is_read() -> None:
    chunks = b"1\r\na\r\n" * 50_000
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    _, _, body, _ = await answered([answer])
    assert len(body) == 50_000


async def test_more_than_was_asked_for_spoils_a_connection() -> None:
    _, _, body, connection = await answered([LENGTH + LENGTH])
    assert body == b"hello world"
    assert not connection.usable


async def test_a_server_that_speaks_unasked_is_hung_up_on() -> None:
    connection = Connection()
    wire = Wire(connection)
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert wire.aborted
    assert not connection.usable


async def test_a_closed_connection_can_not_be_asked() -> None:
    connection = Connection()
    Wire(connection)
    connection.connection_lost(None)
    with pytest.raises(httpx.WriteError):
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n", None)


async def test_a_body_that_nobody_reads_holds_the_server_up() -> None:
    connection = Connection()
    wire = Wire(connection)
    asking = asyncio.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n", None))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n")
    await asking
    connection.data_received(b"x" * 300_000)
    assert not wire.reading
    assert len(await connection.part()) == 300_000
    assert wire.reading
    connection.data_received(b"x" * 100_000)
    assert len(await connection.part()) == 100_000
    assert await connection.part() == b""
    assert connection.usable


async def test_a_body_left_unread_in_whole_leaves_a_usable_connection() -> None:
    connection = Connection()
    wire = Wire(connection)
    asking = asyncio.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n", None))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000)
    await asking
    connection.put_by()
    assert wire.reading
    assert connection.usable


async def test_a_connection_whose_request_was_answered_before_it_was_sent_is_not_used_again() -> None:
    connection = Connection()
    wire = Wire(connection)
    wire.unsent = 1_000_000
    asking = asyncio.create_task(connection.ask(b"POST / HTTP/1.1\r\n\r\n", None))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n")
    assert (await asking)[0] == 413
    assert connection.reason == b"Too much"
    assert not connection.usable
    wire.unsent = 0
    assert connection.usable


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ((111, 99), "connection refused"),
        ((101, 111), "connection refused"),
        ((97,), "address family not supported by protocol"),
        ((111, 113), "connection refused and no route to host"),
    ],
)
async def test_of_a_name_with_several_addresses_it_is_told_once_why_none_answers(
    numbers: Sequence[int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio words it; a container's localhost is ::1 too, where it has no IPv6."""
    failures = ", ".join(f"[Errno {number}] Connect call failed ('::1', 4318)" for number in numbers)

    async def nowhere(*_: object, **__: object) -> None:
        raise OSError(f"Multiple exceptions: {failures}")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", nowhere)
    with pytest.raises(httpx.ConnectError, match=f"^{why}$"):
        await connect("localhost", 4318, None, 1.0)
