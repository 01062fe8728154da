"""The transport under httpx: connections are used again, broken ones never, and errors are httpx's own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from otel_bridge.receiver.transport import FreeListTransport, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Counts connections; answers each request with the next answer, the last one for ever."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers) or [OK]
        self.connections = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(server: Server, keep: int = 4) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    try:
        async with httpx.AsyncClient(transport=FreeListTransport(keep), timeout=5) as client:
            yield client, url
    finally:
        listener.close()


async def gone(server: Server) -> None:
    async with asyncio.timeout(5):
        while server.open:  # noqa: ASYNC110 - the server's side of a connection tells nobody
            await asyncio.sleep(0.01)


async def test_one_connection_serves_one_request_after_the_other() -> None:
    server = Server()
    async with serving(server) as (client, url):
        for _ in range(5):
            assert (await client.get(url)).text == "ok"
        assert server.connections == 1
    await gone(server)


async def test_requests_in_flight_have_a_connection_each_and_few_are_kept() -> None:
    server = Server()
    async with serving(server, keep=2) as (client, url):
        await asyncio.gather(*(client.get(url) for _ in range(6)))
        assert server.connections == 6
        await asyncio.sleep(0.05)
        assert server.open == 2


async def test_a_connection_the_server_closed_is_not_used_again() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", OK)
    async with serving(server) as (client, url):
        await client.get(url)
        await gone(server)
        assert (await client.get(url)).status_code == 200
        assert server.connections == 2


async def test_a_connection_that_closed_while_idle_is_noticed() -> None:
    server = Server(OK, None, OK)
    async with serving(server) as (client, url):
        await client.get(url)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
        assert (await client.get(url)).text == "ok"


async def test_a_body_left_unread_closes_its_connection() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    async with serving(server) as (client, url):
        async with client.stream("GET", url) as answer:
            assert answer.status_code == 200
        await gone(server)


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    async with serving(server) as (client, url):
        request = asyncio.create_task(client.get(url))
        await asyncio.sleep(0.05)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await gone(server)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, httpx.RemoteProtocolError),
        (b"SMTP ready\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf", httpx.RemoteProtocolError),
    ],
)
async def test_what_goes_wrong_is_httpx_s_own_error(answer: bytes | None, error: type[Exception]) -> None:
    async with serving(Server(answer)) as (client, url):
        with pytest.raises(error):
            await client.get(url)


async def test_timeouts_and_refusals_are_httpx_s_own_errors() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\n")
    async with serving(server) as (client, url):
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=0.05)
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:9/")


def test_a_proxy_of_the_environment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert not proxied("https://backend.composio.dev")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    assert proxied("https://backend.composio.dev")
    assert not proxied("http://127.0.0.1:8791")
    monkeypatch.setenv("no_proxy", "composio.dev")
    assert not proxied("https://backend.composio.dev")
