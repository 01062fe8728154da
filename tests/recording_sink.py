"""An OTLP receiver that keeps what it is sent, over HTTP and gRPC, and answers as a test tells it to.

It is written on asyncio's streams and on raw gRPC handlers, so that it can also answer what no receiver
should: half an answer, none at all, a page.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
}
_PROTOBUF = {"content-type": "application/x-protobuf"}


@dataclass(frozen=True)
class HttpAnswer:
    """What to answer to one POST; ``hangs_up`` closes the connection without an answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: _PROTOBUF)
    delay_s: float = 0
    hangs_up: bool = False


@dataclass(frozen=True)
class GrpcAnswer:
    """What to answer to one call."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    body: bytes = b""
    trailing: tuple[tuple[str, bytes], ...] = ()
    delay_s: float = 0


@dataclass(frozen=True)
class Received:
    """One request, as it came in: the body uncompressed, header names in lower case."""

    protocol: str
    signal: str
    path: str
    headers: dict[str, str]
    body: bytes


class RecordingSink:
    """Listens on loopback with ports of its own, for as long as its context lasts.

    Args:
        http_tls: Serve HTTPS with this.
        grpc_tls: Serve gRPC over TLS with these.
        most_grpc_bytes: The largest gRPC message that it takes; servers have 4 MiB by default, and -1 is
            without limit.
        host: The address it listens on.
    """

    def __init__(
        self,
        http_tls: ssl.SSLContext | None = None,
        grpc_tls: grpc.ServerCredentials | None = None,
        most_grpc_bytes: int = -1,
        host: str = "127.0.0.1",
    ) -> None:
        self._host = host
        self._name = "localhost" if host == "127.0.0.1" else f"[{host}]"
        self.received: list[Received] = []
        self.http_answers: deque[HttpAnswer] = deque()
        """Answers to the next POSTs; once they are used up, all is accepted."""
        self.grpc_answers: deque[GrpcAnswer] = deque()
        self._http_tls = http_tls
        self._grpc_tls = grpc_tls
        self._most_grpc_bytes = most_grpc_bytes
        self._counts = {"traces": 0, "logs": 0}
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.StreamWriter] = set()
        self._http: asyncio.Server
        self._grpc: grpc.aio.Server
        self.http_port = 0
        self.grpc_port = 0

    async def __aenter__(self) -> Self:
        self._http = await asyncio.start_server(self._serve, self._host, 0, ssl=self._http_tls)
        self.http_port = self._http.sockets[0].getsockname()[1]
        self._grpc = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._most_grpc_bytes),
            )
        )
        for service, signal in _SERVICES.items():
            handler = grpc.unary_unary_rpc_method_handler(self._grpc_handler(signal))
            self._grpc.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
            )
        address = f"[{self._host}]:0" if ":" in self._host else f"{self._host}:0"
        if self._grpc_tls is None:
            self.grpc_port = self._grpc.add_insecure_port(address)
        else:
            self.grpc_port = self._grpc.add_secure_port(address, self._grpc_tls)
        await self._grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._http.close()
        for writer in tuple(self._connections):
            writer.close()
        await self._grpc.stop(None)

    @property
    def http_endpoint(self) -> str:
        """The base URL for OTLP over HTTP."""
        return f"{'https' if self._http_tls else 'http'}://{self._name}:{self.http_port}"

    @property
    def grpc_endpoint(self) -> str:
        """The URL for OTLP over gRPC."""
        return f"{'https' if self._grpc_tls else 'http'}://{self._name}:{self.grpc_port}"

    def spans(self) -> Iterator[tuple[Resource, InstrumentationScope, Span]]:
        """Every span received, with its resource and scope."""
        for request in self.received:
            if request.signal == "traces":
                yield from spans_in(request.body)

    def logs(self) -> Iterator[tuple[Resource, InstrumentationScope, LogRecord]]:
        """Every log record received, with its resource and scope."""
        for request in self.received:
            if request.signal == "logs":
                yield from logs_in(request.body)

    async def wait_for(self, *, spans: int = 0, logs: int = 0, timeout_s: float = 20) -> None:
        """Wait until so many spans and log records are there."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(
                lambda: self._counts["traces"] >= spans and self._counts["logs"] >= logs
            )

    async def _record(self, received: Received) -> None:
        async with self._arrived:
            self.received.append(received)
            if received.signal == "traces":
                self._counts["traces"] += sum(1 for _ in spans_in(received.body))
            elif received.signal == "logs":
                self._counts["logs"] += sum(1 for _ in logs_in(received.body))
            self._arrived.notify_all()

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        received = await read_request(reader)
        answer = self.http_answers.popleft() if self.http_answers else HttpAnswer()
        await self._record(received)
        return await reply(writer, answer)

    # ── gRPC ─────────────────────────────────────────────────────────────────────────────────────────
    def _grpc_handler(self, signal: str) -> Any:
        async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata: Any = context.invocation_metadata() or ()
            headers = {name: str(value) for name, value in metadata}
            await self._record(Received("grpc", signal, "", headers, body))
            answer = self.grpc_answers.popleft() if self.grpc_answers else GrpcAnswer()
            await asyncio.sleep(answer.delay_s)
            if answer.code is not grpc.StatusCode.OK:
                await context.abort(answer.code, answer.details, answer.trailing)
            return answer.body

        return export


async def read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    path = head[0].split(" ")[1]
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Received("http", path.partition("?")[0].rpartition("/")[2], path, headers, body)


async def reply(writer: asyncio.StreamWriter, answer: HttpAnswer) -> bool:
    """Answer, or hang up; tells whether the connection goes on."""
    await asyncio.sleep(answer.delay_s)
    if answer.hangs_up:
        return False
    lines = [f"HTTP/1.1 {answer.status} Answer"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"content-length: {len(answer.body)}", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + answer.body)
    await writer.drain()
    return True


def spans_in(body: bytes) -> Iterator[tuple[Resource, InstrumentationScope, Span]]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield of_resource.resource, of_scope.scope, span


def logs_in(body: bytes) -> Iterator[tuple[Resource, InstrumentationScope, LogRecord]]:
    for of_resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                yield of_resource.resource, of_scope.scope, record
