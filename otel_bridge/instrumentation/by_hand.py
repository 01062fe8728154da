"""For what no instrumentor sees: MCP, other SDKs, a request id of the application's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from otel_bridge.instrumentation.request_id import traceparent_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_bridge.instrumentation.reporter import Reporter

_reporters: list[Reporter] = []


def use(reporter: Reporter | None) -> None:
    """Report through this one from now on."""
    _reporters[:] = [] if reporter is None else [reporter]


def traceparent(span: Span | None = None) -> str:
    """The identity of a span, by default the current one, to be sent as ``x-request-id``.

    Returns:
        The W3C text; empty where there is no span, and then the header is better left out.
    """
    return traceparent_of((span or trace.get_current_span()).get_span_context())


def correlate(*, log_id: str = "", request_id: str = "", span: Span | None = None) -> bool:
    """Tell the bridge that a tool call stands under a span, by default the current one.

    It is sent in the background and never waits; see ``OTEL_BRIDGE_CORRELATION_ENDPOINT``.

    Args:
        log_id: The id of the tool call's log, as Composio's answer has it.
        request_id: Or the ``x-request-id`` that was sent with it, and with no other.
        span: The span it stands under.

    Returns:
        Whether it will be sent: not where the instrumentor is off, no endpoint is set or there is no span.
    """
    text = traceparent(span)
    if not _reporters or not text or not (log_id or request_id):
        return False
    key = {"log_id": log_id} if log_id else {"request_id": request_id}
    _reporters[0].report({**key, "traceparent": text})
    return True
