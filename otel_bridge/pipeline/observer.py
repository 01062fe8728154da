"""What the service does, told to its metrics, its health and its page.

The collecting code says each thing once, and knows none of those that are told.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.errors import BridgeError, DestinationError
    from otel_bridge.exporter.blocks import Block
    from otel_bridge.exporter.destination import Signal
    from otel_bridge.ledger import Lane, SetAside, Window
    from otel_bridge.pipeline.context import Tally
    from otel_bridge.signals import Delivery


class Observer:
    """Is told everything and does nothing; a subclass overrides what it needs.

    Contract: methods are called on the event loop, return at once and raise nothing. Times are ms since the
    epoch on the machine's clock; durations are seconds.
    """

    def polled(self, project: str, now_ms: int) -> None:
        """The live lane has been collected up to the present."""

    def poll_failed(self, project: str, error: BridgeError, now_ms: int) -> None:
        """A pass of any lane failed: the source, a destination or the ledger did not do its part."""

    def window_done(self, window: Window, listed: int, tally: Tally, now_ms: int) -> None:
        """A pass is committed. ``window`` is as it was before: ``passes`` is 0 for a first pass."""

    def deduplicated(self, project: str, count: int) -> None:
        """So many listed records were known already, and nothing was done for them."""

    def late(self, project: str, lateness_s: Sequence[float]) -> None:
        """Records were found that no first pass had shown: how long after its time each was, in seconds."""

    def delivered(self, project: str, lane: Lane, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """Acknowledged by every destination and committed."""

    def delivery_failed(self, project: str, error: DestinationError, now_ms: int) -> None:
        """A destination did not take a batch; it is sent again."""

    def set_aside(self, project: str, records: Sequence[SetAside]) -> None:
        """Records were set aside, for the first time or again."""

    def resent(self, project: str, count: int) -> None:
        """So many signals were sent more than once to find the refused ones."""

    def requested(self, project: str, route: str, status: int | None, duration_s: float) -> None:
        """The source answered a request, or did not (``status`` None). ``route``: list, detail, usage."""

    def exported(
        self, signal: Signal, records: int, size_bytes: int, duration_s: float, error: DestinationError | None
    ) -> None:
        """One request to a destination ended."""

    def retried(self, signal: Signal) -> None:
        """A request to a destination is sent once more after a wait."""

    def circuit_changed(self, before: CircuitState, now: CircuitState) -> None:
        """A source or a destination went down or came back."""

    def destination_blocked(self, block: Block) -> None:
        """A destination takes no records: told when that begins, and with each further try that fails."""

    def correlations(self, project: str | None, outcome: str, count: int) -> None:
        """Correlations were ``registered``, ``used``, ``late``, ``unused`` (they expired) or ``refused``."""


NO_OBSERVER: Final = Observer()
"""The default: nothing is told."""


class Observers(Observer):
    """Tells several observers.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in (each for each in vars(Observer) if not each.startswith("_")):
            setattr(self, name, partial(_tell_all, [getattr(each, name) for each in observers]))


def _tell_all(methods: Sequence[Callable[..., None]], *args: object) -> None:
    for method in methods:
        method(*args)
