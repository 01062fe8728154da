"""OTLP over gRPC, on bytes.

Which codes mean what: https://opentelemetry.io/docs/specs/otlp/#failures, with the differences noted beside
them.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no types

from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter import tls
from otel_bridge.exporter.destination import Destination, Signal
from otel_bridge.exporter.grpc_channel import Channel, Opened
from otel_bridge.exporter.sender import (
    Answer,
    Failed,
    NoAnswer,
    NotAnAnswerError,
    Refused,
    TooLarge,
    names_size,
    one_line,
    read_response,
)

_METHOD: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_STATUS_DETAILS: Final = "grpc-status-details-bin"
_MOST_WAIT_S: Final = 3600.0

_Code = grpc.StatusCode
_UNAVAILABLE: Final = frozenset(
    {
        _Code.CANCELLED,
        _Code.ABORTED,
        _Code.UNAVAILABLE,
        _Code.DATA_LOSS,
    }
)
_DESTINATION_REFUSES: Final = frozenset(
    {_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED, _Code.UNIMPLEMENTED, _Code.NOT_FOUND}
)
_FAILED: Final = frozenset({_Code.INTERNAL, _Code.UNKNOWN})
# For a request over a limit of size tonic (Rust) answers OUT_OF_RANGE, others RESOURCE_EXHAUSTED. Both have
# other meanings as well.
_MAY_BE_SIZE: Final = frozenset({_Code.RESOURCE_EXHAUSTED, _Code.OUT_OF_RANGE})

# What a gateway that knows no gRPC has answered, in grpc-core's words.
_OF_GATEWAY: Final = re.compile(r"http2 header with status: (\d{3})")
_GATEWAY_TOO_LARGE: Final = "413"
_GATEWAY_TOO_MANY: Final = "429"
_GATEWAY_TOO_SLOW: Final = frozenset({"408", "504", "524"})

# How the library tells of a certificate that was not accepted: with OpenSSL's reason, or for its names.
_DISTRUST: Final = re.compile(r"CERTIFICATE_VERIFY_FAILED(?:: )?([^;}\]]*)")
_OTHER_NAME: Final = re.compile(r"Hostname Verification Check failed|is not in peer certificate")


# What gRPC puts before why a connection failed: neither the address nor this is news.
_PREFIX: Final = re.compile(r"^failed to connect to all addresses; last error: \w+: (ipv[46]:\S+: )?")


class GrpcSender:
    """Calls ``Export`` over one channel, which is opened with the first call.

    Args:
        destination: Where to.

    Raises:
        SettingsError: The environment names a proxy or authorities that can't be used.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._where = f"gRPC {destination.where}"
        # A name that ends in -bin carries bytes, by gRPC's rules.
        self._metadata = tuple(
            (name.lower(), value.encode() if name.lower().endswith("-bin") else value)
            for name, value in destination.headers
        )
        self.channel = Channel(destination)
        self._through = self.channel.proxy.through if self.channel.proxy else ""

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request; see `Sender.send`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._destination.timeout_ms / 1000
        answer = await self._call(body, until_s)
        if answer is None:
            answer = await self._call(body, until_s, again=True)
        if isinstance(answer, grpc.aio.AioRpcError):
            return self._judge(answer)
        try:
            return read_response(self._destination.signal, answer or b"")
        except NotAnAnswerError:
            raise DestinationRefused(f"{self._where}: OK with bytes that are no OTLP answer") from None

    async def aclose(self) -> None:
        """Close the channel."""
        await self.channel.aclose()

    async def _call(
        self, body: bytes, until_s: float, *, again: bool = False
    ) -> bytes | grpc.aio.AioRpcError | None:
        """Call once.

        Args:
            body: The request.
            until_s: The deadline, on the loop's clock.
            again: Whether this call repeats one that lost its connection.

        Returns:
            The answer, or the failure. None where an older connection was lost during the call, so that the
            same bytes may go over a new one at once: this says nothing of the destination.
        """
        loop = asyncio.get_running_loop()
        async with self.channel.lent() as opened:
            began_s, reused = loop.time(), opened.connected
            call = opened.channel.unary_unary(_METHOD[self._destination.signal], None, None)
            try:
                answer: bytes = await call(body, timeout=until_s - began_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                code = error.code()
                # A server that answers with UNAVAILABLE leaves the connection as it is.
                if code is _Code.UNAVAILABLE and reused and not again and await opened.lost(began_s):
                    return None
                if code is _Code.DEADLINE_EXCEEDED:
                    await self._renew_silent(opened, began_s)
                elif code is not _Code.UNAVAILABLE:
                    opened.heard_s = loop.time()
                return error
            opened.heard_s = loop.time()
            return answer

    async def _renew_silent(self, opened: Opened, began_s: float) -> None:
        """Replace a channel on which nothing was heard since a call began that came to its deadline.

        A firewall or a load balancer can forget a connection without a word to either end. The system notices
        after a quarter of an hour, and until then every call would come to its deadline.
        """
        if opened.heard_s <= began_s:
            await self.channel.renew(opened)

    def _judge(self, error: grpc.aio.AioRpcError) -> Answer:
        """Read a failed call: as an answer, or as the error to raise."""
        code, details = error.code(), (error.details() or "").removesuffix(": OK")  # of a check that failed
        said = f"{code.name}: {one_line(_PREFIX.sub('', details))}" if details else code.name
        line = f"{self._where}: {said}"
        distrust = _distrust(details)
        if distrust is not None:
            raise DestinationRefused(f"{self._where}: {tls.distrust(distrust)}{self._through}")
        wait_s = _retry_info_s(error)
        found = _OF_GATEWAY.search(details)
        gateway = "" if found is None else found[1]
        if gateway == _GATEWAY_TOO_LARGE or (code in _MAY_BE_SIZE and names_size(details)):
            return TooLarge(said)
        if code is _Code.DEADLINE_EXCEEDED or gateway in _GATEWAY_TOO_SLOW:
            return NoAnswer(f"{line}{self._through}")
        if gateway == _GATEWAY_TOO_MANY or (code in _MAY_BE_SIZE and wait_s is None):
            return TooLarge(line, certain=False)
        if code in _UNAVAILABLE or code in _MAY_BE_SIZE:
            raise DestinationUnavailable(f"{line}{self._through}", wait_s)
        if code in _DESTINATION_REFUSES:
            raise DestinationRefused(line, unsupported=code is _Code.UNIMPLEMENTED)
        if code in _FAILED:
            return Failed(line)
        return Refused(said)


def _distrust(details: str) -> str | None:
    """Why a certificate was not accepted; None where the call failed for another reason."""
    if _OTHER_NAME.search(details):
        return "it is not valid for this name"
    found = _DISTRUST.search(details)
    return one_line(found[1]) if found else None


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
