"""``check``, the destinations: an empty request to each, then one marked record that a person recognises."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from otel_bridge import __version__
from otel_bridge.errors import BridgeError, DestinationError, DestinationRefused
from otel_bridge.exporter.advice import advice_at_last
from otel_bridge.exporter.destination import Signal
from otel_bridge.service.assembly import otlp_exporter
from otel_bridge.service.finding import Finding, failed, note, ok
from otel_bridge.signals import Delivery, LogRecord, Resource, Scope, Severity, Span, SpanKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.exporter.destination import Destination
    from otel_bridge.exporter.otlp import OtlpExporter
    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

CHECK_NAME: Final = "otel_bridge.check"
"""The scope, the span's name and the log record's event name of a test record."""

_NS_PER_MS: Final = 1_000_000
_BODY: Final = "test record of `otel-bridge check`; it is no tool call"


async def check_destination(settings: Settings, exporter: OtlpExporter, signal: Signal) -> Finding:
    """Send an empty request of one signal."""
    destination = settings.destination(signal)
    label = f"{signal.value} to {destination.where} ({destination.protocol.value})"
    try:
        await exporter.probe(signal)
    except DestinationRefused as error:
        if error.unsupported and signal is not Signal.TRACES:
            if not settings.signals_were_chosen:
                text = f"{label}: not taken there; spans go alone"
                return note("destination", text, "OTEL_BRIDGE_SIGNALS=traces says so", signal.value)
            todo = f"leave {signal.value} out of OTEL_BRIDGE_SIGNALS, or give it an endpoint of its own"
            return failed("destination", f"{label}: {error.fact}", todo, signal.value)
        return _failed(label, error, destination, signal)
    except BridgeError as error:
        return _failed(label, error, destination, signal)
    return ok("destination", f"{label}: accepts an empty request", signal.value)


def _failed(label: str, error: BridgeError, destination: Destination, signal: Signal) -> Finding:
    todo = advice_at_last(error, destination)
    return failed("destination", f"{label}: {error.fact}", todo, signal.value)


async def check_record(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Say that a marked record is sent, and send it."""
    record = marked_record(settings, clock.now_ms())
    kinds = " and ".join(
        name for name, signal in (("a span", record.span), ("a log record", record.log)) if signal is not None
    )
    trace_id = "" if record.span is None else f", trace {record.span.trace_id.hex()}"
    yield note("record", f"now sending {kinds} named {CHECK_NAME}{trace_id} (--no-send leaves this out)")
    exporter = otlp_exporter(settings, clock, attempts=1)
    try:
        outcome = await exporter.export([record])
    except DestinationError as error:
        signal = Signal.TRACES if Signal.TRACES in settings.signals else Signal.LOGS
        todo = advice_at_last(error, settings.destination(signal))
        yield failed("record", f"test record: {error.fact}", todo)
        return
    finally:
        await exporter.aclose()
    for warning in outcome.warnings:
        yield note("record", f"test record: {warning}")
    if outcome.refused:
        why = "; ".join(outcome.refused.values())
        todo = "see that destination's own log for what it takes"
        yield failed("record", f"test record: refused: {why}", todo)
    else:
        text = "test record: acknowledged; where the backend does not show it, look at what stands between"
        yield ok("record", text)


def marked_record(settings: Settings, now_ms: int) -> Delivery:
    """The record: like a tool call's in form, and like none in name. Its ids are a function of its time.

    Args:
        settings: Which signals are wanted, and the resource.
        now_ms: Its time, in ms since the epoch.
    """
    digest = sha256(f"{CHECK_NAME}:{now_ms}".encode()).digest()
    trace_id, span_id = digest[:16], digest[16:24]
    now_ns = now_ms * _NS_PER_MS
    traces, logs = Signal.TRACES in settings.signals, Signal.LOGS in settings.signals
    resource = {
        **settings.mapping.resource,
        "service.name": "otel-bridge",
        "service.version": __version__,
    }
    span = Span(
        trace_id, span_id, None, CHECK_NAME, SpanKind.INTERNAL, now_ns - _NS_PER_MS, now_ns, {"check": True}
    )
    log = LogRecord(
        now_ns,
        now_ns,
        Severity.INFO,
        "info",
        _BODY,
        CHECK_NAME,
        {"check": True},
        trace_id if traces else None,
        span_id if traces else None,
    )
    return Delivery(
        key=CHECK_NAME,
        resource=Resource(tuple(resource.items())),
        scope=Scope(CHECK_NAME, __version__, ""),
        span=span if traces else None,
        log=log if logs else None,
    )
