"""An application that calls tools in every way there is; each way has an HTTP server span of its own.

Runs where the vendor's SDK is, not where the tests run. Prints one line of JSON a scenario: its name, its
trace and how many tool calls it made.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from composio import Composio  # type: ignore[import-not-found] # it has an environment of its own
from composio.core.provider import AgenticProvider  # type: ignore[import-not-found] # as above
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_bridge.instrumentation import ComposioInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable

MAIL, SLACK, LINEAR = "GMAIL_FETCH_EMAILS", "SLACK_SEND_MESSAGE", "LINEAR_CREATE_LINEAR_ISSUE"
AT_ONCE = 12


class Functions(AgenticProvider, name="functions"):  # type: ignore[misc, call-arg] # as above
    """Makes each tool a function, as the providers for agent frameworks do."""

    def wrap_tool(self, tool: Any, execute_tool: Callable[..., Any]) -> Callable[..., Any]:
        return lambda **arguments: execute_tool(tool.slug, arguments)

    def wrap_tools(self, tools: Any, execute_tool: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
        return {tool.slug: self.wrap_tool(tool, execute_tool) for tool in tools}


def item(slug: str, **arguments: str) -> dict[str, Any]:
    return {"tool_slug": slug, "arguments": arguments}


def sequential(_: Any, session: Any) -> int:
    for slug in (MAIL, SLACK, LINEAR):
        session.execute(slug, arguments={})
    return 3


def by_asyncio(_: Any, session: Any) -> int:
    async def call() -> None:
        calls = (asyncio.to_thread(session.execute, SLACK, arguments={}) for _ in range(AT_ONCE))
        await asyncio.gather(*calls)

    asyncio.run(call())
    return AT_ONCE


def by_threads(_: Any, session: Any) -> int:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [
            pool.submit(contextvars.copy_context().run, session.execute, MAIL, arguments={})
            for _ in range(AT_ONCE)
        ]
    return sum(1 for call in calls if call.result().log_id)


def failing(composio: Any, session: Any) -> int:
    session.execute(MAIL, arguments={"emulate": "failure"})
    composio.tools.execute(
        SLACK, {"emulate": "failure"}, user_id="user_fay", dangerously_skip_version_check=True
    )
    with contextlib.suppress(Exception):
        # Refused before it runs: no log.
        composio.use("trs_nobody").execute(MAIL, arguments={})
    return 2


def nested(composio: Any, session: Any) -> int:
    tools = [item(MAIL), item(SLACK, emulate="failure"), item(LINEAR)]
    session.execute("COMPOSIO_MULTI_EXECUTE_TOOL", arguments={"tools": tools})
    client = composio.client.tool_router.session
    client.execute_meta(
        session.session_id, slug="COMPOSIO_MULTI_EXECUTE_TOOL", arguments={"tools": tools[:1]}
    )
    return 6


def one_by_one(composio: Any, _: Any) -> int:
    composio.tools.execute(MAIL, {}, user_id="user_fay", dangerously_skip_version_check=True)
    return 1


def by_provider(composio: Any, session: Any) -> int:
    session.tools()["COMPOSIO_SEARCH_TOOLS"](queries=[])
    composio.tools.get(user_id="user_fay", tools=[LINEAR])[LINEAR](title="Webhooks")
    return 2


SCENARIOS = (sequential, by_asyncio, by_threads, failing, nested, one_by_one, by_provider)


def main() -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "scenarios"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("scenarios")
    ComposioInstrumentor().instrument()
    composio = Composio(Functions())
    for scenario in SCENARIOS:
        session = composio.create(user_id="user_fay")
        name = f"POST /{scenario.__name__}"
        with tracer.start_as_current_span(name, kind=trace.SpanKind.SERVER) as span:
            calls = scenario(composio, session)
            span.add_event("answered", {"calls": calls})
        identity = span.get_span_context()
        line = {"scenario": scenario.__name__, "trace_id": f"{identity.trace_id:032x}", "calls": calls}
        sys.stdout.write(json.dumps(line) + "\n")
    provider.shutdown()


if __name__ == "__main__":
    main()
