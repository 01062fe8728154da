"""What a user would run otherwise, fetching the same records.

Usage: python peers.py BASE_URL FROM_MS TO_MS IN_FLIGHT PEER [SINK], where PEER is

* ``composio``: the vendor's generated client in threads, a span for each record by the OpenTelemetry SDK,
  sent to SINK in batches;
* ``dlt``: its rest_api source, pull only, in parallel.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIST = "api/v3.1/logs/tool_execution"


def composio(base_url: str, from_ms: int, to_ms: int, in_flight: int, sink: str) -> Callable[[], int]:
    """Prepare the vendor's client and the SDK."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - each pays for what it uses

    from composio_client import Composio, ProjectAuth  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    client: Any = Composio(auth=ProjectAuth("ak_bench"), base_url=base_url)
    exporter = OTLPSpanExporter(endpoint=f"{sink}/v1/traces", compression=Compression.Gzip)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1_000_000))
    tracer = provider.get_tracer("peer")

    def ids() -> Iterator[str]:
        cursor: str | None = None
        while True:
            more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            page = client.logs.create_tool_execution(
                limit=100, time_range={"from": from_ms, "to": to_ms}, **more
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
        span = tracer.start_span("execute_tool", start_time=from_ms * 1_000_000, attributes=attributes)
        if str(log.status) == "failed":
            span.set_status(Status(StatusCode.ERROR, str(log.message)))
        span.end(to_ms * 1_000_000)

    def run() -> int:
        with ThreadPoolExecutor(in_flight) as pool:
            count = sum(1 for _ in pool.map(one, ids()))
        provider.shutdown()
        return count

    return run


def dlt(base_url: str, from_ms: int, to_ms: int, in_flight: int, _: str) -> Callable[[], int]:
    """Prepare dlt."""
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "EXTRACT__WORKERS": str(in_flight),
        "EXTRACT__MAX_PARALLEL_ITEMS": str(2 * in_flight),
    }
    from dlt.sources.rest_api import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        rest_api_source,
    )

    page = {
        "path": LIST,
        "method": "POST",
        "json": {"limit": 100, "time_range": {"from": from_ms, "to": to_ms}},
        "data_selector": "logs",
        "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_body_path": "cursor"},
    }
    detail = {"path": f"{LIST}/{{resources.logs.id}}", "data_selector": "$", "paginator": "single_page"}
    source = rest_api_source(
        {
            "client": {"base_url": f"{base_url}/", "headers": {"x-api-key": "ak_bench"}},
            "resources": [
                {"name": "logs", "endpoint": page, "selected": False},
                {"name": "details", "endpoint": detail, "parallelized": True},
            ],
        }
    )
    return lambda: sum(1 for _ in source)


def main() -> None:
    """Measure from the first request on, and print."""
    base_url, (from_ms, to_ms, in_flight) = sys.argv[1], map(int, sys.argv[2:5])
    peers = {"composio": composio, "dlt": dlt}
    run = peers[sys.argv[5]](base_url, from_ms, to_ms, in_flight, sys.argv[6])
    began, used = time.perf_counter(), time.process_time()
    records = run()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"records": records, "seconds": seconds, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
