"""The instrumentor: what ``opentelemetry-instrument`` finds, and what an application turns on by hand."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # it is not typed
    BaseInstrumentor,
)
from opentelemetry.trace import get_tracer

from otel_bridge._version import __version__
from otel_bridge.environment import clean_environment
from otel_bridge.instrumentation import by_hand
from otel_bridge.instrumentation.conventions import SCHEMA_URL, SCOPE_NAME
from otel_bridge.instrumentation.patches import Patches
from otel_bridge.instrumentation.reporter import Reporter, correlation_url
from otel_bridge.instrumentation.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Collection

_logger: Final = logging.getLogger(__name__)
_ENDPOINT: Final = "OTEL_BRIDGE_CORRELATION_ENDPOINT"
_TOKEN: Final = "OTEL_BRIDGE_TOKEN"  # noqa: S105 - a variable's name


class ComposioInstrumentor(BaseInstrumentor):  # type: ignore[misc] # as above
    """Traces tool calls made with Composio's Python SDK.

    Each execution gets a span ``execute_tool {slug}`` and sends the span's identity as ``x-request-id``, from
    which the bridge knows the tool call's place in the application's trace. An application that sets the
    header itself keeps it; then the bridge is told in the background, where
    ``OTEL_BRIDGE_CORRELATION_ENDPOINT`` says where it is.

    ``instrument()`` takes ``tracer_provider``, ``request_hook(span, slug, kwargs)`` and
    ``response_hook(span, answer)``. Arguments and results are not recorded; a hook may.
    """

    # One for the process, as the instrumentor is.
    _patches = Patches()
    _tracing: Tracing | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The vendor's generated client: `composio` and everything built on it calls this one."""
        # A pre-release as the bound lets pre-releases in: the SDK pins one of 2.0.
        return ("composio-client >= 1.3.0rc0",)

    def _instrument(self, **kwargs: Any) -> None:
        tracer = get_tracer(SCOPE_NAME, __version__, kwargs.get("tracer_provider"), schema_url=SCHEMA_URL)
        tracing = Tracing(
            tracer, kwargs.get("request_hook"), kwargs.get("response_hook"), _reporter_from_environment()
        )
        by_hand.use(tracing.reporter)
        self._tracing = tracing
        self._patches.apply(tracing)

    def _uninstrument(self, **_kwargs: Any) -> None:
        self._patches.revert()
        tracing, self._tracing = self._tracing, None
        by_hand.use(None)
        if tracing is not None:
            tracing.active = False
            if tracing.reporter is not None:
                tracing.reporter.close()


def _reporter_from_environment() -> Reporter | None:
    environ = clean_environment(os.environ)
    endpoint = environ.get(_ENDPOINT)
    if not endpoint:
        return None
    try:
        url = correlation_url(endpoint)
    except ValueError as error:
        _logger.warning("%s: %s; no correlations are reported", _ENDPOINT, error)
        return None
    token = environ.get(_TOKEN, "")
    if not token.isprintable():
        _logger.warning("%s is not one line of text; no correlations are reported", _TOKEN)
        return None
    return Reporter(url, token)
