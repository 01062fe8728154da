"""The vendor's generated client in threads, and a span for each record by the OpenTelemetry SDK, in batches.

See stopwatch.py for the arguments.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from composio_client import Composio, ProjectAuth
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode
from stopwatch import KEY, Task, measured, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def prepared(of: Task) -> Callable[[], int]:
    """Make client and SDK ready."""
    client: Any = Composio(auth=ProjectAuth(KEY), base_url=of.base_url)
    exporter = OTLPSpanExporter(endpoint=f"{of.sink}/v1/traces", compression=Compression.Gzip)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1_000_000))
    tracer = provider.get_tracer("peer")

    def ids() -> Iterator[str]:
        cursor: str | None = None
        while True:
            more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            page = client.logs.create_tool_execution(
                limit=100, time_range={"from": of.from_ms, "to": of.to_ms}, **more
            )
            yield from (log.id for log in page.logs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def one(log_id: str) -> None:
        log = client.logs.retrieve_tool_execution(log_id)
        attributes = {"composio.log.id": log.id, "composio.status": str(log.status)}
        for name, value in (log.metadata.model_dump() if log.metadata else {}).items():
            if isinstance(value, (str, int, float, bool)):
                attributes[f"composio.metadata.{name}"] = value
        span = tracer.start_span("execute_tool", start_time=of.from_ms * 1_000_000, attributes=attributes)
        if str(log.status) == "failed":
            span.set_status(Status(StatusCode.ERROR, str(log.message)))
        span.end(of.to_ms * 1_000_000)

    def run() -> int:
        with ThreadPoolExecutor(of.in_flight) as pool:
            count = sum(1 for _ in pool.map(one, ids()))
        provider.shutdown()
        return count

    return run


if __name__ == "__main__":
    measured(prepared(task()))
