"""What all that is done for one project has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.pipeline.capacity import Capacity
from otel_bridge.pipeline.in_flight import InFlight
from otel_bridge.pipeline.observer import NO_OBSERVER, Observer
from otel_bridge.telemetry.tracing import Spans

if TYPE_CHECKING:
    import asyncio

    from otel_bridge.ledger import Ledger, Reason
    from otel_bridge.pipeline.source import ProjectSource
    from otel_bridge.times import Clock


class Stopped(Exception):  # noqa: N818 - not an error: the way out of a pipeline when the service stops
    """The service stops; the batch in progress is committed, the window stays open."""


@dataclass(slots=True)
class Tally:
    """What became of records, by count.

    Attributes:
        delivered: Acknowledged and committed.
        set_aside: By reason.
        oldest_ms: The time of the oldest record that was new, in ms since the epoch.
    """

    delivered: int = 0
    set_aside: dict[Reason, int] = field(default_factory=dict)
    oldest_ms: int | None = None

    def count(self, delivered: int, set_aside: dict[Reason, int]) -> None:
        """Count a batch in."""
        self.delivered += delivered
        for reason, count in set_aside.items():
            self.set_aside[reason] = self.set_aside.get(reason, 0) + count

    @property
    def records(self) -> int:
        """All of them."""
        return self.delivered + sum(self.set_aside.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectContext:
    """Passed once in place of its parts.

    Attributes:
        project: Its name.
        source: Its side of Composio's API.
        ledger: What is done.
        clock: The time.
        stop: Set when the service stops, or the project leaves it.
        observer: Is told what happens.
        spans: Makes the bridge's own spans.
        capacity: How much all pipelines of the process hold.
        in_flight: The ids that the project's lanes are delivering.
        tally: What became of the project's records since the process began.
    """

    project: str
    source: ProjectSource
    ledger: Ledger
    clock: Clock
    stop: asyncio.Event
    observer: Observer = NO_OBSERVER
    spans: Spans = field(default_factory=Spans)
    capacity: Capacity = field(default_factory=Capacity)
    in_flight: InFlight = field(default_factory=InFlight)
    tally: Tally = field(default_factory=Tally)

    def leave_if_stopped(self) -> None:
        """End what would go on for long.

        Raises:
            Stopped: The service stops.
        """
        if self.stop.is_set():
            raise Stopped

    def now_ms(self) -> int:
        """The source's present, of which windows are stretches, in ms since the epoch."""
        return self.source.client.now_ms()
