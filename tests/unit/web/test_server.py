"""The server on real sockets: when it listens, when it says no, what one client can hold, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from web_stage import Stage

from otel_bridge.errors import EndpointsUnavailable
from otel_bridge.web import endpoints, protocol, server
from otel_bridge.web.guard import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
ALIVE = b'{"status":"alive","reasons":[]}'


def port_of(stage: Stage) -> int:
    return int((stage.running.url or "").rpartition(":")[2])


async def talk(port: int, sent: bytes, timeout_s: float = 10) -> bytes:
    """Everything that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(timeout_s):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_it_answers_while_the_block_runs_and_not_after(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with endpoints(stage.running):
        answer = await talk(port_of(stage), GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"server:" not in answer.lower()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(stage))


async def test_nothing_listens_where_the_address_is_empty(tmp_path: Path) -> None:
    stage = Stage(tmp_path, http={"listen": ""})
    async with endpoints(stage.running):
        assert stage.running.url is None


async def test_an_address_that_was_set_and_is_taken_is_one_clear_line(tmp_path: Path, taken: int) -> None:
    stage = Stage(tmp_path, http={"listen": f"127.0.0.1:{taken}"})
    with pytest.raises(EndpointsUnavailable) as raised:
        async with endpoints(stage.running):
            raise AssertionError
    assert str(raised.value) == (
        f"OTEL_BRIDGE_LISTEN is '127.0.0.1:{taken}': another program listens there; "
        "set it to another address (port 0 takes a free one), or to nothing for no endpoints"
    )


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("192.0.2.1:8790", "this machine has no such address"),
        ("nowhere.invalid:8790", "known|failure|address"),
        ("\u00f6..b:8790", "it is no address of this machine"),
        ("[::ffff:192.0.2.1]:0", "this machine has no such address"),
    ],
)
async def test_an_address_that_can_not_be_had_says_why(tmp_path: Path, listen: str, why: str) -> None:
    stage = Stage(tmp_path, http={"listen": listen})
    with pytest.raises(EndpointsUnavailable, match=why):
        async with endpoints(stage.running):
            raise AssertionError


async def test_the_default_address_may_belong_to_another_bridge(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, http={})
    monkeypatch.setattr(server, "_address", lambda _: ("127.0.0.1", taken))
    with caplog.at_level(logging.WARNING, "otel_bridge"):
        async with endpoints(stage.running):
            assert stage.running.url is None
    (record,) = caplog.records
    assert record.getMessage().startswith("OTEL_BRIDGE_LISTEN is")


async def test_beyond_loopback_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, http={"listen": "0.0.0.0:0"})
    with caplog.at_level(logging.INFO, "otel_bridge"):
        async with endpoints(stage.running):
            answer = await talk(
                port_of(stage), GET.replace(b"localhost\r\n", b"any.name\r\nConnection: close\r\n")
            )
            assert b" 200 OK" in answer
    assert "everyone who reaches this address can read" in caplog.text


async def test_ipv6_loopback_is_served(tmp_path: Path) -> None:
    stage = Stage(tmp_path, http={"listen": "[::1]:0"})
    async with endpoints(stage.running):
        assert (stage.running.url or "").startswith("http://[::1]:")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["target", "header", "headers", "tls", "version", "nonsense", "url", "smuggling"],
)
async def test_what_is_no_acceptable_request_is_400_and_the_server_goes_on(
    tmp_path: Path, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path)
    async with endpoints(stage.running):
        head, _, body = (await talk(port_of(stage), request_bytes)).partition(b"\r\n\r\n")
        first, *headers = head.decode().splitlines()
        assert first == "HTTP/1.1 400 Bad Request"
        assert {f"{name}: {value}" for name, value in HEADERS.items()} <= set(headers)
        assert f"content-length: {len(body)}" in headers
        assert set(json.loads(body)) == {"error"}
        close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in await talk(port_of(stage), close)
    assert capfd.readouterr().err == "", "a client's doing is no line of the log"


SLOW: list[tuple[str, Callable[[int], bytes]]] = [
    ("says nothing", lambda _: b""),
    ("a request that never ends", lambda _: b"GET / HTTP/1.1\r\nHost: localhost\r\nA: "),
    (
        "a body that never ends",
        lambda _: b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
    ),
    ("asks for nothing more", lambda _: GET),
    ("line ends after an answer", lambda _: GET + b"\r\n" * 3),
]


@pytest.mark.parametrize(("what", "sent"), SLOW, ids=[what for what, _ in SLOW])
async def test_a_client_that_is_too_slow_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, sent: Callable[[int], bytes]
) -> None:
    del what
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)
    monkeypatch.setattr(server, "_KEEP_ALIVE_S", 0.2)
    stage = Stage(tmp_path)
    async with endpoints(stage.running):
        await talk(port_of(stage), sent(0), timeout_s=8)


async def test_a_client_that_reads_nothing_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READ_S", 0.2)
    stage = Stage(tmp_path)
    stage.running.metrics = lambda: b"x" * 30_000_000
    async with endpoints(stage.running):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(stage), limit=1024)
        writer.write(GET.replace(b"/livez", b"/metrics"))
        await asyncio.sleep(1)
        size = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(8):
                while part := await reader.read(65_536):
                    size += len(part)
        assert size < 30_000_000
        writer.close()


async def test_a_client_that_reads_slowly_gets_everything(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.running.metrics = lambda: b"x" * 20_000_000
    async with endpoints(stage.running):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(stage), limit=1024)
        writer.write(
            GET.replace(b"/livez", b"/metrics").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        await asyncio.sleep(0.3)
        size = 0
        while part := await reader.read(1 << 20):
            size += len(part)
        assert size > 20_000_000
        writer.close()


async def test_a_connection_serves_one_request_after_another(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with endpoints(stage.running):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(stage))
        for sent in (GET, b"\r\n" + GET, GET + GET):
            writer.write(sent)
            for _ in range(sent.count(b"GET")):
                assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(len(ALIVE)) == ALIVE
        writer.close()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EADDRINUSE, "x"), "another program listens there"),
        (OSError(errno.EACCES, "x"), "this user may not listen there"),
        (OSError(errno.ENOBUFS, "No buffer space available"), "No buffer space available"),
        (OSError("strange"), "it is no address of this machine"),
    ],
)
def test_why_an_address_can_not_be_had(error: OSError, why: str) -> None:
    assert server._why(error) == why


async def test_connections_are_bounded_and_free_again_when_they_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with endpoints(stage.running):
        port = port_of(stage)
        open_ones = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(protocol.MOST_CONNECTIONS)
        ]
        await asyncio.sleep(0.05)
        assert await talk(port, GET) == b""
        for _, writer in open_ones:
            writer.close()
        await asyncio.sleep(0.05)
        assert b" 200 OK" in await talk(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


async def test_it_leaves_in_time_whatever_its_clients_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path)
    monkeypatch.setattr(server, "_GRACE_S", 60)
    monkeypatch.setattr(server, "STOP_S", 0.5)

    async def hangs(*_: Any) -> Any:
        await asyncio.sleep(60)

    await stage.ledger.open()
    stage.running.ledger = stage.ledger
    monkeypatch.setattr(stage.ledger, "status", hangs)
    async with endpoints(stage.running):
        writers = []
        for sent in (b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HT", b""):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(stage))
            writer.write(sent)
            writers.append(writer)
        await asyncio.sleep(0.1)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < server.STOP_S + 1
    for writer in writers:
        writer.close()
