"""The sources' circuits, one for each base URL, and what people read when one opens or closes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_bridge.pipeline.observer import NO_OBSERVER, Observer
from otel_bridge.receiver.channel import source_circuit
from otel_bridge.service.logs import event
from otel_bridge.times import format_duration

if TYPE_CHECKING:
    from otel_bridge.circuit import Circuit
    from otel_bridge.circuit_state import CircuitState, OnChange
    from otel_bridge.settings import ProjectSettings
    from otel_bridge.times import Clock


class SourceCircuits:
    """The circuits of the sources: projects with one base URL share one.

    Args:
        clock: The time.
        observer: Hears of outages.
    """

    def __init__(self, clock: Clock, observer: Observer = NO_OBSERVER) -> None:
        self._clock = clock
        self._on_change = telling_circuits(observer)
        self._by_url: dict[str, Circuit] = {}

    def of(self, project: ProjectSettings) -> Circuit:
        """The circuit of a project's source."""
        url = project.base_url.rstrip("/")
        if url not in self._by_url:
            self._by_url[url] = source_circuit(url, self._clock, self._on_change)
        return self._by_url[url]

    def try_now(self) -> None:
        """Do not wait for the next try of those that are open: a file that they depend on has changed."""
        for circuit in self._by_url.values():
            circuit.try_now()

    @property
    def states(self) -> list[CircuitState]:
        """How each of them stands."""
        return [circuit.state for circuit in self._by_url.values()]


def telling_circuits(observer: Observer) -> OnChange:
    """Tells people and an observer of a circuit that opens or closes."""

    def tell(before: CircuitState, now: CircuitState) -> None:
        say_circuit(before, now)
        observer.circuit_changed(before, now)

    return tell


def say_circuit(before: CircuitState, now: CircuitState) -> None:
    """Log one event when an outage begins and one when it ends, in place of one for each try."""
    if now.retry_in_s is not None:
        event(
            logging.WARNING,
            "circuit_opened",
            f"{now.name} is down: {now.reason}",
            far_side=now.name,
            failures=now.failures,
            retry_in_s=round(now.retry_in_s, 1),
        )
        return
    event(
        logging.INFO,
        "circuit_closed",
        f"{now.name} is up again after {format_duration(round(before.lasted_s * 1000))}",
        far_side=now.name,
        failures=before.failures,
        down_s=round(before.lasted_s, 1),
    )
