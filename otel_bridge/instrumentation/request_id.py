"""The request id of a tool call: Composio keeps it with the log, so it can carry the span's identity.

Two ways lead to the header ``x-request-id``. The SDK's client keeps one in a context variable,
``request_ctx``, which comes before any header; with client line 1.x it is all that counts, and a header is
overwritten by a random id. The generated client by itself takes the id among ``extra_headers``. Both repeat
it at every retry of a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def own_request_id(client: Any, kwargs: Mapping[str, Any]) -> OwnRequestId | None:
    """What the application has set for a call, or None."""
    variable = _variable(client)
    if variable is not None and (value := variable.get().get("id")):
        return OwnRequestId(str(value), of_one_call=False)
    options = kwargs.get("request_options")
    given = options.get("headers") if options and isinstance(options, Mapping) else None
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

    def __init__(self, variable: ContextVar[Any], token: Token[Any]) -> None:
        self._variable = variable
        self._token = token

    def release(self) -> None:
        """Put back what was there."""
        self._variable.reset(self._token)


def pinned(client: Any, value: str) -> PinnedRequestId | None:
    """Pin a request id; None where the client is not the SDK's and has no such variable."""
    variable = _variable(client)
    if variable is None:
        return None
    return PinnedRequestId(variable, variable.set({**variable.get(), "id": value}))


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
    # Asked in this order because whether something is a mapping takes long to say.
    if not headers or not isinstance(headers, Mapping):
        return None
    for name, value in headers.items():
        if isinstance(name, str) and name.lower() == HEADER:
            return value if isinstance(value, str) else ""
    return None
