"""A gRPC channel through everything that happens to long-lived connections, and through proxies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from recording_sink import GrpcAnswer, RecordingSink
from relays import Relay, TunnelProxy

from otel_bridge.errors import DestinationRefused, DestinationUnavailable, SettingsError
from otel_bridge.exporter import grpc_channel
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.grpc_sender import GrpcSender
from otel_bridge.exporter.sender import Accepted, Answer, NoAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certificates import Certificates

BODY = b"\x0a\x00"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def sink() -> AsyncIterator[RecordingSink]:
    async with RecordingSink() as sink:
        yield sink


def _sender(port: int, scheme: str = "http", **changes: Any) -> GrpcSender:
    values: dict[str, Any] = {
        "signal": Signal.TRACES,
        "protocol": Protocol.GRPC,
        "endpoint": f"{scheme}://localhost:{port}",
        "timeout_ms": 5000,
    }
    return GrpcSender(Destination(**(values | changes)))


def _unanswered(answer: Answer) -> str:
    assert isinstance(answer, NoAnswer)
    return answer.message


async def test_a_connection_that_has_gone_silent_is_replaced_after_one_deadline(sink: RecordingSink) -> None:
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port, timeout_ms=400)
        assert await sender.send(BODY) == Accepted()
        relay.forget()
        assert "DEADLINE_EXCEEDED" in _unanswered(await sender.send(BODY))
        assert await sender.send(BODY) == Accepted()
        assert relay.opened == 2
        await sender.aclose()


async def test_pings_find_the_silence_long_before_a_long_deadline_and_nothing_is_counted(
    sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {
        name: value for name, value in grpc_channel._OPTIONS if str(name).endswith(("time_ms", "timeout_ms"))
    }
    assert {"grpc.keepalive_time_ms", "grpc.http2.ping_timeout_ms"} <= waits.keys()
    quick = tuple(
        (name, int(value) // 20 if name in waits and "idle" not in name else value)
        for name, value in grpc_channel._OPTIONS
    )
    monkeypatch.setattr(grpc_channel, "_OPTIONS", quick)
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port, timeout_ms=60_000)
        assert await sender.send(BODY) == Accepted()
        relay.forget()
        async with asyncio.timeout(20):
            assert await sender.send(BODY) == Accepted()
        assert relay.opened == 2
        await sender.aclose()


async def test_several_calls_into_the_silence_lead_to_one_new_connection(sink: RecordingSink) -> None:
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port, timeout_ms=400)
        await sender.send(BODY)
        relay.forget()
        for answer in await asyncio.gather(*(sender.send(BODY) for _ in range(4))):
            assert _unanswered(answer)
        assert await asyncio.gather(*(sender.send(BODY) for _ in range(4))) == [Accepted()] * 4
        assert relay.opened == 2
        await sender.aclose()


async def test_a_server_that_is_slow_with_one_call_and_answers_others_keeps_its_connection(
    sink: RecordingSink,
) -> None:
    sink.grpc_answers.append(GrpcAnswer(delay_s=30))
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port, timeout_ms=600)
        slow = asyncio.create_task(sender.send(BODY))
        await asyncio.sleep(0.2)
        assert await sender.send(BODY) == Accepted()
        assert _unanswered(await slow)
        assert await sender.send(BODY) == Accepted()
        assert relay.opened == 1
        await sender.aclose()


async def test_a_call_whose_older_connection_is_lost_is_repeated_at_once(sink: RecordingSink) -> None:
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port)
        assert await sender.send(BODY) == Accepted()
        relay.cut()
        assert await sender.send(BODY) == Accepted()
        assert relay.opened == 2
        assert [each.body for each in sink.received] == [BODY, BODY]
        await sender.aclose()


async def test_calls_that_lose_one_connection_together_are_all_repeated(sink: RecordingSink) -> None:
    sink.grpc_answers.extend([GrpcAnswer(), *[GrpcAnswer(delay_s=0.3)] * 4])
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port)
        assert await sender.send(BODY) == Accepted()
        calls = [asyncio.create_task(sender.send(BODY)) for _ in range(4)]
        await asyncio.sleep(0.1)
        relay.cut()
        calls.append(asyncio.create_task(sender.send(BODY)))
        assert await asyncio.gather(*calls) == [Accepted()] * 5
        assert relay.opened == 2
        await sender.aclose()


async def test_a_new_connection_that_is_lost_as_well_is_the_destination_s_fault(sink: RecordingSink) -> None:
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port)
        assert await sender.send(BODY) == Accepted()
        relay.cut(times=100)
        with pytest.raises(DestinationUnavailable, match=r"UNAVAILABLE"):
            await sender.send(BODY)
        await sender.aclose()


async def test_a_server_that_says_unavailable_is_not_asked_again_at_once(sink: RecordingSink) -> None:
    sender = _sender(sink.grpc_port)
    assert await sender.send(BODY) == Accepted()
    sink.grpc_answers.append(GrpcAnswer(grpc.StatusCode.UNAVAILABLE, "later"))
    with pytest.raises(DestinationUnavailable, match=r"later"):
        await sender.send(BODY)
    assert len(sink.received) == 2
    await sender.aclose()


async def test_a_call_in_flight_ends_on_the_channel_that_is_replaced(sink: RecordingSink) -> None:
    sink.grpc_answers.append(GrpcAnswer(delay_s=0.4))
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port)
        slow = asyncio.create_task(sender.send(BODY))
        await asyncio.sleep(0.2)
        async with sender.channel.lent() as opened:
            await sender.channel.renew(opened)
        assert await sender.send(BODY) == Accepted()
        assert not slow.done()
        assert await slow == Accepted()
        assert relay.opened == 2
        await sender.aclose()


async def test_a_connection_takes_calls_for_its_age_and_no_longer(sink: RecordingSink) -> None:
    async with Relay(sink.grpc_port) as relay:
        sender = _sender(relay.port, connection_age_s=60.0)
        for expected in (1, 1, 2):
            assert await sender.send(BODY) == Accepted()
            assert relay.opened == expected
            async with sender.channel.lent() as opened:
                opened.since_s -= 31
        await sender.aclose()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_tunnel_leads_through_the_proxy_of_the_environment(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    tls = None
    scheme = "http"
    if encrypted:
        pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
        tls, scheme = grpc.ssl_server_credentials([pair]), "https"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with RecordingSink(grpc_tls=tls) as sink, TunnelProxy() as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
        sender = _sender(sink.grpc_port, scheme)
        assert await sender.send(BODY) == Accepted()
        await sender.aclose()
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT localhost:{sink.grpc_port} HTTP/1.1\r\n")
        assert "proxy-authorization: Basic bWU6aHVudGVyMg==\r\n" in head.replace(":  ", ": ").replace(
            "Proxy-Authorization", "proxy-authorization"
        )


async def test_exceptions_and_other_kinds_of_address_go_directly(
    sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    sender = _sender(sink.grpc_port)
    assert await sender.send(BODY) == Accepted()
    await sender.aclose()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    sender = _sender(sink.grpc_port)
    assert await sender.send(BODY) == Accepted()
    await sender.aclose()


async def test_a_failure_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:9")
    sender = _sender(4317)
    with pytest.raises(DestinationUnavailable) as caught:
        await sender.send(BODY)
    await sender.aclose()
    assert str(caught.value).startswith("gRPC http://localhost:4317: UNAVAILABLE: ")
    assert str(caught.value).endswith(" through the proxy 127.0.0.1:9")


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        ("https://otlp.invalid", "otlp.invalid:443"),
        ("https://otlp.invalid:4317", "otlp.invalid:4317"),
        ("https://[::2]", "[::2]:443"),
        ("otlp.invalid:4317", "otlp.invalid:4317"),
    ],
)
async def test_a_tunnel_is_asked_for_with_a_port(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, asked: str
) -> None:
    async with TunnelProxy(refuses=403) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        sender = _sender(0, endpoint=endpoint)
        with pytest.raises(DestinationUnavailable, match=r"403"):
            await sender.send(BODY)
        await sender.aclose()
        assert proxy.heads[0].startswith(f"CONNECT {asked} HTTP/1.1")


async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TunnelProxy(refuses=407) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        sender = _sender(4317)
        with pytest.raises(DestinationUnavailable, match=rf"407.* through the proxy 127.0.0.1:{proxy.port}$"):
            await sender.send(BODY)
        await sender.aclose()


@pytest.mark.parametrize("proxy", ["https://user:hunter2@proxy.example", "socks5://proxy.example:1080"])
def test_a_proxy_that_grpc_can_not_use_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(
        SettingsError, match=r"^HTTP_PROXY in the environment can't be used \(gRPC goes"
    ) as caught:
        _sender(4317)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_the_environment_s_authorities_are_trusted(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, variable: str, tmp_path: Any
) -> None:
    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    async with RecordingSink(grpc_tls=grpc.ssl_server_credentials([pair])) as sink:
        wary = _sender(sink.grpc_port, "https")
        with pytest.raises(DestinationRefused, match=r"not trusted: unable to get local issuer certificate$"):
            await wary.send(BODY)
        await wary.aclose()
        (tmp_path / "ours.crt").write_bytes(certificates.authority.read_bytes())
        monkeypatch.setenv(variable, str(certificates.authority if variable == "SSL_CERT_FILE" else tmp_path))
        trusting = _sender(sink.grpc_port, "https")
        assert await trusting.send(BODY) == Accepted()
        await trusting.aclose()


async def test_a_certificate_for_another_name_is_a_refusal_that_says_so(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    async with RecordingSink(grpc_tls=grpc.ssl_server_credentials([pair])) as sink, TunnelProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        endpoint = f"https://elsewhere.invalid:{sink.grpc_port}"
        sender = _sender(0, certificate=str(certificates.authority), endpoint=endpoint)
        with pytest.raises(
            DestinationRefused, match=r"not trusted: it is not valid for this name.* the proxy"
        ) as caught:
            await sender.send(BODY)
        assert "SSL_CERT_FILE" not in str(caught.value)
        await sender.aclose()
