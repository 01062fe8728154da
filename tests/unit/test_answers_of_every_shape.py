"""Whatever a server answers, the source's client and a destination's sender make one line of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from otel_bridge.errors import DestinationError, SourceError
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.exporter.sender import Accepted
from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NO_BODY = b"content-length: 0\r\n\r\n"
JSON = b"content-type: application/json\r\ncontent-length: 2\r\n\r\n"
TAKEN = {
    "nothing": b"HTTP/1.1 200 OK\r\n" + NO_BODY,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "an empty object": b"HTTP/1.1 200 OK\r\n" + JSON + b"{}",
    "100 before it": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + NO_BODY,
    "103 before it": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n" + NO_BODY,
    "no reason": b"HTTP/1.1 200\r\n" + NO_BODY,
    "a packing of nothing": b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n" + NO_BODY,
}
"""What a destination may say; none of it is a list of logs."""

SHAPES = {
    "a page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    "a list": b"HTTP/1.1 200 OK\r\n" + JSON + b"[]",
    "no such coding": b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nab",
    "broken gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd",
    "cut off gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\n\x1f",
    "403 in no such coding": b"HTTP/1.1 403 No\r\ncontent-encoding: zstd\r\ncontent-length: 2\r\n\r\nab",
    "a redirect": b"HTTP/1.1 301 Moved\r\nlocation: https://else.example/?key=hunter2\r\n" + NO_BODY,
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\n" + NO_BODY,
    "a redirect that can't be read": b"HTTP/1.1 307 Moved\r\nlocation: http://[::1\r\n" + NO_BODY,
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "999": b"HTTP/1.1 999 What\r\n" + NO_BODY,
    "a reason in no charset": b"HTTP/1.1 503 \xff\xfe\r\n" + NO_BODY,
    "a wait of no number": b"HTTP/1.1 503 x\r\nretry-after: nan\r\n" + NO_BODY,
    "a wait beyond all time": b"HTTP/1.1 503 x\r\nretry-after: Fri, 31 Dec 9999 23:59:59 -0000\r\n" + NO_BODY,
    "a wait before all time": b"HTTP/1.1 503 x\r\nretry-after: Mon, 01 Jan 0001 00:00:00 -0000\r\n" + NO_BODY,
    "chunks of nonsense": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nab\r\n0\r\n\r\n",
    "a chunk too short": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "a length beyond all": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nab",
    "large headers": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000 + b"\r\n" + NO_BODY,
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "no HTTP": b"hello",
    "not a byte": b"",
    "a deep JSON": b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n"
    + b"[" * 9000,
    "a broken protobuf": b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"
    b"content-length: 1\r\n\r\n\xff",
}


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def sent(url: str) -> object:
    """What a destination's sender makes of it: an answer, or its error."""
    sender = HttpSender(Destination(Signal.TRACES, Protocol.HTTP, f"{url}/v1/traces", timeout_ms=3000))
    try:
        return await sender.send(b"")
    except DestinationError as error:
        return error
    finally:
        await sender.aclose()


async def listed(url: str) -> SourceError:
    """The error of the source's client."""
    clock = SystemClock()
    client = LogsClient(
        base_url=url,
        api_key=SecretStr("ak_hunter2"),
        budget=Budget(1, clock),
        clock=clock,
        timeout_s=3,
        backoff=Backoff(attempts=1),
    )
    async with client:
        with pytest.raises(SourceError) as failed:
            await client.list_page(from_ms=1, to_ms=2)
    return failed.value


@pytest.mark.parametrize("name", [*SHAPES, *TAKEN])
async def test_an_answer_that_is_none_is_one_line_on_either_side(name: str) -> None:
    async with answering((SHAPES | TAKEN)[name]) as url:
        taken, error = await sent(url), await listed(url)
    assert isinstance(taken, Accepted) == (name in TAKEN)
    for line in (str(error), str(getattr(taken, "message", taken))):
        assert line.isprintable()
        assert len(line) < 600
        assert "hunter2" not in line


async def test_a_status_counts_where_its_body_can_not_be_read() -> None:
    async with answering(SHAPES["403 in no such coding"]) as url:
        assert "403" in str(await sent(url))
        assert "answered with 403" in str(await listed(url))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no such coding", "packed in a way that was not asked for"),
        ("broken gzip", "a body whose compression is broken"),
        ("cut off gzip", "a body that is cut off"),
    ],
)
async def test_both_sides_say_the_same_of_a_body(name: str, words: str) -> None:
    async with answering(SHAPES[name]) as url:
        assert words in str(await sent(url))
        assert words in str(await listed(url))
