"""OTLP over HTTP against a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from recording_sink import HttpAnswer, RecordingSink
from relays import TunnelProxy

from otel_bridge.errors import DestinationRefused, DestinationUnavailable, SettingsError
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.exporter.sender import Accepted, Answer, Failed, NoAnswer, Refused, TooLarge

if TYPE_CHECKING:
    from certificates import Certificates

BODY = b"\x0a\x00"
PLAIN = {"content-type": "text/plain"}
PACKED = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
JSON = {"content-type": "application/json; charset=utf-8"}
PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="too\nold")
).SerializeToString()


def _destination(sink: RecordingSink, **changes: Any) -> Destination:
    values: dict[str, Any] = {
        "signal": Signal.TRACES,
        "protocol": Protocol.HTTP,
        "endpoint": f"{sink.http_endpoint}/v1/traces?key=s3cret",
        "headers": (("X-Token", "t0ken"), ("content-type", "wrong")),
        "timeout_ms": 5000,
    }
    return Destination(**(values | changes))


async def _send(answer: HttpAnswer, **changes: Any) -> Answer:
    async with RecordingSink() as sink:
        sink.http_answers.append(answer)
        sender = HttpSender(_destination(sink, **changes))
        try:
            return await sender.send(BODY)
        finally:
            await sender.aclose()
            assert len(sink.received) == 1, "no library below retries or follows"


@pytest.mark.parametrize("packed", [True, False])
async def test_a_request_is_what_otlp_asks_for(*, packed: bool) -> None:
    async with RecordingSink() as sink:
        sender = HttpSender(_destination(sink, gzip=packed))
        assert await sender.send(BODY * 100) == Accepted()
        await sender.aclose()

    [received] = sink.received
    assert received.body == BODY * 100
    assert received.path == "/v1/traces?key=s3cret"
    assert received.headers["content-type"] == "application/x-protobuf"
    assert received.headers.get("content-encoding") == ("gzip" if packed else None)
    assert received.headers["x-token"] == "t0ken"
    assert received.headers["user-agent"].startswith("otel-bridge/")
    assert received.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (HttpAnswer(200), Accepted()),
        (HttpAnswer(202, headers={}), Accepted()),
        (HttpAnswer(204, headers={}), Accepted()),
        (HttpAnswer(200, b"  \n", PLAIN), Accepted()),
        (HttpAnswer(200, PARTIAL), Accepted(3, "too old")),
        (HttpAnswer(200, gzip.compress(PARTIAL), PACKED), Accepted(3, "too old")),
        (HttpAnswer(200, PARTIAL, headers={}), Accepted(3, "too old")),
        (HttpAnswer(200, b"{}", JSON), Accepted()),
        (
            HttpAnswer(
                200, b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}, "x": 1}', JSON
            ),
            Accepted(2, "no"),
        ),
        (
            HttpAnswer(400, b"bad \x1b[31mspan\n" + b"x" * 300, PLAIN),
            Refused("400 Answer: bad [31mspan " + "x" * 186 + "…"),
        ),
        (HttpAnswer(400, b"\x12\x0bbad span id"), Refused("400 Answer: bad span id")),
        (HttpAnswer(400, b"\xff\xff"), Refused("400 Answer")),
        (HttpAnswer(422, b'{"message": "no trace id"}', JSON), Refused("422 Answer: no trace id")),
        (HttpAnswer(422, b'{"error": {"a": 1}}', JSON), Refused('422 Answer: {"error": {"a": 1}}')),
        (HttpAnswer(422, b"[broken", JSON), Refused("422 Answer: [broken")),
        (HttpAnswer(400, b"<html>", {"content-type": "text/html"}), Refused("400 Answer")),
        (HttpAnswer(413, headers=PLAIN), TooLarge("413 Answer")),
    ],
)
async def test_answers_that_speak_of_the_request(answer: HttpAnswer, meaning: Answer) -> None:
    assert await _send(answer) == meaning


async def test_the_rejected_are_counted_in_the_signal_s_own_field() -> None:
    body = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=4)
    ).SerializeToString()

    assert await _send(HttpAnswer(200, body), signal=Signal.LOGS) == Accepted(4)


async def test_a_server_that_fell_over_leaves_the_cause_open() -> None:
    answer = await _send(HttpAnswer(500, b"panic", PLAIN))

    assert isinstance(answer, Failed)
    assert answer.message.startswith("POST http://localhost:")
    assert answer.message.endswith("/v1/traces: 500 Answer: panic")


@pytest.mark.parametrize("status", [425, 502, 503, 522])
async def test_what_may_pass_is_unavailable(status: int) -> None:
    with pytest.raises(DestinationUnavailable, match=rf"/v1/traces: {status} Answer$") as caught:
        await _send(HttpAnswer(status))

    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("7", 7),
        ("0", 0),
        ("99999999", 3600),
        ("soon", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
async def test_the_wait_that_is_asked_for_is_read(header: str, wait_s: float | None) -> None:
    with pytest.raises(DestinationUnavailable) as caught:
        await _send(HttpAnswer(503, headers={"Retry-After": header}))

    assert caught.value.retry_after_s == wait_s


async def test_a_time_that_is_asked_for_is_read_as_a_wait() -> None:
    asked = formatdate(time.time() + 1800, usegmt=True)
    with pytest.raises(DestinationUnavailable) as caught:
        await _send(HttpAnswer(503, headers={"Retry-After": asked}))

    assert caught.value.retry_after_s == pytest.approx(1800, abs=120)


@pytest.mark.parametrize(
    ("answer", "message", "unsupported"),
    [
        (HttpAnswer(401, b'{"error": "no key"}', JSON), "401 Answer: no key", False),
        (HttpAnswer(403), "403 Answer", False),
        (HttpAnswer(404), "404 Answer", True),
        (HttpAnswer(405), "405 Answer", False),
        (HttpAnswer(415), "415 Answer", False),
        (
            HttpAnswer(302, headers={"location": "https://me:pw@login.example/start?token=s3cret"}),
            "302, moved to https://login.example/start: set the endpoint to where the data should go",
            False,
        ),
        (HttpAnswer(304, headers={}), "304 Answer", False),
        (
            HttpAnswer(200, b"<html>Sign in</html>", {"content-type": "text/html; charset=utf-8"}),
            "200 with text/html that is no OTLP answer: wrong endpoint?",
            False,
        ),
        (HttpAnswer(200, b"OK", PLAIN), "200 with text/plain that is no OTLP answer: wrong endpoint?", False),
        (
            HttpAnswer(200, b"[]", JSON),
            "200 with application/json that is no OTLP answer: wrong endpoint?",
            False,
        ),
        (
            HttpAnswer(200, b"\x1a\x00", {"content-type": "text/html"}),
            "200 with text/html that is no OTLP answer: wrong endpoint?",
            False,
        ),
        (
            HttpAnswer(200, b'{"error": "no such tenant"}', JSON),
            "200 with application/json that is no OTLP answer: wrong endpoint?",
            False,
        ),
        (HttpAnswer(200, b"\xff", {}), "200 with something that is no OTLP answer: wrong endpoint?", False),
        (
            HttpAnswer(200, bytes(3 << 20)),
            "200 with application/x-protobuf that is no OTLP answer: wrong endpoint?",
            False,
        ),
    ],
)
async def test_what_only_a_person_can_change_is_a_refusal_of_the_destination(
    answer: HttpAnswer, message: str, *, unsupported: bool
) -> None:
    with pytest.raises(DestinationRefused) as caught:
        await _send(answer)

    assert str(caught.value).endswith(f"/v1/traces: {message}")
    assert caught.value.unsupported is unsupported
    assert "s3cret" not in str(caught.value)
    assert "t0ken" not in str(caught.value)


async def test_no_answer_in_time_leaves_the_cause_open() -> None:
    answer = await _send(HttpAnswer(delay_s=30), timeout_ms=100)

    assert isinstance(answer, NoAnswer)
    assert answer.message.endswith("/v1/traces: no answer in 100 ms")


@pytest.mark.parametrize("status", [408, 504, 524])
async def test_a_gateway_that_got_no_answer_in_time_says_the_same(status: int) -> None:
    answer = await _send(HttpAnswer(status))

    assert isinstance(answer, NoAnswer)
    assert answer.message.endswith(f"/v1/traces: {status} Answer")


async def test_a_429_that_names_no_time_may_be_too_large() -> None:
    answer = await _send(HttpAnswer(429))

    assert isinstance(answer, TooLarge)
    assert not answer.certain
    assert answer.message.endswith("/v1/traces: 429 Answer")


@pytest.mark.parametrize("headers", [{}, {"retry-after": "5"}], ids=["", "and a time"])
async def test_a_429_that_names_a_size_is_too_large(headers: dict[str, str]) -> None:
    said = (
        b"RATE_LIMITED: batch size (9000 bytes) exceeds ingestion limit (local: 5000 bytes, global: 0 bytes)"
    )

    answer = await _send(HttpAnswer(429, said, PLAIN | headers))

    assert isinstance(answer, TooLarge)
    assert answer.certain


@pytest.mark.parametrize(
    "said",
    [
        b"ingestion rate limit (15000000 bytes) exceeded while adding 10 bytes",
        b"Ingestion rate limit exceeded (limit: 4194304 bytes/sec) for lines totaling size 9000 over all",
        b"",
    ],
)
async def test_a_429_that_names_a_time_and_no_size_waits(said: bytes) -> None:
    with pytest.raises(DestinationUnavailable) as caught:
        await _send(HttpAnswer(429, said, PLAIN | {"retry-after": "5"}))

    assert caught.value.retry_after_s == 5


async def test_an_answer_that_never_ends_is_none() -> None:
    async def trickle() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=trickle()))
    sender = HttpSender(Destination(Signal.TRACES, Protocol.HTTP, "http://x/", timeout_ms=100), transport)

    assert await sender.send(BODY) == NoAnswer("POST http://x/: no answer in 100 ms")
    await sender.aclose()


async def test_a_connection_that_breaks_leaves_the_cause_open() -> None:
    """Some servers end the connection at a body that is too large."""
    answer = await _send(HttpAnswer(hangs_up=True))

    assert isinstance(answer, NoAnswer)
    assert "closed before the whole answer" in answer.message


async def test_nobody_listening_is_unavailable() -> None:
    async with RecordingSink() as sink:
        destination = _destination(sink)
    sender = HttpSender(destination)

    with pytest.raises(
        DestinationUnavailable, match=r"POST http://localhost:\d+/v1/traces: connection refused$"
    ):
        await sender.send(BODY)
    await sender.aclose()


async def test_a_proxy_that_stands_between_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    sender = HttpSender(Destination(Signal.TRACES, Protocol.HTTP, "http://collector.invalid:4318/v1/traces"))

    with pytest.raises(DestinationUnavailable, match=r"through the proxy 127\.0\.0\.1:9$") as caught:
        await sender.send(BODY)
    assert "hunter2" not in str(caught.value)
    await sender.aclose()


async def test_a_url_that_httpx_can_not_speak_to_is_a_refusal() -> None:
    sender = HttpSender(Destination(Signal.TRACES, Protocol.HTTP, "ftp://x/"))

    with pytest.raises(DestinationRefused, match="POST ftp://x/"):
        await sender.send(BODY)
    await sender.aclose()


async def test_a_cancelled_request_leaves_the_sender_usable() -> None:
    async with RecordingSink() as sink:
        sink.http_answers.append(HttpAnswer(delay_s=30))
        sender = HttpSender(_destination(sink))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sender.send(BODY), 0.2)

        assert await sender.send(BODY) == Accepted()
        await sender.aclose()


def _server_tls(certificates: Certificates, *, asks_the_client: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
    context.load_cert_chain(certificates.server, certificates.server_key)
    if asks_the_client:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_server_of_a_private_authority_is_trusted_when_told_so(certificates: Certificates) -> None:
    async with RecordingSink(_server_tls(certificates, asks_the_client=False)) as sink:
        trusting = HttpSender(_destination(sink, certificate=str(certificates.authority)))
        assert await trusting.send(BODY) == Accepted()
        await trusting.aclose()

        wary = HttpSender(_destination(sink))
        with pytest.raises(DestinationRefused, match=r"its certificate is not trusted: self-signed"):
            await wary.send(BODY)
        await wary.aclose()


async def test_the_client_shows_its_certificate_when_it_has_one(certificates: Certificates) -> None:
    async with RecordingSink(_server_tls(certificates, asks_the_client=True)) as sink:
        known = HttpSender(
            _destination(
                sink,
                certificate=str(certificates.authority),
                client_certificate=str(certificates.client),
                client_key=str(certificates.client_key),
            )
        )
        assert await known.send(BODY) == Accepted()
        await known.aclose()

        unknown = HttpSender(_destination(sink, certificate=str(certificates.authority)))
        assert isinstance(await unknown.send(BODY), NoAnswer)
        await unknown.aclose()
    assert len(sink.received) == 1


async def test_the_proxy_of_the_environment_stands_between_and_is_named_where_it_fails(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with (
        RecordingSink(_server_tls(certificates, asks_the_client=False)) as sink,
        TunnelProxy() as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
        sender = HttpSender(_destination(sink))
        assert await sender.send(BODY) == Accepted()
        await sender.aclose()
        assert proxy.heads[0].startswith(f"CONNECT localhost:{sink.http_port} ")

        sender = HttpSender(_destination(sink, endpoint=f"https://elsewhere.invalid:{sink.http_port}/"))
        with pytest.raises(
            DestinationRefused, match=r"not trusted: Hostname mismatch.* through the proxy"
        ) as caught:
            await sender.send(BODY)
        assert "SSL_CERT_FILE" not in str(caught.value)
        await sender.aclose()
    sender = HttpSender(_destination(sink))
    with pytest.raises(DestinationUnavailable, match=rf"refused through the proxy 127.0.0.1:{proxy.port}$"):
        await sender.send(BODY)
    await sender.aclose()


async def test_a_proxy_that_can_not_be_used_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("socks://proxy.example", "ftp://me:hunter2@proxy.example"):
        monkeypatch.setenv("https_proxy", value)
        with pytest.raises(SettingsError, match=r"^https_proxy in the environment can't be used") as caught:
            HttpSender(Destination(Signal.TRACES, Protocol.HTTP, "https://otlp.invalid/"))
        assert "hunter2" not in str(caught.value)
