"""Traces of the bridge itself: one a window, with spans for list, details and delivery. Off by default.

Never mixed with the tool calls: another provider, another service, another way out. Nothing is global, and
nobody's spans but these are made.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode, get_current_span, use_span

from otel_bridge import __version__
from otel_bridge.errors import BridgeError
from otel_bridge.mapping import conventions as c
from otel_bridge.telemetry.watched import ended_within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_END_S: Final = 1.5

SpanValue = str | int | float | bool


class Facts(Protocol):
    """An open span, which takes what is learnt while it lasts."""

    def set_attribute(self, key: str, value: SpanValue) -> None:
        """Note a fact; names as OpenTelemetry writes them."""
        ...


class LongSpan:
    """A span that lasts over several steps, which may belong to several tasks. This one does nothing."""

    def current(self) -> AbstractContextManager[object]:
        """Spans made inside the block stand below it, and events of the log name it."""
        return nullcontext()

    def end(self, error: BaseException | None = None) -> None:
        """It is over; with ``error`` because of that. Twice does no harm."""


class Spans:
    """Makes no spans: what the service has where own traces are not wanted."""

    def begin(self, name: str, **facts: SpanValue) -> LongSpan:
        """A span for a window, from its listing to its commit; the caller ends it. As ``span``."""
        del name, facts
        return _NO_SPAN

    def span(self, name: str, **facts: SpanValue) -> AbstractContextManager[Facts]:
        """A span around a step, below the one around it.

        Args:
            name: What is done: ``window``, ``list``, ``details``, ``deliver``, ``commit``.
            **facts: What is known of it; ``lane`` becomes ``otel_bridge.lane``.
        """
        del name, facts
        return nullcontext(_NOTHING)

    def close(self) -> None:
        """Send what is left, for a bounded time. Blocks: call it off the event loop."""


class _Nothing:
    def set_attribute(self, key: str, value: SpanValue) -> None:
        del key, value


_NOTHING: Final = _Nothing()
_NO_SPAN: Final = LongSpan()


class _OwnLongSpan(LongSpan):
    def __init__(self, span: Span) -> None:
        self._span = span

    def current(self) -> AbstractContextManager[object]:
        return use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            _note_failure(self._span, error)
        self._span.end()


class OwnSpans(Spans):
    """Makes spans and sends them.

    Args:
        resource: The bridge's.
        exporter: Sends them.
    """

    def __init__(self, resource: Resource, exporter: SpanExporter) -> None:
        meters = NoOpMeterProvider()
        self._exporter = exporter
        # All that OTEL_TRACES_SAMPLER and its like say is meant for other services.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, meter_provider=meters
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, meter_provider=meters))
        self._tracer = self._provider.get_tracer(c.SCOPE_NAME, __version__)

    def begin(self, name: str, **facts: SpanValue) -> LongSpan:
        """See `Spans.begin`."""
        attributes = {f"otel_bridge.{key}": value for key, value in facts.items()}
        return _OwnLongSpan(self._tracer.start_span(name, attributes=attributes))

    @contextmanager
    def span(self, name: str, **facts: SpanValue) -> Iterator[Facts]:
        """See `Spans.span`. An error that leaves it makes its status."""
        attributes = {f"otel_bridge.{key}": value for key, value in facts.items()}
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                _note_failure(span, error)
                raise

    def close(self) -> None:
        """See `Spans.close`."""
        ended_within(_END_S, self._provider.shutdown, self._exporter.shutdown)


def _note_failure(span: Span, error: BaseException) -> None:
    # Only the bridge's own errors have a text that holds no payload.
    said = str(error) if isinstance(error, BridgeError) else None
    span.set_attribute(c.ERROR_TYPE, type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, said))


def current_ids() -> tuple[str, str] | None:
    """Trace id and span id, in hex, of the span around the caller; None where there is none."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"
