"""Several exporters as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.errors import DestinationError
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


class FanOut:
    """Hands deliveries to exporters one after the other; delivered is what all of them have delivered.

    Each gets what those before it delivered. So the one that may fail comes first, and a terminal last: then
    nothing is drawn that was not delivered, and nothing twice.

    Args:
        exporters: In their order.
    """

    def __init__(self, exporters: Sequence[Exporter]) -> None:
        self._exporters = tuple(exporters)

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Deliver to all; see `Exporter.export`.

        Raises:
            DestinationError: The first that one of them raised; the others have had their share before.
        """
        merged = Outcome()
        failure: DestinationError | None = None
        remaining = list(deliveries)
        for exporter in self._exporters:
            try:
                outcome = await exporter.export(remaining)
            except DestinationError as error:
                failure = failure or error
                outcome = outcome_of(error)
            merged.refused |= outcome.refused
            merged.doubtful |= outcome.doubtful
            merged.resent += outcome.resent
            merged.warnings += outcome.warnings
            delivered = set(outcome.delivered)
            remaining = [delivery for delivery in remaining if delivery.key in delivered]
        merged.delivered = [delivery.key for delivery in remaining]
        if failure is not None:
            failure.outcome = merged
            raise failure
        return merged

    async def aclose(self) -> None:
        """Close all of them."""
        for exporter in self._exporters:
            await exporter.aclose()
