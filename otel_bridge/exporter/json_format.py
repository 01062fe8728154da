"""Deliveries as OTLP/JSON, for people and for files.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: protobuf's JSON with lowerCamelCase
names, except that trace and span ids are hexadecimal and enums are numbers.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge.exporter.encoding import encode_logs, encode_traces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.signals import Delivery

_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


def to_otlp_json(deliveries: Sequence[Delivery]) -> str:
    """Write deliveries as one JSON object with ``resourceSpans`` and ``resourceLogs``, where there are any.

    A reader of traces ignores the logs and the other way round, as OTLP/JSON asks of readers.

    Raises:
        EncodingError: One of them can't be written as OTLP.
    """
    spans = ExportTraceServiceRequest.FromString(encode_traces(deliveries))
    logs = ExportLogsServiceRequest.FromString(encode_logs(deliveries))
    document: dict[str, Any] = {}
    for message in (spans, logs):
        document |= MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_with_hex_ids(document), indent=2, ensure_ascii=False)


def _with_hex_ids(node: Any) -> Any:
    # Attributes can't be taken for ids: their names are values of "key", never names of the JSON itself.
    if isinstance(node, dict):
        return {
            name: base64.b64decode(value).hex() if name in _IDS else _with_hex_ids(value)
            for name, value in node.items()
        }
    return [_with_hex_ids(inner) for inner in node] if isinstance(node, list) else node
