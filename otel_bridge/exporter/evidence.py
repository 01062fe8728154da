"""Whether a destination takes records at all: what all deliveries of a signal have seen of it.

A record that is refused alone is to blame only where the destination takes another one. Where it takes none,
the reason lies in the destination: a setting of it, a gateway, a body it can't unpack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.exporter.batching import Batch
    from otel_bridge.exporter.encoding import Encoded

SEVERAL: Final = 4
"""So many different records that are refused one after the other, with none taken, are not to blame."""


@dataclass(slots=True)
class Evidence:
    """What is known of one signal's destination, in one process.

    Attributes:
        taken: Requests of which something was taken, so far.
        control: A record that the destination has taken lately: sent once more, it shows whether the
            destination still takes what it took. None before anything was taken.
        doubted: Whether nothing has been taken since it refused whatever it was asked, the control included.
    """

    taken: int = 0
    control: Encoded | None = None
    doubted: bool = False
    _refused: set[int] = field(default_factory=set)

    def took(self, batch: Batch = ()) -> None:
        """Something was taken; ``batch`` where all of it was."""
        self.taken += 1
        self.doubted = False
        self._refused.clear()
        if batch:
            self.control = min(batch, key=lambda record: record.size)

    def refused(self, record: Encoded) -> None:
        """A record was not taken although it was alone. The same one again counts once."""
        if len(self._refused) < SEVERAL:
            self._refused.add(hash((record.group, record.body)))

    @property
    def several(self) -> bool:
        """Whether several different records in a row were refused, with none taken between."""
        return len(self._refused) >= SEVERAL
