"""An OTLP recorder that answers Jaeger's query API, in part: services, and the traces of one.

It keeps what it is sent in a file under /tmp, so that a restart forgets nothing, as Jaeger's storage does.
"""

from __future__ import annotations

import gzip
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PORTS = (4318, 13133, 16686)
KEPT = Path("/tmp/spans.jsonl")  # noqa: S108 - the container's volume
ERROR = 2

spans: list[dict[str, Any]] = []
lock = threading.Lock()


def take(body: bytes) -> None:
    """Keep every span of one request."""
    new = []
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = text_attributes(of_resource.resource.attributes).get("service.name", "")
        new += [as_jaeger(service, span) for of_scope in of_resource.scope_spans for span in of_scope.spans]
    with lock, KEPT.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in new)
        spans.extend(new)


def text_attributes(pairs: Any) -> dict[str, str]:
    """The attributes that are texts."""
    return {pair.key: pair.value.string_value for pair in pairs if pair.value.string_value}


def as_jaeger(service: str, span: Any) -> dict[str, Any]:
    """What the tests read of a span, in Jaeger's words."""
    tags: list[dict[str, Any]] = [
        {"key": key, "type": "string", "value": value}
        for key, value in text_attributes(span.attributes).items()
    ]
    if span.status.code == ERROR:
        tags.append({"key": "error", "type": "bool", "value": True})
    parent = {"refType": "CHILD_OF", "traceID": span.trace_id.hex(), "spanID": span.parent_span_id.hex()}
    return {
        "service": service,
        "traceID": span.trace_id.hex(),
        "spanID": span.span_id.hex(),
        "operationName": span.name,
        "references": [parent] if span.parent_span_id else [],
        "startTime": span.start_time_unix_nano // 1000,
        "duration": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
        "tags": tags,
    }


def query(path: str, wanted: dict[str, list[str]]) -> Any:
    """Answer as Jaeger does; spans with the same ids are shown once."""
    with lock:
        kept = list(spans)
    if path == "/api/services":
        return sorted({each["service"] for each in kept})
    service = wanted.get("service", [""])[0]
    traces: dict[str, dict[str, dict[str, Any]]] = {}
    for each in kept:
        traces.setdefault(each["traceID"], {})[each["spanID"]] = each
    return [
        {
            "traceID": trace_id,
            "spans": [{**each, "processID": each["service"]} for each in of_trace.values()],
            "processes": {each["service"]: {"serviceName": each["service"]} for each in of_trace.values()},
        }
        for trace_id, of_trace in traces.items()
        if any(each["service"] == service for each in of_trace.values())
    ]


class Handler(BaseHTTPRequestHandler):
    """One for all three ports."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """OTLP in."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        known = self.path == "/v1/traces"
        if known:
            take(body)
        self.answer(b"", "application/x-protobuf", 200 if known else 404)

    def do_GET(self) -> None:
        """Queries."""
        url = urlsplit(self.path)
        data = query(url.path, parse_qs(url.query))
        self.answer(json.dumps({"data": data}).encode(), "application/json", 200)

    def answer(self, body: bytes, kind: str, status: int) -> None:
        """Send it."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    if KEPT.exists():
        spans.extend(json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    servers = [ThreadingHTTPServer(("0.0.0.0", port), Handler) for port in PORTS]  # noqa: S104 - in a container
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
