"""What a sender is, and what a destination can answer to one request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from otel_bridge.exporter.destination import Signal

_MOST_MESSAGE: Final = 200
_RESPONSE: Final[dict[Signal, tuple[type[Message], str]]] = {
    Signal.TRACES: (trace_service_pb2.ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (logs_service_pb2.ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (metrics_service_pb2.ExportMetricsServiceResponse, "rejected_data_points"),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request was taken.

    Attributes:
        rejected: How many of its records were not (OTLP's partial success).
        message: What the destination said beside it; empty for nothing.
    """

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Nothing was taken, and a smaller request may be.

    Attributes:
        certain: False where the answer may have another cause, such as a rate limit (HTTP 429 or gRPC's
            RESOURCE_EXHAUSTED without a time to wait): the next request waits, and a record alone is
            hardly to blame.
    """

    message: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request was sent, and no answer came, or none in time.

    It may be more than the destination can do in time or cares to read, or the destination is down.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was taken, and the same request never will be, as the destination is set up."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing was taken, and it is open whether a record or the destination is the cause.

    HTTP 500, gRPC INTERNAL and UNKNOWN. The specification calls them not retryable, but to drop a batch
    because a server fell over would lose it, and to retry for ever would let one record that makes a server
    fall over block all others.
    """

    message: str


NotTaken = TooLarge | NoAnswer | Refused | Failed
Answer = Accepted | NotTaken


class Sender(Protocol):
    """Sends one request, once. Retries are the caller's."""

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request.

        Raises:
            DestinationUnavailable: No connection, or an answer that asks to try again.
            DestinationRefused: The destination as a whole says no.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections; twice does no harm."""
        ...


class NotAnAnswerError(ValueError):
    """Bytes that are no OTLP answer."""


def read_response(signal: Signal, body: bytes, *, is_json: bool = False) -> Accepted:
    """Read an ``ExportTraceServiceResponse`` and its like; no bytes at all are a full success.

    Raises:
        NotAnAnswerError: It is none.
    """
    kind, rejected = _RESPONSE[signal]
    response = kind()
    try:
        if is_json:
            json_format.ParseDict(_object(body), response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(body)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError):
        raise NotAnAnswerError from None
    partial = response.partial_success  # type: ignore[attr-defined] # all three have it, Message does not
    return Accepted(max(0, getattr(partial, rejected)), one_line(partial.error_message))


def _object(body: bytes) -> dict[str, Any]:
    answer = json.loads(body)
    # An object of other names is let pass, as OTLP/JSON asks, unless it says that something went wrong.
    if not isinstance(answer, dict) or answer.get("error") or answer.get("errors"):
        raise NotAnAnswerError
    return answer


# The words of grpc-core, grpc-go, grpc-java, grpc-js, grpc-dotnet, tonic and Tempo for a request over their
# limit of size.
_OF_SIZE: Final = re.compile(
    r"larger than max|too (large|big|long)|exceeds (the )?(limit|max)"
    r"|(size|length)\b.{0,40}\b(exceed|greater than|larger than|over)",
    re.IGNORECASE,
)

_OF_RATE: Final = re.compile(r"\b(rate|quota)\b|per (second|minute)|/s\b", re.IGNORECASE)


def names_size(message: str) -> bool:
    """Whether an answer says that a request is over a limit of size, and not of a rate."""
    return _OF_SIZE.search(message) is not None and _OF_RATE.search(message) is None


_OF_ITS_AGE: Final = re.compile(
    r"too (old|far)|older than|out of order|oldest acceptable"
    r"|(outside|out of).{0,30}(bounds|window|range|retention)",
    re.IGNORECASE,
)


def is_of_its_age(message: str) -> bool:
    """Whether a refusal is for a record's age. The destination has then looked at it, and takes others.

    The words are Loki's, Mimir's, Tempo's and OpenObserve's.
    """
    return _OF_ITS_AGE.search(message) is not None


def one_line(text: str) -> str:
    """Make a destination's words fit for a log: one line, no control characters, 200 characters at most."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return cleaned if len(cleaned) <= _MOST_MESSAGE else f"{cleaned[: _MOST_MESSAGE - 1]}…"
