"""OTLP over gRPC against a real server on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo  # type: ignore[import-untyped] # ships no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from recording_sink import GrpcAnswer, RecordingSink

from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.grpc_sender import GrpcSender
from otel_bridge.exporter.sender import Accepted, Answer, Failed, NoAnswer, Refused, TooLarge

if TYPE_CHECKING:
    from certificates import Certificates

BODY = b"\x0a\x00"
Code = grpc.StatusCode


def _destination(sink: RecordingSink, **changes: Any) -> Destination:
    values: dict[str, Any] = {
        "signal": Signal.TRACES,
        "protocol": Protocol.GRPC,
        "endpoint": sink.grpc_endpoint,
        "headers": (("X-Token", "t0ken"), ("x-id-bin", "bytes")),
        "timeout_ms": 5000,
    }
    return Destination(**(values | changes))


async def _send(answer: GrpcAnswer, **changes: Any) -> Answer:
    async with RecordingSink() as sink:
        sink.grpc_answers.append(answer)
        sender = GrpcSender(_destination(sink, **changes))
        try:
            return await sender.send(BODY)
        finally:
            await sender.aclose()
            await sender.aclose()
            assert len(sink.received) == 1, "the library below does not retry"


def _details(*details: AnyMessage) -> tuple[tuple[str, bytes], ...]:
    return (("grpc-status-details-bin", Status(details=details).SerializeToString()),)


def _retry_in(seconds: float) -> tuple[tuple[str, bytes], ...]:
    packed = [AnyMessage(), AnyMessage()]
    packed[0].Pack(DebugInfo(detail="first of two"))
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(int(seconds * 1000))
    packed[1].Pack(info)
    return _details(*packed)


@pytest.mark.parametrize("signal", list(Signal))
@pytest.mark.parametrize("gzip", [True, False])
async def test_a_request_is_what_otlp_asks_for(signal: Signal, *, gzip: bool) -> None:
    async with RecordingSink() as sink:
        sender = GrpcSender(_destination(sink, signal=signal, gzip=gzip))
        assert await sender.send(BODY * 1000) == Accepted()
        await sender.aclose()

    [received] = sink.received
    assert (received.signal, received.body) == (signal.value, BODY * 1000)
    assert received.headers["x-token"] == "t0ken"
    assert received.headers["x-id-bin"] == "b'bytes'"
    assert received.headers["user-agent"].startswith("otel-bridge/")


async def test_partial_success_is_counted() -> None:
    body = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=2, error_message="too old")
    ).SerializeToString()

    assert await _send(GrpcAnswer(body=body), signal=Signal.LOGS) == Accepted(2, "too old")


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (GrpcAnswer(Code.INVALID_ARGUMENT, "bad\nspan"), Refused("INVALID_ARGUMENT: bad span")),
        (
            GrpcAnswer(Code.FAILED_PRECONDITION, "TRACE_TOO_LARGE"),
            Refused("FAILED_PRECONDITION: TRACE_TOO_LARGE"),
        ),
        (
            GrpcAnswer(Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)"),
            TooLarge("RESOURCE_EXHAUSTED: grpc: received message larger than max (5 vs. 4)"),
        ),
        (
            GrpcAnswer(Code.OUT_OF_RANGE, "Error, decoded message length too large: found 5 bytes"),
            TooLarge("OUT_OF_RANGE: Error, decoded message length too large: found 5 bytes"),
        ),
    ],
)
async def test_answers_that_speak_of_the_request(answer: GrpcAnswer, meaning: Answer) -> None:
    assert await _send(answer) == meaning


async def test_a_real_server_s_size_limit_is_understood() -> None:
    async with RecordingSink(most_grpc_bytes=1000) as sink:
        sender = GrpcSender(_destination(sink))
        assert isinstance(await sender.send(BODY * 1000), TooLarge)
        assert await sender.send(BODY) == Accepted()
        await sender.aclose()


@pytest.mark.parametrize("code", [Code.RESOURCE_EXHAUSTED, Code.OUT_OF_RANGE])
async def test_exhausted_without_a_word_on_size_or_time_may_be_split_but_is_not_certain(
    code: grpc.StatusCode,
) -> None:
    answer = await _send(GrpcAnswer(code, "quota"))

    assert isinstance(answer, TooLarge)
    assert not answer.certain
    assert answer.message.startswith("gRPC http://localhost:")


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.UNKNOWN])
async def test_a_server_that_fell_over_leaves_the_cause_open(code: grpc.StatusCode) -> None:
    assert isinstance(await _send(GrpcAnswer(code, "panic")), Failed)


@pytest.mark.parametrize(
    "code",
    [
        Code.CANCELLED,
        Code.ABORTED,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    ],
)
async def test_what_may_pass_is_unavailable(code: grpc.StatusCode) -> None:
    with pytest.raises(DestinationUnavailable, match=rf"localhost:\d+: {code.name}: later$") as caught:
        await _send(GrpcAnswer(code, "later"))

    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("trailing", "wait_s"),
    [
        (_retry_in(2.5), 2.5),
        (_retry_in(-1), 0),
        (_retry_in(1e6), 3600),
        (_details(), None),
        ((("other-bin", b"x"), ("grpc-status-details-bin", b"\xff")), None),
    ],
)
async def test_the_wait_that_is_asked_for_is_read(
    trailing: tuple[tuple[str, bytes], ...], wait_s: float | None
) -> None:
    with pytest.raises(DestinationUnavailable) as caught:
        await _send(GrpcAnswer(Code.UNAVAILABLE, trailing=trailing))

    assert caught.value.retry_after_s == wait_s


async def test_exhausted_with_a_time_to_come_back_is_unavailable() -> None:
    with pytest.raises(DestinationUnavailable) as caught:
        await _send(GrpcAnswer(Code.RESOURCE_EXHAUSTED, "quota", trailing=_retry_in(9)))

    assert caught.value.retry_after_s == 9


@pytest.mark.parametrize(
    ("code", "unsupported"),
    [
        (Code.UNAUTHENTICATED, False),
        (Code.PERMISSION_DENIED, False),
        (Code.NOT_FOUND, False),
        (Code.UNIMPLEMENTED, True),
    ],
)
async def test_what_only_a_person_can_change_is_a_refusal_of_the_destination(
    code: grpc.StatusCode, *, unsupported: bool
) -> None:
    with pytest.raises(DestinationRefused, match=rf"localhost:\d+: {code.name}$") as caught:
        await _send(GrpcAnswer(code))

    assert caught.value.unsupported is unsupported


async def test_an_answer_that_is_no_otlp_is_a_refusal_of_the_destination() -> None:
    with pytest.raises(DestinationRefused, match="OK with bytes that are no OTLP answer"):
        await _send(GrpcAnswer(body=b"\xff"))


async def test_no_answer_in_time_leaves_the_cause_open() -> None:
    answer = await _send(GrpcAnswer(delay_s=30), timeout_ms=200)

    assert isinstance(answer, NoAnswer)
    assert "DEADLINE_EXCEEDED" in answer.message


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(413, TooLarge), (408, NoAnswer), (504, NoAnswer), (429, TooLarge)],
)
async def test_what_a_gateway_without_grpc_says_means_what_it_does_over_http(
    status: int, meaning: type[Answer]
) -> None:
    words = f"Received http2 header with status: {status}"  # grpc-core's, in place of a gRPC status
    assert isinstance(await _send(GrpcAnswer(Code.UNAVAILABLE, words)), meaning)


async def test_nobody_listening_is_unavailable_and_found_again_when_it_is_back() -> None:
    async with RecordingSink() as sink:
        destination = _destination(sink)
    sender = GrpcSender(destination)

    with pytest.raises(DestinationUnavailable, match="UNAVAILABLE"):
        await sender.send(BODY)
    await sender.aclose()


async def test_a_cancelled_call_leaves_the_sender_usable() -> None:
    async with RecordingSink() as sink:
        sink.grpc_answers.append(GrpcAnswer(delay_s=30))
        sender = GrpcSender(_destination(sink))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sender.send(BODY), 0.2)

        assert await sender.send(BODY) == Accepted()
        await sender.aclose()


def _server_tls(certificates: Certificates, *, asks_the_client: bool) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(certificates.server_key.read_bytes(), certificates.server.read_bytes())],
        certificates.authority.read_bytes() if asks_the_client else None,
        asks_the_client,
    )


async def test_a_server_of_a_private_authority_is_trusted_when_told_so(certificates: Certificates) -> None:
    async with RecordingSink(grpc_tls=_server_tls(certificates, asks_the_client=False)) as sink:
        trusting = GrpcSender(_destination(sink, certificate=str(certificates.authority)))
        assert await trusting.send(BODY) == Accepted()
        await trusting.aclose()

        wary = GrpcSender(_destination(sink))
        with pytest.raises(DestinationRefused, match="its certificate is not trusted"):
            await wary.send(BODY)
        await wary.aclose()


async def test_the_client_shows_its_certificate_when_it_has_one(certificates: Certificates) -> None:
    async with RecordingSink(grpc_tls=_server_tls(certificates, asks_the_client=True)) as sink:
        known = GrpcSender(
            _destination(
                sink,
                endpoint=f"localhost:{sink.grpc_port}",  # no scheme: encrypted, unless told otherwise
                certificate=str(certificates.authority),
                client_certificate=str(certificates.client),
                client_key=str(certificates.client_key),
            )
        )
        assert await known.send(BODY) == Accepted()
        await known.aclose()

        unknown = GrpcSender(_destination(sink, certificate=str(certificates.authority)))
        with pytest.raises(DestinationUnavailable):
            await unknown.send(BODY)
        await unknown.aclose()
    assert len(sink.received) == 1
