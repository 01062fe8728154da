"""The span around each tool call."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import composio_client
import httpx
import pytest
from instrumented_client import COMPLETED, SUCCESS, Service, async_client_of, client_of, instrumented
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from otel_bridge.instrumentation import ComposioInstrumentor
from otel_bridge.instrumentation.sessions import SessionUsers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from composio_client import Composio

CALLS: dict[str, Callable[[Composio], Any]] = {
    "tools": lambda c: c.tools.execute("SLACK_SEND_MESSAGE", user_id="user_ada"),
    "tools by body": lambda c: c.tools.execute("SLACK_SEND_MESSAGE", {"user_id": "user_ada"}),
    "tools raw": lambda c: c.tools.with_raw_response.execute("SLACK_SEND_MESSAGE", user_id="user_ada"),
    "session": lambda c: c.tool_router.session.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE"),
    "session by body": lambda c: c.tool_router.session.execute("trs_1", {"tool_slug": "SLACK_SEND_MESSAGE"}),
    "session raw": lambda c: c.tool_router.session.with_raw_response.execute(
        "trs_1", tool_slug="SLACK_SEND_MESSAGE"
    ),
    "meta": lambda c: c.tool_router.session.execute_meta("trs_1", slug="COMPOSIO_SEARCH_TOOLS"),
}


@pytest.mark.parametrize("way", CALLS)
def test_every_way_to_execute_a_tool_has_a_span(way: str) -> None:
    with instrumented() as recorded:
        CALLS[way](client_of(Service()))
        span = recorded.only()
    slug = "COMPOSIO_SEARCH_TOOLS" if way == "meta" else "SLACK_SEND_MESSAGE"
    known = (
        {"user.id": "user_ada"}
        if way.startswith("tools")
        else {"session.id": "trs_1", "gen_ai.conversation.id": "trs_1"}
    )
    assert span.name == f"execute_tool {slug}"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": slug,
        "gen_ai.tool.type": "extension",
        "server.address": "composio.example",
        "composio.log.id": "log_one000000",
        **known,
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "otel_bridge.instrumentation"


SESSION = {
    "session_id": "trs_1",
    "config": {"user_id": "user_ada"},
    "mcp": {"type": "http", "url": "http://x"},
}


@pytest.mark.parametrize("way", ["create", "attach", "retrieve"])
def test_a_sessions_calls_say_whom_the_session_acts_for(way: str) -> None:
    service = Service({"": SESSION, "/execute": COMPLETED})
    with instrumented() as recorded:
        sessions = client_of(service).tool_router.session
        made = sessions.create(user_id="user_ada") if way == "create" else getattr(sessions, way)("trs_1")
        assert made.session_id == "trs_1"
        sessions.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE")
        sessions.execute("trs_2", tool_slug="SLACK_SEND_MESSAGE")
        users = [(span.attributes or {}).get("user.id") for span in recorded.spans]
    assert users == ["user_ada", None]


async def test_an_async_sessions_calls_say_it_as_well() -> None:
    with instrumented() as recorded:
        client = async_client_of(Service({"": SESSION, "/execute": COMPLETED}))
        await client.tool_router.session.create(user_id="user_ada")
        await client.tool_router.session.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE")
        assert (recorded.only().attributes or {})["user.id"] == "user_ada"
        await client.close()


def test_so_many_sessions_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.instrumentation.sessions._MOST", 2)
    users = SessionUsers()
    for name in ("a", "b", "a", "c"):
        users.remember(SimpleNamespace(session_id=name, config=SimpleNamespace(user_id=f"of {name}")))
    users.remember(SimpleNamespace(session_id="d", config=None))
    assert [users.of(name) for name in "abcd"] == ["of a", "", "of c", ""]


def test_threads_that_forget_at_the_same_time_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr("otel_bridge.instrumentation.sessions._MOST", 0)
    users = SessionUsers()
    users._users = Changing()
    users.remember(SimpleNamespace(session_id="a", config=SimpleNamespace(user_id="u")))
    assert users.of("a") == "u"


def test_a_session_that_can_not_be_read_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    with instrumented():
        monkeypatch.setattr(SessionUsers, "remember", _Broken().__getattr__)
        made = client_of(Service({"": SESSION})).tool_router.session.create(user_id="user_ada")
    assert made.session_id == "trs_1"


async def test_the_async_client_is_traced_too() -> None:
    service = Service()
    with instrumented() as recorded:
        client = async_client_of(service)
        with recorded.tracer.start_as_current_span("request") as request:
            await asyncio.gather(
                *(client.tools.execute("SLACK_SEND_MESSAGE") for _ in range(3)),
                client.tool_router.session.execute("trs_1", tool_slug="GMAIL_FETCH_EMAILS"),
                client.tool_router.session.with_raw_response.execute("trs_1", tool_slug="GMAIL_FETCH_EMAILS"),
            )
        service.error = httpx.ConnectError("gone")
        with pytest.raises(composio_client.APIConnectionError):
            await client.tools.execute("SLACK_SEND_MESSAGE")
        with suppress_instrumentation(), pytest.raises(composio_client.APIConnectionError):
            await client.tools.execute("SLACK_SEND_MESSAGE")
    *calls, parent, failed = recorded.spans
    assert len(calls) == 5
    assert {span.parent.span_id for span in calls if span.parent} == {request.get_span_context().span_id}
    assert parent.name == "request"
    assert failed.status.status_code is StatusCode.ERROR
    await client.close()


def test_the_span_is_current_during_the_call_and_not_after() -> None:
    seen = []

    def answer(_: httpx.Request) -> httpx.Response:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return httpx.Response(200, json=SUCCESS)

    service = Service()
    with instrumented() as recorded:
        client = client_of(service)
        client._client = httpx.Client(transport=httpx.MockTransport(answer))
        client.tools.execute("SLACK_SEND_MESSAGE")
        assert not trace.get_current_span().get_span_context().is_valid
        (span,) = recorded.spans
    context = span.get_span_context()
    assert context is not None
    assert seen == [context.span_id]


@pytest.mark.parametrize(
    ("end", "body", "error_type"),
    [
        ("", {**SUCCESS, "successful": False, "error": "secret text"}, "_OTHER"),
        ("", {**SUCCESS, "log_id": None}, None),
        ("/execute", {**COMPLETED, "result_type": "failed", "error": ""}, "_OTHER"),
        ("/execute", {**COMPLETED, "result_type": "blocked", "error": "secret text"}, "blocked"),
        ("/execute", {"result_type": "input_required", "input_requests": {}}, None),
        # Client line 1.x: no result_type.
        ("/execute", {"data": {}, "error": "secret text", "log_id": "log_1"}, "_OTHER"),
        ("/execute", {"data": {}, "error": None, "log_id": "log_1"}, None),
        ("/execute", [1, 2], None),
    ],
)
def test_what_came_of_a_call_is_on_the_span(end: str, body: Any, error_type: str | None) -> None:
    service = Service({"": SUCCESS} | {end: body})
    with instrumented() as recorded:
        client = client_of(service)
        if end:
            client.tool_router.session.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE")
        else:
            client.tools.execute("SLACK_SEND_MESSAGE")
        span = recorded.only()
    assert (span.attributes or {}).get("error.type") == error_type
    assert (span.status.status_code is StatusCode.ERROR) == (error_type is not None)
    assert "secret text" not in span.to_json()


@pytest.mark.parametrize(
    ("status", "error", "error_type"),
    [
        (404, None, "404"),
        (500, None, "500"),
        (200, httpx.ReadTimeout("secret text"), "composio_client.APITimeoutError"),
        (200, ZeroDivisionError("secret text"), "ZeroDivisionError"),
    ],
)
def test_an_exception_reaches_the_application_and_its_class_the_span(
    status: int, error: Exception | None, error_type: str
) -> None:
    service = Service({"": {"error": {"message": "secret text"}}}, [status], error=error)
    with instrumented() as recorded:
        expected = ZeroDivisionError if isinstance(error, ZeroDivisionError) else composio_client.APIError
        with pytest.raises(expected):
            client_of(service).tools.execute("SLACK_SEND_MESSAGE")
        span = recorded.only()
    found = (span.attributes or {})["error.type"]
    assert str(found).replace("._exceptions", "") == error_type
    assert span.status.status_code is StatusCode.ERROR
    assert "secret text" not in span.to_json()


def test_arguments_and_results_are_not_recorded() -> None:
    service = Service({"": {**SUCCESS, "data": {"token": "secret text"}}})
    with instrumented() as recorded:
        client_of(service).tools.execute("SLACK_SEND_MESSAGE", arguments={"text": "secret text"})
        assert "secret text" not in recorded.only().to_json()


def test_a_span_that_another_instrumentation_made_for_the_call_is_used() -> None:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "slack_send_message"}
    with instrumented() as recorded:
        with recorded.tracer.start_as_current_span("execute_tool x", attributes=attributes):
            client_of(Service()).tools.execute("SLACK_SEND_MESSAGE")
        span = recorded.only()
    assert span.name == "execute_tool x"
    assert (span.attributes or {})["composio.log.id"] == "log_one000000"


def test_a_span_of_another_tool_or_one_that_has_a_call_is_not_used() -> None:
    other = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "handle_ticket"}
    with instrumented() as recorded:
        client = client_of(Service())
        with recorded.tracer.start_as_current_span("other", attributes=other):
            client.tools.execute("SLACK_SEND_MESSAGE")
        same = {**other, "gen_ai.tool.name": "SLACK_SEND_MESSAGE"}
        with recorded.tracer.start_as_current_span("same", attributes=same):
            client.tools.execute("SLACK_SEND_MESSAGE")
            client.tools.execute("SLACK_SEND_MESSAGE")
        names = [span.name for span in recorded.spans]
    call = "execute_tool SLACK_SEND_MESSAGE"
    assert names == [call, "other", call, "same"]


def test_hooks_see_the_call_and_their_failure_does_no_harm() -> None:
    seen: list[Any] = []

    def asked(span: trace.Span, slug: str, kwargs: Any) -> None:
        seen.append((slug, kwargs["user_id"]))
        span.set_attribute("app.asked", 1)
        raise ZeroDivisionError

    def answered(span: trace.Span, answer: Any) -> None:
        span.set_attribute("app.answered", answer.successful)
        raise ZeroDivisionError

    with instrumented(request_hook=asked, response_hook=answered) as recorded:
        assert client_of(Service()).tools.execute("SLACK_SEND_MESSAGE", user_id="u").successful
        attributes = recorded.only().attributes or {}
    assert seen == [("SLACK_SEND_MESSAGE", "u")]
    assert (attributes["app.asked"], attributes["app.answered"]) == (1, True)


def test_where_tracing_is_suppressed_or_off_the_call_is_as_it_was() -> None:
    service = Service()
    client = client_of(service)
    with instrumented() as recorded:
        kept = client.tools.execute
        with suppress_instrumentation():
            client.tools.execute("SLACK_SEND_MESSAGE")
    client.tools.execute("SLACK_SEND_MESSAGE")
    kept("SLACK_SEND_MESSAGE")
    assert service.request_ids == [None, None, None]
    assert recorded.spans == []


def test_it_can_be_turned_on_again() -> None:
    for _ in range(2):
        with instrumented() as recorded:
            client_of(Service()).tools.execute("SLACK_SEND_MESSAGE")
            assert len(recorded.spans) == 1
    assert not ComposioInstrumentor().is_instrumented_by_opentelemetry


class _Broken:
    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


@pytest.mark.parametrize("place", ["start", "header", "attributes", "answer", "end"])
def test_a_defect_of_its_own_does_not_reach_the_application(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "start": "read_call",
        "header": "own_request_id",
        "attributes": "_attributes",
        "answer": "outcome_of_answer",
        "end": "_TracedCall._report",
    }
    service = Service()
    with instrumented():
        monkeypatch.setattr(f"otel_bridge.instrumentation.tracing.{names[place]}", _Broken().__getattr__)
        assert client_of(service).tools.execute("SLACK_SEND_MESSAGE").successful
        assert not trace.get_current_span().get_span_context().is_valid
    assert len(service.requests) == 1
