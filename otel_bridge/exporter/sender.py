"""What a sender is, and what a destination can answer to one request."""

from __future__ import annotations

import json
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
        certain: False where the answer may have another cause, such as a rate limit (gRPC's
            RESOURCE_EXHAUSTED without a word on the size): a record alone is then not to blame.
    """

    message: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was taken, and the same request never will be: something in it is not acceptable."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing was taken, and it is open whether a record or the destination is the cause.

    HTTP 500, gRPC INTERNAL and UNKNOWN. The specification calls them not retryable, but to drop a batch
    because a server fell over would lose it, and to retry for ever would let one record that makes a server
    fall over block all others.
    """

    message: str


Answer = Accepted | TooLarge | Refused | Failed


class Sender(Protocol):
    """Sends one request, once. Retries are the caller's."""

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request.

        Raises:
            DestinationUnavailable: No answer, or one that asks to try again.
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


def one_line(text: str) -> str:
    """Make a destination's words fit for a log: one line, no control characters, 200 characters at most."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return cleaned if len(cleaned) <= _MOST_MESSAGE else f"{cleaned[: _MOST_MESSAGE - 1]}…"
