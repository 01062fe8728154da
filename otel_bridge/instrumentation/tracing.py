"""One tool call: a span around it, its identity as the request id, what came of it on the span."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_bridge.instrumentation import conventions
from otel_bridge.instrumentation.outcome import Outcome, outcome_of_answer, outcome_of_exception
from otel_bridge.instrumentation.request_id import (
    OwnRequestId,
    PinnedRequestId,
    own_request_id,
    pinned,
    traceparent_of,
    with_header,
)
from otel_bridge.instrumentation.sessions import SessionUsers
from otel_bridge.instrumentation.targets import read_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

    from otel_bridge.instrumentation.reporter import Reporter
    from otel_bridge.instrumentation.targets import Target, ToolCall

    RequestHook = Callable[[Span, str, Mapping[str, Any]], None]
    ResponseHook = Callable[[Span, Any], None]

_logger: Final = logging.getLogger(__name__)
# A longer one is no id; cut it would be another.
_MOST_REQUEST_ID_CHARS: Final = 512


class Tracing:
    """Traces tool calls. Nothing that goes wrong in here reaches the application.

    Args:
        request_hook: Called with the span, the tool's slug and the call's keyword arguments.
        response_hook: Called with the span and the answer.
        reporter: Where correlations go that no request id can carry.
    """

    def __init__(
        self,
        tracer: Tracer,
        request_hook: RequestHook | None = None,
        response_hook: ResponseHook | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.tracer = tracer
        self.request_hook = request_hook
        self.response_hook = response_hook
        self.reporter = reporter
        self.users = SessionUsers()
        self.active = True
        """False once the instrumentor is off: bound methods that were kept go on to come here."""

    def wrapper(self, target: Target) -> Callable[..., Any]:
        """What to put around a method, in the form that wrapt calls."""

        def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            traced = self._begin(target, instance, args, kwargs)
            if traced is None:
                return wrapped(*args, **kwargs)
            try:
                answer = wrapped(*args, **traced.kwargs)
            except BaseException as error:
                traced.raised(error)
                raise
            traced.answered(answer)
            return answer

        async def call_async(
            wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            traced = self._begin(target, instance, args, kwargs)
            if traced is None:
                return await wrapped(*args, **kwargs)
            try:
                answer = await wrapped(*args, **traced.kwargs)
            except BaseException as error:
                traced.raised(error)
                raise
            traced.answered(answer)
            return answer

        return call_async if target.is_async else call

    def opening(self, target: Target) -> Callable[..., Any]:
        """What to put around a method whose answer says whom a session acts for."""

        def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            answer = wrapped(*args, **kwargs)
            self._remember(answer)
            return answer

        async def call_async(
            wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            answer = await wrapped(*args, **kwargs)
            self._remember(answer)
            return answer

        return call_async if target.is_async else call

    def _remember(self, answer: Any) -> None:
        try:
            self.users.remember(answer)
        except Exception:
            _logger.debug("a session could not be read", exc_info=True)

    def _begin(
        self, target: Target, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _TracedCall | None:
        if not self.active or not is_instrumentation_enabled():
            return None
        try:
            return _TracedCall(self, target, getattr(instance, "_client", None), args, kwargs)
        except Exception:
            _logger.debug("a tool call could not be traced", exc_info=True)
            return None


class _TracedCall:
    """A tool call from its begin to its end.

    Attributes:
        kwargs: The arguments to call with.
    """

    __slots__ = ("_is_ours", "_own", "_pinned", "_span", "_token", "_traceparent", "_tracing", "kwargs")

    def __init__(
        self, tracing: Tracing, target: Target, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.kwargs = kwargs
        self._tracing = tracing
        self._pinned: PinnedRequestId | None = None
        self._own: OwnRequestId | None = None
        self._token: Token[Context] | None = None
        call = read_call(target, args, kwargs)
        found = _span_of_another(call.slug)
        self._is_ours = found is None
        if found is None:
            name = f"{conventions.EXECUTE_TOOL} {call.slug}".rstrip()
            found = tracing.tracer.start_span(
                name, kind=SpanKind.CLIENT, attributes=_attributes(call, client, tracing.users)
            )
            self._token = context.attach(trace.set_span_in_context(found))
        self._span: Span = found
        self._traceparent = ""
        try:
            self._traceparent = traceparent_of(found.get_span_context())
            if self._traceparent:
                self._identify(client, target)
        except Exception:
            # The span goes on without.
            _logger.debug("no request id could be set", exc_info=True)
        if tracing.request_hook is not None:
            _call_hook(tracing.request_hook, found, call.slug, kwargs)

    def answered(self, answer: Any) -> None:
        """It returned."""
        try:
            outcome = outcome_of_answer(answer)
        except Exception:
            _logger.debug("an answer could not be read", exc_info=True)
            outcome = Outcome()
        if self._tracing.response_hook is not None:
            _call_hook(self._tracing.response_hook, self._span, answer)
        self._end(outcome)

    def raised(self, error: BaseException) -> None:
        """It raised."""
        self._end(outcome_of_exception(error))

    def _identify(self, client: Any, target: Target) -> None:
        self._own = own_request_id(client, self.kwargs)
        if self._own is None:
            self._pinned = pinned(client, self._traceparent)
            if self._pinned is None and target.takes_headers:
                self.kwargs = with_header(self.kwargs, self._traceparent)
        elif self._own.value and len(self._own.value) <= _MOST_REQUEST_ID_CHARS:
            self._span.set_attribute(conventions.REQUEST_ID, self._own.value)

    def _end(self, outcome: Outcome) -> None:
        try:
            if self._pinned is not None:
                # First: whatever fails below, the next call must not go out under this one's id.
                self._pinned.release()
            if outcome.log_id:
                self._span.set_attribute(conventions.LOG_ID, outcome.log_id)
            if outcome.error_type:
                self._span.set_attribute(conventions.ERROR_TYPE, outcome.error_type)
                self._span.set_status(StatusCode.ERROR)
            self._report(outcome.log_id)
        except Exception:
            _logger.debug("what came of a tool call could not be recorded", exc_info=True)
        finally:
            if self._token is not None:
                context.detach(self._token)
            if self._is_ours:
                self._span.end()

    def _report(self, log_id: str) -> None:
        """Tell the bridge, where the request id is the application's own."""
        reporter = self._tracing.reporter
        if reporter is None or self._own is None:
            return
        if log_id:
            reporter.report({"log_id": log_id, "traceparent": self._traceparent})
        elif self._own.value and self._own.of_one_call:
            # An id that several calls share would name the wrong span for all but one.
            reporter.report({"request_id": self._own.value, "traceparent": self._traceparent})


def _span_of_another(slug: str) -> Span | None:
    """The current span, where another instrumentation has made it for this very tool call."""
    current = trace.get_current_span()
    attributes = getattr(current, "attributes", None)
    if not current.is_recording() or not attributes:
        return None
    name = attributes.get(conventions.TOOL_NAME)
    if (
        attributes.get(conventions.OPERATION_NAME) == conventions.EXECUTE_TOOL
        and isinstance(name, str)
        and name.lower() == slug.lower()
        # One span for each call: a second one below it gets its own.
        and conventions.LOG_ID not in attributes
    ):
        return current
    return None


def _attributes(call: ToolCall, client: Any, users: SessionUsers) -> dict[str, str]:
    pairs = (
        (conventions.OPERATION_NAME, conventions.EXECUTE_TOOL),
        (conventions.TOOL_NAME, call.slug),
        (conventions.TOOL_TYPE, conventions.EXTENSION),
        (conventions.CONVERSATION_ID, call.session_id),
        (conventions.SESSION_ID, call.session_id),
        (conventions.USER_ID, call.user_id or users.of(call.session_id)),
        (conventions.CONNECTED_ACCOUNT_ID, call.connected_account_id),
        (conventions.SERVER_ADDRESS, _host(str(getattr(client, "base_url", "")))),
    )
    return {name: value for name, value in pairs if value}


@lru_cache(maxsize=16)
def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _call_hook(hook: Callable[..., None], *arguments: Any) -> None:
    try:
        hook(*arguments)
    except Exception:
        _logger.debug("a hook failed", exc_info=True)
