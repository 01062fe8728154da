"""SOCKS proxies: through them with the extra, and one line without it."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from typing import TYPE_CHECKING

import pytest
from certificates import make_certificates
from recording_sink import RecordingSink
from relays import SocksProxy

from otel_bridge.errors import DestinationUnavailable, SettingsError
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.grpc_sender import GrpcSender
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.exporter.sender import Accepted
from otel_bridge.http1.transport import transport_to

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def to(endpoint: str, protocol: Protocol = Protocol.HTTP, certificate: str | None = None) -> Destination:
    return Destination(Signal.TRACES, protocol, endpoint, timeout_ms=5000, certificate=certificate)


@pytest.mark.parametrize("user", [None, ("me", "hunter2#")])
@pytest.mark.parametrize("secured", [False, True])
async def test_a_destination_is_reached_through_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: tuple[str, str] | None, secured: bool
) -> None:
    made = make_certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.server, made.server_key)
    async with RecordingSink(tls if secured else None) as sink, SocksProxy(user) as proxy:
        address = "me:hunter2%23@" if user else ""
        monkeypatch.setenv("ALL_PROXY", f"socks5://{address}127.0.0.1:{proxy.port}")
        authority = str(made.authority) if secured else None
        sender = HttpSender(to(f"{sink.http_endpoint}/v1/traces", certificate=authority))
        for _ in range(2):
            assert await sender.send(b"") == Accepted()
        await sender.aclose()
        assert proxy.asked == [("localhost", sink.http_port)]


@pytest.mark.parametrize(
    ("user", "why"),
    [("", "asks for a user and password"), ("me:hunter2@", "does not accept its user and password")],
)
async def test_a_proxy_that_says_no_is_named(monkeypatch: pytest.MonkeyPatch, user: str, why: str) -> None:
    async with SocksProxy(("me", "another")) as proxy:
        said = await failure(monkeypatch, f"socks5://{user}127.0.0.1:{proxy.port}")
    assert said.endswith(f"{why} through the proxy 127.0.0.1:{proxy.port}")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b""], "hangs up"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not answer as a SOCKS5 proxy"),
        ([b"\x05\xff"], "asks for a user and password"),
        ([b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)], "opens no way: connection refused"),
        ([b"\x05\x00", b"\x05\x04\x00\x03\x03abc\x00\x50"], "opens no way: host unreachable"),
        ([b"\x05\x00", b"\x05\x77\x00\x01" + bytes(6)], "does not answer as a SOCKS5 proxy"),
        ([b"\x05\x00", b"\x05\x00\x00"], "hangs up"),
    ],
)
async def test_whatever_it_answers_is_one_line(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes], why: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(100)
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert why in await failure(monkeypatch, f"socks5://127.0.0.1:{port}")


async def failure(monkeypatch: pytest.MonkeyPatch, proxy: str) -> str:
    monkeypatch.setenv("ALL_PROXY", proxy)
    sender = HttpSender(to("http://otlp.invalid/v1/traces"))
    with pytest.raises(DestinationUnavailable) as failed:
        await sender.send(b"")
    await sender.aclose()
    assert "hunter" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("url", ["https://backend.composio.dev", "http://collector:4318/v1/traces"])
def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("all_proxy", "socks5h://me:hunter2@proxy.example")
    with pytest.raises(SettingsError) as refused:
        transport_to(url, 1)
    assert str(refused.value) == (
        "all_proxy in the environment names a SOCKS proxy, which takes one more package: "
        "pip install 'otel-bridge[socks]'"
    )


async def test_grpc_goes_through_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hunter2@proxy.example")
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY .*gRPC goes through no socks5:// proxy") as refused:
        GrpcSender(to("https://otlp.example:4317", Protocol.GRPC))
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in str(refused.value)
    assert "hunter" not in str(refused.value)
