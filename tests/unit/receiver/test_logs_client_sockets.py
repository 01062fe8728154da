"""The client against a real server that misbehaves below HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from otel_bridge.errors import SourceUnreachable
from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff
from otel_bridge.times import SystemClock

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"id":"log_1"}'


@contextlib.asynccontextmanager
async def serving(*handlers: Handler) -> AsyncIterator[str]:
    """A server whose n-th connection is for the n-th handler, and all further ones for the last."""
    left = list(handlers)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = left.pop(0) if len(left) > 1 else left[0]
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def good(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD)
    await writer.drain()


async def dripping_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def dripping_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Drip: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def truncated_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-5])
    await writer.drain()


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:30])
    await writer.drain()
    writer.transport.abort()


async def no_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-secret\r\n\r\n")
    await writer.drain()


def client_of(url: str, *, timeout_s: float = 5.0, attempts: int = 1) -> LogsClient:
    clock = SystemClock()
    return LogsClient(
        base_url=url,
        api_key=SecretStr("ak_x"),
        budget=Budget(0.5, clock),
        clock=clock,
        timeout_s=timeout_s,
        backoff=Backoff(first_s=0.01, attempts=attempts),
    )


@pytest.mark.parametrize("handler", [dripping_body, dripping_headers, silence])
async def test_an_answer_that_never_ends_is_cut_at_the_deadline(handler: Handler) -> None:
    async with serving(handler) as url, client_of(url, timeout_s=0.3) as client:
        began_s = time.monotonic()
        with pytest.raises(SourceUnreachable, match=r"no whole answer from 127\.0\.0\.1:\d+ within 300 ms"):
            await client.detail("log_1")
        assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("handler", [truncated_body, reset, no_http])
async def test_a_broken_connection_is_said_without_what_was_received(handler: Handler) -> None:
    async with serving(handler) as url, client_of(url) as client:
        with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1") as caught:
            await client.detail("log_1")
    assert "secret" not in str(caught.value)


async def test_nobody_there_is_said() -> None:
    async with serving(good) as url:
        pass
    async with client_of(url) as client:
        with pytest.raises(SourceUnreachable, match=r"no connection to 127\.0\.0\.1"):
            await client.detail("log_1")


async def test_after_all_of_that_the_next_try_succeeds() -> None:
    handlers = [dripping_body, truncated_body, reset, silence, good]
    async with serving(*handlers) as url, client_of(url, timeout_s=0.3, attempts=9) as client:
        assert (await client.detail("log_1")).id == "log_1"


async def test_a_cancelled_request_leaves_the_client_and_its_budget_usable() -> None:
    async with serving(silence, good) as url, client_of(url) as client:
        asking = asyncio.create_task(client.detail("log_1"))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert client._channel._budget._in_flight == 0
        assert (await client.detail("log_1")).id == "log_1"
