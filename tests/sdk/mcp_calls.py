"""Calls a session's tools over MCP, many at once over one connection, with the recipe of the documentation.

Runs where the vendor's SDK and an MCP client are. Prints one line of JSON for each request of the
application: its trace, and the log id of the call that it made.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

from composio import Composio  # type: ignore[import-not-found] # it has an environment of its own
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from recipe import tools_of  # type: ignore[import-not-found] # written by the test, from the documentation

from otel_bridge.instrumentation import traceparent

SLUG = "SLACK_SEND_MESSAGE"
REQUESTS = 6
SAYS_IT_ITSELF = not version("mcp").startswith("1.")


async def request(tracer: trace.Tracer, client: Any, number: int) -> None:
    arguments = {"channel": f"#{number}"}
    with tracer.start_as_current_span("POST /chat", kind=trace.SpanKind.SERVER) as span:
        await asyncio.sleep(0)
        if SAYS_IT_ITSELF:
            answer = await client.call_tool(SLUG, arguments)
        else:
            answer = await client.call_tool(SLUG, arguments, meta={"traceparent": traceparent()})
    log_id = json.loads(answer.content[0].text)["log_id"]
    trace_id = f"{span.get_span_context().trace_id:032x}"
    sys.stdout.write(json.dumps({"trace_id": trace_id, "log_id": log_id}) + "\n")


async def main() -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "mcp-agent"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("mcp_calls")
    session = Composio().create(user_id="user_ada", mcp=True)
    async with tools_of(session) as client:
        await asyncio.gather(*(request(tracer, client, number) for number in range(REQUESTS)))
    provider.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
