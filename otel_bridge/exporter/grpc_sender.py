"""OTLP over gRPC, on bytes.

Which codes mean what: https://opentelemetry.io/docs/specs/otlp/#failures, with the differences noted beside
them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no types

from otel_bridge._version import __version__
from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.destination import Destination, Signal
from otel_bridge.exporter.grpc_tls import credentials
from otel_bridge.exporter.sender import (
    Answer,
    Failed,
    NotAnAnswerError,
    Refused,
    TooLarge,
    one_line,
    read_response,
)

_METHOD: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_OPTIONS: Final = (
    ("grpc.enable_retries", 0),  # retries have one owner, and it is not the library
    ("grpc.max_send_message_length", -1),  # batches are bounded by their maker
    ("grpc.primary_user_agent", f"otel-bridge/{__version__}"),
    # By default a channel waits up to two minutes before it connects again, and fails calls until then.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
_STATUS_DETAILS: Final = "grpc-status-details-bin"
_MOST_WAIT_S: Final = 3600.0

_Code = grpc.StatusCode
_UNAVAILABLE: Final = frozenset(
    {
        _Code.CANCELLED,
        _Code.DEADLINE_EXCEEDED,
        _Code.ABORTED,
        _Code.OUT_OF_RANGE,
        _Code.UNAVAILABLE,
        _Code.DATA_LOSS,
    }
)
_DESTINATION_REFUSES: Final = frozenset(
    {_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED, _Code.UNIMPLEMENTED, _Code.NOT_FOUND}
)
_FAILED: Final = frozenset({_Code.INTERNAL, _Code.UNKNOWN})

# The words of grpc-core, grpc-go, grpc-java, grpc-js, grpc-dotnet and tonic for a request over their limit.
# tonic (Rust) answers OUT_OF_RANGE, the others RESOURCE_EXHAUSTED.
_SIZE_WORDS: Final = re.compile(r"larger than max|too large|exceeds (the )?(limit|max)", re.IGNORECASE)


class GrpcSender:
    """Calls ``Export`` over one channel, which is opened with the first call.

    Args:
        destination: Where to.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._where = f"gRPC {destination.where}"
        # A name that ends in -bin carries bytes, by gRPC's rules.
        self._metadata = tuple(
            (name.lower(), value.encode() if name.lower().endswith("-bin") else value)
            for name, value in destination.headers
        )
        self._channel: grpc.aio.Channel | None = None

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request; see `Sender.send`."""
        if self._channel is None:
            self._channel = self._open()
        call = self._channel.unary_unary(_METHOD[self._destination.signal], None, None)
        try:
            answer = await call(body, timeout=self._destination.timeout_ms / 1000, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return self._judge(error)
        try:
            return read_response(self._destination.signal, answer)
        except NotAnAnswerError:
            raise DestinationRefused(f"{self._where}: OK with bytes that are no OTLP answer") from None

    async def aclose(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def _open(self) -> grpc.aio.Channel:
        to = self._destination
        target = to.endpoint.rpartition("://")[2]
        compression = grpc.Compression.Gzip if to.gzip else grpc.Compression.NoCompression
        if not to.tls:
            return grpc.aio.insecure_channel(target, options=_OPTIONS, compression=compression)
        secured = credentials(to.certificate, to.client_certificate, to.client_key)
        return grpc.aio.secure_channel(target, secured, options=_OPTIONS, compression=compression)

    def _judge(self, error: grpc.aio.AioRpcError) -> Answer:
        """Read a failed call: as an answer, or as the error to raise."""
        code, details = error.code(), error.details() or ""
        said = f"{code.name}: {one_line(details)}" if details else code.name
        line = f"{self._where}: {said}"
        if "CERTIFICATE_VERIFY_FAILED" in details:
            raise DestinationRefused(f"{self._where}: its certificate is not trusted")
        wait_s = _retry_info_s(error)
        if code in {_Code.RESOURCE_EXHAUSTED, _Code.OUT_OF_RANGE} and _SIZE_WORDS.search(details):
            return TooLarge(said)
        if code in _UNAVAILABLE or (code is _Code.RESOURCE_EXHAUSTED and wait_s is not None):
            raise DestinationUnavailable(line, wait_s)
        if code is _Code.RESOURCE_EXHAUSTED:
            return TooLarge(line, certain=False)
        if code in _DESTINATION_REFUSES:
            raise DestinationRefused(line, unsupported=code is _Code.UNIMPLEMENTED)
        if code in _FAILED:
            return Failed(line)
        return Refused(said)


def _retry_info_s(error: grpc.aio.AioRpcError) -> float | None:
    """Find ``RetryInfo`` in the status details: seconds to wait, an hour at most."""
    metadata: Any = error.trailing_metadata() or ()  # pairs; the stubs forget that it can be iterated
    for name, value in metadata:
        if name != _STATUS_DETAILS or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    asked = float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
                    return min(max(0.0, asked), _MOST_WAIT_S)
        except DecodeError:
            return None
    return None
