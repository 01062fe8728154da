"""SOCKS proxies: through them with the extra, and one line without it."""

from __future__ import annotations

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


async def test_a_failure_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SocksProxy(("me", "another")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://me:hunter2@127.0.0.1:{proxy.port}")
        sender = HttpSender(to("http://otlp.invalid/v1/traces"))
        with pytest.raises(DestinationUnavailable) as failed:
            await sender.send(b"")
        await sender.aclose()
        assert f"through the proxy 127.0.0.1:{proxy.port}" in str(failed.value)
        assert "hunter" not in str(failed.value)


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
