"""The transport under httpx: connections are used again, broken ones never, and errors are httpx's own."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from certificates import make_certificates
from relays import Relay, TunnelProxy

from otel_bridge.http1.transport import FreeListTransport
from otel_bridge.network.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close the server's side, to its end: no test leaves a socket behind."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


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
            await closed(writer)
            self.open -= 1


@asynccontextmanager
async def serving(server: Server, keep: int = 4) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    try:
        async with httpx.AsyncClient(transport=FreeListTransport(keep), timeout=5) as client:
            yield client, url
        await gone(server)
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


async def test_an_answers_headers_are_httpxs_however_they_are_asked_for() -> None:
    received = [(b"X-Ratelimit", b"7"), (b"Via", b"a"), (b"via", b"b"), (b"content-length", b"2")]
    head = b"".join(b"%b: %b\r\n" % pair for pair in received)
    expected = httpx.Headers(received)
    async with serving(Server(b"HTTP/1.1 200 OK\r\n%b\r\nok" % head)) as (client, url):
        first, second = (await client.get(url)).headers, (await client.get(url)).headers
    assert first.raw == received
    assert (first["x-rateLIMIT"], first.get("date"), first.get_list("VIA")) == ("7", None, ["a", "b"])
    assert "Content-Length" in second
    assert second.multi_items() == expected.multi_items()
    assert (second, dict(second)) == (expected, dict(expected))
    second["via"] = "c"
    expected["via"] = "c"
    assert (second.raw, second.copy()) == (expected.raw, expected)


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


async def test_a_request_into_a_closing_connection_is_sent_again_at_once_on_a_new_one() -> None:
    server = Server(OK, None, OK)
    async with serving(server) as (client, url):
        await client.get(url)
        assert (await client.post(url)).text == "ok"
        assert server.connections == 2


async def test_a_server_that_says_408_to_an_idle_connection_is_asked_again_on_a_new_one() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    server = Server(OK, late, OK)
    async with serving(server) as (client, url):
        await client.get(url)
        assert (await client.get(url)).text == "ok"
        assert server.connections == 2
        server.answers = [late]
        await asyncio.sleep(0)
        assert (await client.get(url)).status_code == 408, "twice is an answer"


async def test_a_new_connection_that_closes_without_an_answer_is_a_failure() -> None:
    server = Server(OK, None)
    async with serving(server) as (client, url):
        await client.get(url)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
        assert server.connections == 2


async def test_a_request_whose_answer_has_begun_is_not_sent_again() -> None:
    server = Server(OK, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-le", OK)
    async with serving(server) as (client, url):
        await client.get(url)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
        assert server.connections == 1


async def test_what_was_idle_beside_a_connection_that_failed_is_not_tried_one_by_one() -> None:
    server = Server()
    async with serving(server) as (client, url):
        await asyncio.gather(*(client.get(url) for _ in range(4)))
        server.answers = [None, OK]
        assert (await client.get(url)).text == "ok"
        await asyncio.sleep(0.05)
        assert (server.connections, server.open) == (5, 1)


async def test_a_connection_that_is_silent_costs_one_request_its_time() -> None:
    listener = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    async with listener, Relay(listener.sockets[0].getsockname()[1]) as relay:
        url = f"http://127.0.0.1:{relay.port}/"
        async with httpx.AsyncClient(transport=FreeListTransport(4), timeout=0.3) as client:
            await asyncio.gather(*(client.get(url) for _ in range(4)))
            relay.forget()
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url)
            assert (await client.get(url)).text == "ok"


async def test_a_connection_is_used_for_its_age_and_no_longer() -> None:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    transport = FreeListTransport(4, age_s=60)
    async with listener, httpx.AsyncClient(transport=transport) as client:
        for expected in (1, 1, 2):
            await client.get(url)
            assert server.connections == expected
            (idle,) = transport._idle.values()
            idle[0].since_s -= 31
    await gone(server)


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


async def test_a_connection_closed_in_the_moment_it_is_wanted_is_not_used() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", None)
    async with serving(server) as (client, url):
        await client.get(url)
        transport = client._transport
        assert isinstance(transport, FreeListTransport)
        (idle,) = transport._idle.values()
        # Its end is there to be read, but the loop has been busy with other things for long.
        idle[0].idle_since_s -= 5
        assert idle[0]._transport is not None
        asyncio.get_running_loop().call_soon(idle[0]._transport.close)
        server.answers = [OK]
        assert (await client.get(url)).text == "ok"
        assert server.connections == 2
    await gone(server)


async def test_a_request_cancelled_while_its_connection_is_looked_at_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("otel_bridge.http1.transport._FRESH_S", -1.0)
    server = Server()
    async with serving(server) as (client, url):
        await client.get(url)
        asking = asyncio.create_task(
            client._transport.handle_async_request(httpx.Request("GET", url))  # the client itself takes turns
        )
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await gone(server)
        assert server.connections == 1


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    server = Server()
    async with serving(server) as (client, url):
        await client.get(url)
        transport = client._transport
        assert isinstance(transport, FreeListTransport)
        (idle,) = transport._idle.values()
        idle[0].idle_since_s -= 60
        await client.get(url)
        assert server.connections == 2
    await gone(server)


async def test_a_body_of_megabytes_comes_whole() -> None:
    body = bytes(range(256)) * 20_000
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    async with serving(server) as (client, url):
        assert (await client.get(url)).content == body
    await gone(server)


async def test_the_target_extension_takes_the_place_of_the_path() -> None:
    lines: list[bytes] = []
    ended = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await closed(writer)
        ended.release()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/base"
    async with listener, httpx.AsyncClient(transport=FreeListTransport(1)) as client:
        await client.get(url)
        await client.get(url, extensions={"target": b"/base/%2E%2E"})
        for _ in range(2):
            await asyncio.wait_for(ended.acquire(), 5)
    assert lines == [b"GET /base HTTP/1.1\r\n", b"GET /base/%2E%2E HTTP/1.1\r\n"]


async def test_a_server_s_certificate_is_verified(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(made.server, made.server_key)
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=ours)
    url = f"https://localhost:{listener.sockets[0].getsockname()[1]}/"
    trusting = FreeListTransport(1, lambda: ssl.create_default_context(cafile=made.authority))
    async with listener, httpx.AsyncClient(transport=trusting) as client:
        for _ in range(3):
            assert (await client.get(url)).text == "ok"
        assert server.connections == 1
        async with httpx.AsyncClient(transport=FreeListTransport(1)) as stranger:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get(url)
    await gone(server)


async def test_over_tls_too_a_request_answered_before_it_was_sent_spoils_its_connection(
    tmp_path: Path,
) -> None:
    made = make_certificates(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(made.server, made.server_key)
    connections, enough, ended = 0, asyncio.Event(), asyncio.Semaphore(0)

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # of what reads
        writer.write(b"HTTP/1.1 413 Too large\r\ncontent-length: 0\r\n\r\n")
        await enough.wait()
        writer.transport.abort()
        await closed(writer)
        ended.release()

    listener = await asyncio.start_server(impatient, "127.0.0.1", 0, ssl=ours)
    url = f"https://localhost:{listener.sockets[0].getsockname()[1]}/"
    trusting = FreeListTransport(1, lambda: ssl.create_default_context(cafile=made.authority))
    async with listener, httpx.AsyncClient(transport=trusting) as client:
        for expected in (1, 2):
            # More than the system's own buffers take.
            assert (await client.post(url, content=bytes(20_000_000))).status_code == 413
            assert connections == expected
        enough.set()
        for _ in range(connections):
            await asyncio.wait_for(ended.acquire(), 5)


async def test_a_server_that_does_not_shake_hands_costs_the_connect_timeout() -> None:
    ended = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        await closed(writer)
        ended.set()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    async with listener, httpx.AsyncClient(transport=FreeListTransport(1)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(url, timeout=httpx.Timeout(5, connect=0.1))
        await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize(
    ("url", "headers", "error"),
    [
        ("ftp://127.0.0.1/", {}, httpx.UnsupportedProtocol),
        ("http://127.0.0.1:9/", {"x-a": "1\r\nx-b: 2"}, httpx.LocalProtocolError),
        ("http://127.0.0.1:9/", {"x-a": "1\nx-b: 2"}, httpx.LocalProtocolError),
    ],
)
async def test_what_can_not_be_sent_is_httpx_s_own_error(
    url: str, headers: dict[str, str], error: type[Exception]
) -> None:
    request = httpx.Request("GET", url, headers=headers)
    with pytest.raises(error):
        await FreeListTransport(1).handle_async_request(request)


def _proxy(port: int, user: str = "") -> Proxy:
    return Proxy("http", "127.0.0.1", port, "HTTPS_PROXY", user, "hunter2" if user else "")


@pytest.mark.parametrize("user", ["", "me"])
async def test_a_plain_address_is_asked_of_the_proxy_by_its_whole_url(user: str) -> None:
    listener = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    async with listener, TunnelProxy(listener.sockets[0].getsockname()[1]) as proxy:
        transport = FreeListTransport(4, proxy=_proxy(proxy.port, user))
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(3):
                assert (await client.get("http://otlp.invalid:4318/v1?a=b")).text == "ok"
        (head,) = proxy.heads
        assert head.startswith("GET http://otlp.invalid:4318/v1?a=b HTTP/1.1\r\n")
        assert ("\r\nproxy-authorization: Basic bWU6aHVudGVyMg==\r\n" in head) == bool(user)


@pytest.mark.parametrize("user", ["", "me"])
async def test_an_address_with_tls_is_reached_through_a_tunnel_and_verified(
    tmp_path: Path, user: str
) -> None:
    made = make_certificates(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(made.server, made.server_key)
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=ours)
    port = listener.sockets[0].getsockname()[1]
    async with listener, TunnelProxy() as proxy:
        transport = FreeListTransport(
            4, lambda: ssl.create_default_context(cafile=made.authority), proxy=_proxy(proxy.port, user)
        )
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(3):
                assert (await client.get(f"https://localhost:{port}/v1")).text == "ok"
            server.answers = [None, OK]
            assert (await client.get(f"https://localhost:{port}/v1")).text == "ok"
            with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
                await client.get(f"https://elsewhere.invalid:{port}/v1")
        assert len(proxy.heads) == 3
        assert proxy.heads[0].startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n")
        assert ("proxy-authorization: Basic bWU6aHVudGVyMg==\r\n" in proxy.heads[0]) == bool(user)
    await gone(server)


async def test_a_proxy_on_https_is_verified_and_tunnelled_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(made.server, made.server_key)
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=ours)
    port = listener.sockets[0].getsockname()[1]
    async with listener, TunnelProxy(tls=ours) as proxy:
        transport = FreeListTransport(1, proxy=Proxy("https", "localhost", proxy.port, "HTTPS_PROXY"))
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(f"https://localhost:{port}/")).text == "ok"
    await gone(server)


async def test_a_proxy_that_opens_no_tunnel_is_httpx_s_own_error() -> None:
    async with TunnelProxy(refuses=407) as proxy:
        transport = FreeListTransport(1, proxy=_proxy(proxy.port))
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ProxyError, match=r"the proxy opens no tunnel \(407 No\)"):
                await client.get("https://localhost:1/")
            transport = FreeListTransport(1, proxy=_proxy(9))
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError, match="refused"):
                await client.get("https://localhost:1/")
