"""What is said to a person about a destination that takes nothing: the cause, and the variable to mend."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from recording_sink import HttpAnswer, RecordingSink

from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.advice import advice, advice_at_last
from otel_bridge.exporter.destination import Signal, destination_from
from otel_bridge.exporter.otlp import sender_for
from otel_bridge.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates

BASE = "OTEL_EXPORTER_OTLP_"
HTTP = {f"{BASE}ENDPOINT": "http://127.0.0.1:4319"}
HTTPS = {f"{BASE}ENDPOINT": "https://127.0.0.1:4319"}
GRPC = {f"{BASE}PROTOCOL": "grpc", f"{BASE}ENDPOINT": "collector:4319"}
KEYED = HTTP | {f"{BASE}HEADERS": "x-key=abc"}
OWN = {f"{BASE}TRACES_ENDPOINT": "http://127.0.0.1:4319"}
NO_TLS = "UNAVAILABLE: Ssl handshake failed: SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"


@pytest.mark.parametrize(
    ("said", "variables", "words"),
    [
        ("name or service not known", HTTP, "correct the host in OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("UNAVAILABLE: errors resolving x: [Domain name not found]", GRPC, "correct the host in"),
        ("connection refused", OWN, "correct host and port in OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ("no answer in 10 s", HTTP, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("no answer in 10 s", HTTP | {f"{BASE}TRACES_TIMEOUT": "99"}, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
        ("DEADLINE_EXCEEDED: Deadline Exceeded", GRPC, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("its certificate is not trusted: certificate has expired", HTTP, "renew its certificate"),
        ("its certificate is not trusted: Hostname mismatch, x", HTTP, "a name that its certificate has"),
        ("its certificate is not trusted: Missing Authority Key Identifier", HTTP, "Python 3.13"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", HTTP, "CLIENT_KEY"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", HTTP, "write http:// in"),
        (NO_TLS, GRPC, "OTEL_EXPORTER_OTLP_INSECURE=true"),
        (NO_TLS, GRPC | {f"{BASE}ENDPOINT": "https://x:1"}, "write http:// in OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("400 Bad Request: Client sent an HTTP request to an HTTPS server.", HTTP, "write https:// in"),
        ("the answer is HTTP/2, no HTTP/1.1", HTTP, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        ("426 Upgrade Required", HTTP, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        ("UNAVAILABLE: Failed parsing HTTP/2", GRPC, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("407 Proxy Authentication Required", HTTPS, "HTTPS_PROXY"),
        ("connection refused through the proxy p:3128", HTTPS, "correct the proxy in HTTPS_PROXY"),
        ("connection refused through the proxy p:3128", HTTP, "correct the proxy in HTTP_PROXY"),
        (
            "the proxy opens no tunnel (403 No) through the proxy p:3128",
            HTTPS,
            "correct the proxy in HTTPS_PROXY",
        ),
        (
            "the proxy opens no tunnel (407 No) through the proxy p:3128",
            HTTPS,
            "user and password into HTTPS_PROXY",
        ),
        ("UNAVAILABLE: proxy returned response code 407 through the proxy p:1", GRPC, "user and password"),
        ("UNAVAILABLE: proxy returned response code 403 through the proxy p:1", GRPC, "correct the proxy in"),
        ("no answer in 10 s through the proxy p:3128", HTTP, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("401 Unauthorized", HTTP, "set OTEL_EXPORTER_OTLP_HEADERS to what it takes for a key"),
        ("401 Unauthorized", KEYED, "see the key in OTEL_EXPORTER_OTLP_HEADERS"),
        ("403 Forbidden: wrong region", KEYED, "whether OTEL_EXPORTER_OTLP_ENDPOINT is of the region"),
        ("PERMISSION_DENIED: no", GRPC, "OTEL_EXPORTER_OTLP_HEADERS"),
        ("PERMISSION_DENIED: Received http2 header with status: 403", GRPC, "let this machine through"),
        ("UNIMPLEMENTED: unknown service", GRPC, "it takes no traces by gRPC"),
        ("404 Not Found", OWN, "add /v1/traces to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ("404 Not Found", HTTP, "correct the path in OTEL_EXPORTER_OTLP_ENDPOINT"),
        (
            "405 Method Not Allowed",
            {f"{BASE}ENDPOINT": "http://127.0.0.1:4319/v1/traces"},
            "take /v1/traces from OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ("415 Unsupported Media Type: Unsupported content-encoding", HTTP, "COMPRESSION=none"),
        ("415 Unsupported Media Type", HTTP | {f"{BASE}COMPRESSION": "none"}, "no OTLP in protobuf: correct"),
        ("308, moved to https://x/", HTTP, "set OTEL_EXPORTER_OTLP_ENDPOINT to where that is"),
        ("200 with text/html that is no OTLP answer", HTTP, "no OTLP receiver answers there"),
        ("503 Service Unavailable: upstream: connection refused", HTTP, ""),
        ("429 Too Many Requests", HTTP, ""),
        ("connection reset by peer", HTTP, ""),
    ],
)
def test_each_cause_names_what_mends_it(said: str, variables: dict[str, str], words: str) -> None:
    destination = destination_from(Signal.TRACES, variables)
    found = advice(DestinationRefused(f"POST {destination.where}: {said}"), destination)
    assert (words in found) if words else not found
    assert "; " not in found, "it is the last part of its line"
    assert advice_at_last(DestinationRefused(f"POST {destination.where}: {said}"), destination)


@pytest.mark.parametrize(
    ("protocol", "port", "words"),
    [
        ("grpc", "4318", "it speaks no gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("http/protobuf", "4317", "it speaks gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    ],
)
def test_the_port_of_the_other_protocol(protocol: str, port: str, words: str) -> None:
    values = {f"{BASE}PROTOCOL": protocol, f"{BASE}ENDPOINT": f"http://127.0.0.1:{port}"}
    destination = destination_from(Signal.TRACES, values)
    assert words in advice_at_last(DestinationRefused("connection reset by peer"), destination)


def test_what_stands_in_the_file_is_named_by_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("export: {traces: {endpoint: 'http://127.0.0.1:4319'}, headers: 'x-key=abc'}")
    destination = load(file, {"COMPOSIO_API_KEY": "ak_x"}).destination(Signal.TRACES)
    assert f"{file}: export.traces.endpoint" in advice(DestinationRefused("x: 404 Not Found"), destination)
    assert f"{file}: export.headers" in advice(DestinationRefused("x: 401 Unauthorized"), destination)
    assert "OTEL_EXPORTER_OTLP_COMPRESSION" in advice(DestinationRefused("x: 415 gzip?"), destination)


async def said_of(answer: HttpAnswer) -> DestinationError:
    async with RecordingSink() as sink:
        sink.http_answers.append(answer)
        sender = sender_for(destination_from(Signal.TRACES, {f"{BASE}ENDPOINT": sink.http_endpoint}))
        with pytest.raises(DestinationError) as caught:
            await sender.send(b"")
        await sender.aclose()
        return caught.value


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("headers", "body", "who"),
    [
        ({"server": "nginx", "content-type": "text/html"}, b"<html>no</html>", " (nginx)"),
        ({"server": "cloudflare", "content-type": "text/plain"}, b"error code: 1020", " (cloudflare)"),
        ({"cf-mitigated": "challenge"}, b"", ""),
    ],
)
async def test_what_stands_before_a_receiver_says_nothing_of_the_key(
    status: int, headers: dict[str, str], body: bytes, who: str
) -> None:
    error = await said_of(HttpAnswer(status, body, headers))
    assert f"said by what stands before the receiver{who}" in error.fact
    assert "the key" not in str(error)


async def test_a_receivers_own_word_on_the_key_is_one_behind_any_server() -> None:
    headers = {"server": "cloudflare", "cf-ray": "8", "content-type": "application/json"}
    error = await said_of(HttpAnswer(401, b'{"message": "invalid api key"}', headers))
    assert str(error).endswith("such as authorization=Bearer%20KEY")


@pytest.mark.parametrize(
    "body", [b"Client sent an HTTP request to an HTTPS server.\n", b"gzip: invalid header"]
)
async def test_a_400_for_the_way_and_not_for_the_records_is_no_refusal_of_records(body: bytes) -> None:
    error = await said_of(HttpAnswer(400, body, {"content-type": "text/plain"}))
    assert isinstance(error, DestinationRefused)
    assert error.advice


async def test_a_port_for_grpc_is_named_and_no_request_is_made_smaller_for_it() -> None:
    async with RecordingSink() as sink:
        values = {f"{BASE}ENDPOINT": f"http://127.0.0.1:{sink.grpc_port}"}
        sender = sender_for(destination_from(Signal.TRACES, values))
        with pytest.raises(DestinationUnavailable) as caught:
            await sender.send(b"")
        await sender.aclose()
    assert "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in caught.value.advice


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_certificate_that_nobody_vouches_for(protocol: str, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    async with RecordingSink(context) as sink:
        values = {
            f"{BASE}PROTOCOL": protocol,
            f"{BASE}TRACES_ENDPOINT": f"https://127.0.0.1:{sink.http_port}",
        }
        sender = sender_for(destination_from(Signal.TRACES, values))
        with pytest.raises(DestinationError) as caught:
            await sender.send(b"")
        await sender.aclose()
    assert "set OTEL_EXPORTER_OTLP_CERTIFICATE (or SSL_CERT_FILE)" in caught.value.advice


def test_the_proxy_is_named_by_the_variable_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://p:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    destination = destination_from(
        Signal.TRACES, {f"{BASE}ENDPOINT": "otlp.example", f"{BASE}PROTOCOL": "grpc"}
    )
    found = advice(DestinationRefused("gRPC x: connection refused through the proxy p:3128"), destination)
    assert found == "correct the proxy in all_proxy, or name this host in NO_PROXY where it needs none"
