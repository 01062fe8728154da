"""What stands where Datadog's intake does: takes everything, and keeps what came by its path."""

from __future__ import annotations

import gzip
import re
import threading
import zlib
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Field 2 of a span in Datadog's protobuf is its operation, field 3 its resource.
_SPAN = re.compile(rb"\x12\x0cexecute_tool\x1a")
_OTHER_OPERATION = re.compile(rb"\x12.(?:Internal|execute_tool_)")
# "Hits" and a number, in MessagePack.
_HITS = re.compile(rb"\xa4Hits(?:([\x00-\x7f])|\xcc(.)|\xcd(..))", re.DOTALL)


class DatadogIntake:
    """The bodies, unpacked, by path."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = defaultdict(list)
        self.url = ""

    def _all(self, path: str) -> bytes:
        return b"".join(self.bodies[path])

    def counted(self) -> tuple[int, int, int]:
        """Spans of ``execute_tool``, what the statistics count, log records."""
        return self.spans, self.hits, self.log_records

    @property
    def spans(self) -> int:
        """How many spans of the operation ``execute_tool`` came."""
        return len(_SPAN.findall(self._all("/api/v0.2/traces")))

    @property
    def others(self) -> int:
        """How many came under an operation that Datadog made up."""
        return len(_OTHER_OPERATION.findall(self._all("/api/v0.2/traces")))

    @property
    def hits(self) -> int:
        """How many spans the statistics count."""
        found = _HITS.findall(self._all("/api/v0.2/stats"))
        return sum(int.from_bytes(next(filter(None, groups)), "big") for groups in found)

    @property
    def log_records(self) -> int:
        """How many log records of the bridge came."""
        return self._all("/api/v2/logs").count(b'"ddsource"')


@contextmanager
def datadog_intake() -> Iterator[DatadogIntake]:
    """Serve on a free port of loopback for as long as the block runs."""
    intake = DatadogIntake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b'{"valid": true}')

        def do_POST(self) -> None:
            body = self._body()
            encoding = self.headers.get("content-encoding")
            if encoding == "gzip":
                body = gzip.decompress(body)
            elif encoding == "deflate":
                body = zlib.decompress(body)
            intake.bodies[self.path].append(body)
            self._answer(b"{}", 202)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests' output is not the place."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        intake.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield intake
        finally:
            server.shutdown()
            thread.join(10)
