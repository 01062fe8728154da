"""What happens in the service, as metrics: hears it once, batch by batch, and counts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import (
    DestinationRefused,
    DestinationUnavailable,
    LedgerError,
    SourceBusy,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.ledger import Lane, Reason
from otel_bridge.pipeline.observer import Observer
from otel_bridge.telemetry import catalogue as c

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.errors import BridgeError, DestinationError
    from otel_bridge.exporter.destination import Signal
    from otel_bridge.ledger import SetAside, Window
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.pipeline.context import Tally
    from otel_bridge.signals import Delivery
    from otel_bridge.telemetry.meters import Meters

_DESTINATION_ERRORS: Final = (DestinationUnavailable, DestinationRefused)
_OTHER_ERRORS: Final = (SourceUnreachable, SourceBusy, SourceFailed, SourceRefused, LedgerError)
_NS_PER_MS: Final = 1_000_000
_TOOL_KEYS: Final = tuple(attribute.name for attribute in c.TOOL_DURATION.attributes)


class OwnMetrics(Observer):
    """Counts what it hears.

    Args:
        meters: Where to.
        projects: Their names. Their counters begin at 0, so that a first failure is seen to rise.
    """

    def __init__(self, meters: Meters, projects: Iterable[str]) -> None:
        self._meters = meters
        self.polled_ms: dict[str, int] = {}
        """When each project's live lane was last collected up to the present, in ms since the epoch."""
        self.refused_since_ms: dict[str, int] = {}
        """Of each project whose destination did not take the last batch, since when."""
        self.circuits: dict[str, CircuitState] = {}
        """How each circuit stood when it last changed, by its name."""
        for project in projects:
            self.begin(project)
        for signal in c.SIGNAL.values:
            meters.add(c.EXPORT_RETRIES, 0, signal)

    def begin(self, project: str) -> None:
        """Count nothing yet of a project, so that a first failure is seen to rise."""
        for lane, metric in itertools.product(Lane, (c.LISTED, c.DELIVERED)):
            self._meters.add(metric, 0, project, lane.value)
        for lane, which in itertools.product(Lane, c.PASS.values):
            self._meters.add(c.WINDOWS, 0, project, lane.value, which)
        for reason in Reason:
            self._meters.add(c.SET_ASIDE, 0, project, reason.value)
        for metric in (c.DEDUPLICATED, c.REJECTED, c.RESENT):
            self._meters.add(metric, 0, project)
        for error in (*_DESTINATION_ERRORS, *_OTHER_ERRORS):
            self._meters.add(c.PASS_FAILURES, 0, project, error.__name__)
        for error in _DESTINATION_ERRORS:
            self._meters.add(c.DELIVERY_FAILURES, 0, project, error.__name__)
        for outcome in c.OUTCOME.values:
            self._meters.add(c.CORRELATIONS, 0, None if outcome == "unused" else project, outcome)

    def measured(self, measurement: Measurement) -> None:
        """A tool call's duration, when it is first delivered live."""
        get = measurement.attributes.get
        self._meters.record(c.TOOL_DURATION, measurement.duration_s, *map(get, _TOOL_KEYS))

    def polled(self, project: str, now_ms: int) -> None:
        """Keep when."""
        self.polled_ms[project] = now_ms

    def poll_failed(self, project: str, error: BridgeError, now_ms: int) -> None:
        """Count the failed pass."""
        del now_ms
        self._meters.add(c.PASS_FAILURES, 1, project, type(error).__name__)

    def window_done(self, window: Window, listed: int, tally: Tally, now_ms: int) -> None:
        """Count the pass and what it showed."""
        del tally, now_ms
        which = "recheck" if window.passes else "first"
        self._meters.add(c.WINDOWS, 1, window.project, window.lane.value, which)
        self._meters.add(c.LISTED, listed, window.project, window.lane.value)

    def late(self, project: str, lateness_s: Sequence[float]) -> None:
        """Take how late each was."""
        for each in lateness_s:
            self._meters.record(c.LATENESS, max(0.0, each), project)

    def deduplicated(self, project: str, count: int) -> None:
        """Count them."""
        self._meters.add(c.DEDUPLICATED, count, project)

    def delivered(self, project: str, lane: Lane, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """Count them, and how long each took from its end, if it is from the present."""
        self.refused_since_ms.pop(project, None)
        self._meters.add(c.DELIVERED, len(deliveries), project, lane.value)
        if lane is not Lane.LIVE:
            return
        now_ns = now_ms * _NS_PER_MS
        for delivery in deliveries:
            if delivery.span is not None:
                lag_s = (now_ns - delivery.span.end_ns) / 1e9
                self._meters.record(c.DELIVERY_LAG, max(0.0, lag_s), project)

    def delivery_failed(self, project: str, error: DestinationError, now_ms: int) -> None:
        """Count the batch."""
        self.refused_since_ms.setdefault(project, now_ms)
        self._meters.add(c.DELIVERY_FAILURES, 1, project, type(error).__name__)

    def set_aside(self, project: str, records: Sequence[SetAside]) -> None:
        """Count them by reason."""
        for record in records:
            self._meters.add(c.SET_ASIDE, 1, project, record.reason.value)
            if record.reason is Reason.REFUSED:
                self._meters.add(c.REJECTED, 1, project)

    def resent(self, project: str, count: int) -> None:
        """Count them."""
        self._meters.add(c.RESENT, count, project)

    def requested(self, project: str, route: str, status: int | None, duration_s: float) -> None:
        """Take how long it took."""
        self._meters.record(c.REQUEST_DURATION, duration_s, project, route, status)

    def exported(
        self, signal: Signal, records: int, size_bytes: int, duration_s: float, error: DestinationError | None
    ) -> None:
        """Take how long it took and how large it was."""
        kind = None if error is None else type(error).__name__
        self._meters.record(c.EXPORT_DURATION, duration_s, signal.value, kind)
        self._meters.record(c.EXPORT_RECORDS, records, signal.value)
        self._meters.record(c.EXPORT_SIZE, size_bytes, signal.value)

    def retried(self, signal: Signal) -> None:
        """Count it."""
        self._meters.add(c.EXPORT_RETRIES, 1, signal.value)

    def circuit_changed(self, before: CircuitState, now: CircuitState) -> None:
        """Count the outage, and keep how it stands."""
        self.circuits[now.name] = now
        opened = before.retry_in_s is None and now.retry_in_s is not None
        self._meters.add(c.CIRCUIT_OPENINGS, int(opened), now.name)

    def correlations(self, project: str | None, outcome: str, count: int) -> None:
        """Count them."""
        self._meters.add(c.CORRELATIONS, count, project, outcome)
