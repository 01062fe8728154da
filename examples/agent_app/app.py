"""A support agent behind HTTP: each request makes tool calls, and they stand under the request's own span.

pip install composio opentelemetry-sdk opentelemetry-exporter-otlp-proto-http 'otel-bridge[instrumentation]'
COMPOSIO_API_KEY=ak_… OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 python app.py
curl -X POST 'http://127.0.0.1:8080/triage?user=user_ada'
"""

import contextvars
import json
import os
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from composio import Composio
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from otel_bridge.instrumentation import ComposioInstrumentor

provider = TracerProvider(resource=Resource.create({"service.name": "support-agent"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("agent_app")
ComposioInstrumentor().instrument()  # all that the app does for its tool calls

composio = Composio()
MAIL = {"tool_slug": "GMAIL_FETCH_EMAILS", "arguments": {"query": "is:unread"}}
ISSUES = {"tool_slug": "GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS", "arguments": {"q": "webhook"}}


def triage(user_id):
    """What a model would decide: look around, read in one go, then tell two places at once."""
    session = composio.create(user_id=user_id)
    tools = session.tools()  # for the model
    session.execute("COMPOSIO_SEARCH_TOOLS", arguments={"queries": [{"use_case": "triage a ticket"}]})
    session.execute("COMPOSIO_MULTI_EXECUTE_TOOL", arguments={"tools": [MAIL, ISSUES]})
    told = {
        "SLACK_SEND_MESSAGE": {"channel": "#support"},
        "LINEAR_CREATE_LINEAR_ISSUE": {"title": "Webhooks"},
    }
    with tracer.start_as_current_span("tell people"), ThreadPoolExecutor() as pool:
        # A thread knows nothing of the current span unless it runs in a copy of the context.
        calls = [
            pool.submit(contextvars.copy_context().run, session.execute, slug, arguments=arguments)
            for slug, arguments in told.items()
        ]
    return {"tools": len(tools), "log_ids": [call.result().log_id for call in calls]}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        url = urlsplit(self.path)
        parent = propagate.extract(dict(self.headers))
        with tracer.start_as_current_span(f"POST {url.path}", context=parent, kind=SpanKind.SERVER):
            answer = json.dumps(triage(parse_qs(url.query)["user"][0])).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler)
    print(f"http://127.0.0.1:{server.server_port}/triage", flush=True)
    try:
        server.serve_forever()
    finally:
        provider.shutdown()
