"""The vendor's generated client, answered by a function in place of a network, and what was exported."""

from __future__ import annotations

import contextlib
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from composio_client import AsyncComposio, Composio, ProjectAuth
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_bridge.instrumentation import ComposioInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

BASE_URL = "https://composio.example"
SUCCESS: dict[str, Any] = {"data": {}, "error": None, "log_id": "log_one000000", "successful": True}
COMPLETED: dict[str, Any] = {"data": {}, "error": None, "log_id": "log_one000000", "result_type": "completed"}


@dataclass
class Service:
    """What the client talks to.

    Attributes:
        bodies: Answers by what the path ends with.
        requests: What came in.
    """

    bodies: dict[str, Any] = field(
        default_factory=lambda: {"/execute": COMPLETED, "/execute_meta": COMPLETED, "": SUCCESS}
    )
    statuses: list[int] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    error: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        status = self.statuses.pop(0) if self.statuses else 200
        body = next(
            self.bodies[end]
            for end in sorted(self.bodies, key=len, reverse=True)
            if request.url.path.endswith(end)
        )
        return httpx.Response(status, content=json.dumps(body))

    @property
    def request_ids(self) -> list[str | None]:
        """The header of each request."""
        return [request.headers.get("x-request-id") for request in self.requests]


class SdkClient(Composio):
    """The client as the SDK makes it on line 1.x: the request id comes from a context variable alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.request_ctx: ContextVar[dict[str, Any]] = ContextVar(
            "request_ctx",
            default={"id": None, "provider": "openai"},  # noqa: B039 - as the SDK has it
        )

    def _headers_for(self, url: str, **options: Any) -> dict[str, str]:
        headers: dict[str, str] = super()._headers_for(url, **options)
        headers["x-request-id"] = self.request_ctx.get()["id"] or "made-by-the-sdk"
        return headers


def client_of(service: Service, kind: type[Composio] = Composio, **options: Any) -> Composio:
    """A client that this service answers."""
    return kind(
        auth=ProjectAuth("ak_x"),
        base_url=BASE_URL,
        max_retries=options.pop("max_retries", 0),
        http_client=httpx.Client(transport=httpx.MockTransport(service)),
        **options,
    )


def async_client_of(service: Service) -> AsyncComposio:
    """The same for asyncio."""
    return AsyncComposio(
        auth=ProjectAuth("ak_x"),
        base_url=BASE_URL,
        max_retries=0,
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(service)),
    )


@dataclass
class Recorded:
    """What the application exported."""

    provider: TracerProvider
    exporter: InMemorySpanExporter

    @property
    def tracer(self) -> Tracer:
        """For spans of the application's own."""
        return self.provider.get_tracer("app")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Spans that have ended, in that order."""
        return list(self.exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        """The one span."""
        (span,) = self.spans
        return span


@contextlib.contextmanager
def instrumented(provider: TracerProvider | None = None, **options: Any) -> Iterator[Recorded]:
    """The instrumentor on, for as long as the context lasts."""
    exporter = InMemorySpanExporter()
    provider = provider or TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = ComposioInstrumentor()
    instrumentor.instrument(tracer_provider=provider, **options)
    try:
        yield Recorded(provider, exporter)
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


def traceparent_of(span: ReadableSpan) -> str:
    """As it should be in the header."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
