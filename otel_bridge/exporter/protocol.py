"""What every exporter is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.errors import DestinationError


class Exporter(Protocol):
    """Takes deliveries, and says of each what became of it.

    Contract: ``export`` may be called from several tasks of one event loop, and may be cancelled at any
    moment; what it had not reported by then may have been delivered or not. ``aclose`` comes last, and twice
    does no harm. One that tries for as long as it takes tells what holds it up by `blocks.MayBlock`.
    """

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Deliver, in the order given.

        Returns:
            Every key in exactly one of the outcome's two parts.

        Raises:
            DestinationUnavailable: It gave up trying for now; `outcome_of` tells what was settled before.
            DestinationRefused: The destination as a whole says no; `outcome_of` as above.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def outcome_of(error: DestinationError) -> Outcome:
    """What an exporter had settled before it raised; the keys in neither part are still to be delivered."""
    return error.outcome if isinstance(error.outcome, Outcome) else Outcome()
