"""An OTLP recorder that answers Jaeger's query API (version 3), in part: services, and the traces of one.

It keeps what it is sent in a file under /tmp, so that a restart forgets nothing, as Jaeger's storage does.
"""

from __future__ import annotations

import base64
import gzip
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PORTS = (4318, 13133, 16686)
KEPT = Path("/tmp/spans.jsonl")  # noqa: S108 - the container's volume

spans: list[dict[str, Any]] = []
lock = threading.Lock()


def take(body: bytes) -> None:
    """Keep every span of one request."""
    new = [
        {"resource": as_json(of_resource.resource), "span": with_hex_ids(as_json(span))}
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    with lock, KEPT.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in new)
        spans.extend(new)


def as_json(message: Any) -> dict[str, Any]:
    """A message as OTLP has it in JSON, but for the ids."""
    made: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    return made


def with_hex_ids(span: dict[str, Any]) -> dict[str, Any]:
    """Ids are hexadecimal in OTLP's JSON, unlike other bytes."""
    ids = ("traceId", "spanId", "parentSpanId")
    return {**span, **{name: base64.b64decode(span[name]).hex() for name in ids if name in span}}


def query(path: str, wanted: dict[str, list[str]]) -> Any:
    """Answer as the third version of Jaeger's API does; spans with the same ids are shown once."""
    with lock:
        kept = list(spans)
    if path == "/api/v3/services":
        return {"services": sorted({service_of(each) for each in kept})}
    service = wanted.get("query.serviceName", [""])[0]
    traces = {each["span"]["traceId"] for each in kept if service_of(each) == service}
    once = {(each["span"]["traceId"], each["span"]["spanId"]): each for each in kept}
    return {
        "result": {
            "resourceSpans": [
                {"resource": each["resource"], "scopeSpans": [{"spans": [each["span"]]}]}
                for (trace_id, _), each in once.items()
                if trace_id in traces
            ]
        }
    }


def service_of(kept: dict[str, Any]) -> str:
    """The name of the service that made a span."""
    for pair in kept["resource"].get("attributes", ()):
        if pair["key"] == "service.name":
            return str(pair["value"]["stringValue"])
    return ""


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
        self.answer(json.dumps(data).encode(), "application/json", 200)

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
