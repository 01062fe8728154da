"""The request id of a tool call: Composio keeps it with the log, so it can carry the span's identity.

Two ways lead to the header ``x-request-id``. The generated client takes it among ``extra_headers``. The SDK's
client keeps one in a context variable, ``request_ctx``, and with client line 1.x this is all it looks at: the
header is overwritten by a random id. Both repeat it at every retry of a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import format_span_id, format_trace_id

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

HEADER: Final = "x-request-id"


@dataclass(frozen=True, slots=True)
class OwnRequestId:
    """A request id that the application has set.

    Attributes:
        value: Empty where the application took the header away.
        of_one_call: Whether it was given with this call, so that no other call has it.
    """

    value: str
    of_one_call: bool


def traceparent_of(context: SpanContext) -> str:
    """The W3C text of a span's identity; empty where it has none."""
    if not context.is_valid:
        return ""
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"


def own_request_id(client: Any, kwargs: Mapping[str, Any]) -> OwnRequestId | None:
    """What the application has set for a call, or None."""
    variable = _variable(client)
    if variable is not None and (value := variable.get().get("id")):
        return OwnRequestId(str(value), of_one_call=False)
    options = kwargs.get("request_options")
    given = options.get("headers") if isinstance(options, Mapping) else None
    for headers in (kwargs.get("extra_headers"), given, kwargs.get("headers")):
        if (value := _header(headers)) is not None:
            return OwnRequestId(value, of_one_call=True)
    if (value := _header(getattr(client, "default_headers", None))) is not None:
        return OwnRequestId(value, of_one_call=False)
    return None


def with_header(kwargs: dict[str, Any], value: str) -> dict[str, Any]:
    """The arguments of a call, with the header added."""
    return {**kwargs, "extra_headers": {**(kwargs.get("extra_headers") or {}), HEADER: value}}


class PinnedRequestId:
    """Keeps a request id in the SDK's context variable, in this task or thread, until `release`."""

    __slots__ = ("_token", "_variable")

    def __init__(self, client: Any, value: str) -> None:
        self._variable = _variable(client)
        self._token: Token[Any] | None = None
        if self._variable is not None:
            self._token = self._variable.set({**self._variable.get(), "id": value})

    def release(self) -> None:
        """Put back what was there."""
        if self._variable is not None and self._token is not None:
            self._variable.reset(self._token)


def _variable(client: Any) -> ContextVar[Any] | None:
    variable = getattr(client, "request_ctx", None)
    if not isinstance(variable, ContextVar):
        return None
    try:
        # Not `get(None)`: that would pass over the default it was made with.
        return variable if isinstance(variable.get(), Mapping) else None
    except LookupError:
        return None


def _header(headers: Any) -> str | None:
    if not isinstance(headers, Mapping):
        return None
    for name, value in headers.items():
        if isinstance(name, str) and name.lower() == HEADER:
            return value if isinstance(value, str) else ""
    return None
