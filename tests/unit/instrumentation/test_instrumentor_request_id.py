"""The request id carries the span's identity, unless the application has set one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from instrumented_client import (
    SUCCESS,
    SdkClient,
    Service,
    client_of,
    instrumented,
    traceparent_of,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from otel_bridge.instrumentation import ComposioInstrumentor, correlate, traceparent
from otel_bridge.instrumentation.request_id import own_request_id, pinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from composio_client import Composio


@pytest.mark.parametrize("kind", [None, SdkClient])
def test_it_is_the_spans_traceparent(kind: type[Composio] | None) -> None:
    service = Service()
    with instrumented() as recorded:
        client = client_of(service, kind) if kind else client_of(service)
        for _ in range(2):
            client.tool_router.session.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE")
        expected = [traceparent_of(span) for span in recorded.spans]
    assert service.request_ids == expected
    assert len(set(expected)) == 2
    assert all(text.startswith("00-") and int(text[-2:], 16) & 1 for text in expected)


def test_it_is_the_same_at_every_retry() -> None:
    service = Service(statuses=[503, 503])
    with instrumented() as recorded:
        client_of(service, SdkClient, max_retries=2).tools.execute("SLACK_SEND_MESSAGE")
        assert service.request_ids == [traceparent_of(recorded.only())] * 3


def test_after_the_call_the_sdks_own_comes_back() -> None:
    service = Service()
    with instrumented():
        client = client_of(service, SdkClient)
        client.tools.execute("SLACK_SEND_MESSAGE")
        client.tools.list()
    assert service.request_ids[1] == "made-by-the-sdk"


def test_the_sdks_own_comes_back_even_where_the_span_could_not_be_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    service = Service()
    with instrumented():
        monkeypatch.setattr("otel_bridge.instrumentation.tracing._TracedCall._report", fails)
        client = client_of(service, SdkClient)
        client.tools.execute("SLACK_SEND_MESSAGE")
        client.tools.list()
    assert service.request_ids[1] == "made-by-the-sdk"


def test_a_trace_that_is_not_sampled_says_so() -> None:
    service = Service()
    with instrumented(TracerProvider(sampler=ALWAYS_OFF)):
        client_of(service).tools.execute("SLACK_SEND_MESSAGE")
    (value,) = service.request_ids
    assert value is not None
    assert int(value[-2:], 16) & 1 == 0


def test_without_a_tracer_provider_nothing_is_set() -> None:
    service = Service()
    instrumentor = ComposioInstrumentor()
    instrumentor.instrument(tracer_provider=NoOpTracerProvider())
    try:
        assert client_of(service, SdkClient).tools.execute("SLACK_SEND_MESSAGE").successful
    finally:
        instrumentor.uninstrument()
    assert service.request_ids == ["made-by-the-sdk"]


OWN: dict[str, Callable[[Composio], Any]] = {
    "extra headers": lambda c: c.tools.execute("X_Y", extra_headers={"X-Request-Id": "mine"}),
    "headers": lambda c: c.tools.execute("X_Y", headers={"x-request-id": "mine"}),
    "options": lambda c: c.tools.execute("X_Y", request_options={"headers": {"x-request-id": "mine"}}),
}


@pytest.mark.parametrize("way", OWN)
def test_the_applications_own_is_never_overwritten(way: str) -> None:
    service = Service()
    with instrumented() as recorded:
        OWN[way](client_of(service))
        assert (recorded.only().attributes or {})["composio.request.id"] == "mine"
    assert service.request_ids == ["mine"]


def test_a_header_that_the_application_took_away_stays_away() -> None:
    service = Service()
    with instrumented() as recorded:
        client_of(service).tools.execute("X_Y", extra_headers={"x-request-id": None})
        assert "composio.request.id" not in (recorded.only().attributes or {})
    assert service.request_ids == [None]


def test_one_that_is_too_long_is_sent_and_not_repeated_on_the_span() -> None:
    service = Service()
    with instrumented() as recorded:
        client_of(service).tools.execute("X_Y", extra_headers={"x-request-id": "m" * 10_240})
        assert "composio.request.id" not in (recorded.only().attributes or {})
    assert service.request_ids == ["m" * 10_240]


def test_one_for_all_calls_is_never_overwritten_either() -> None:
    service = Service()
    with instrumented():
        client_of(service, default_headers={"X-Request-ID": "mine"}).tools.execute("X_Y")
        client = client_of(service, SdkClient)
        assert isinstance(client, SdkClient)
        client.request_ctx.set({"id": "of the request", "provider": "openai"})
        client.tools.execute("X_Y")
    assert service.request_ids == ["mine", "of the request"]


def test_other_headers_of_the_call_are_kept() -> None:
    service = Service()
    headers = {"x-other": "1"}
    with instrumented():
        client_of(service).tools.execute("X_Y", extra_headers=headers)
    assert service.requests[0].headers["x-other"] == "1"
    assert headers == {"x-other": "1"}


class _Bare:
    request_ctx: ContextVar[Any] = ContextVar("bare")


def test_a_client_of_another_make_has_none() -> None:
    bare = _Bare()
    assert own_request_id(bare, {}) is None
    assert pinned(bare, "00-") is None
    assert pinned(object(), "00-") is None
    assert own_request_id(object(), {"extra_headers": 5}) is None


def test_the_current_spans_can_be_had_by_hand() -> None:
    with instrumented() as recorded:
        assert traceparent() == ""
        with recorded.tracer.start_as_current_span("request") as span:
            assert traceparent() == traceparent(span)
            assert not correlate(log_id="log_1")
        assert traceparent(span) == traceparent_of(recorded.only())


def test_the_http_client_sees_one_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", raising=False)
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append([value for name, value in request.headers.multi_items() if name == "x-request-id"])
        return httpx.Response(200, json=SUCCESS)

    with instrumented() as recorded:
        client = client_of(Service(), SdkClient)
        client._client = httpx.Client(transport=httpx.MockTransport(answer))
        client.tools.execute("X_Y")
        assert seen == [[traceparent_of(recorded.only())]]
