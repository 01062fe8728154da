"""The OTLP exporter: deliveries in, what became of each out."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from otel_bridge.circuit import Circuit
from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.advice import AdvisedSender
from otel_bridge.exporter.batching import DEFAULT_MOST_BYTES, DEFAULT_MOST_RECORDS, Limits
from otel_bridge.exporter.blocks import Blocks, OnBlocked, OnOpen
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.encoding import Encoded, Encoder
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.exporter.key_values import EncodingError
from otel_bridge.exporter.learnt_limits import LearntLimits
from otel_bridge.exporter.route import OnRetry, OnSent, Progress, Route
from otel_bridge.exporter.search import deliver
from otel_bridge.exporter.sender import Accepted, Failed, NoAnswer, Sender, TooLarge
from otel_bridge.retry import Backoff
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_bridge.circuit_state import CircuitState, OnChange
    from otel_bridge.times import Clock

DESTINATION_OPENS_AFTER: Final = 3
"""So many failures in a row, of all who deliver a signal, open its destination's circuit."""

_MOST_REMEMBERED: Final = 20_000

Fingerprint = tuple[Signal, str, int]


def sender_for(destination: Destination) -> Sender:
    """Make the sender of a destination's protocol. Nothing is connected yet."""
    if destination.protocol is not Protocol.GRPC:
        return AdvisedSender(HttpSender(destination), destination)
    # What the library writes to standard error by itself, such as a server's farewell, breaks a log of JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from otel_bridge.exporter.grpc_sender import (  # noqa: PLC0415 - gRPC takes 8 MB
        GrpcSender,
    )

    return AdvisedSender(GrpcSender(destination), destination)


class OtlpExporter:
    """Delivers spans and log records to their destinations, each batch until it is acknowledged.

    The signals go side by side, each in the order given. A delivery counts as delivered when every signal
    that it has was acknowledged; what one signal refuses is refused, whatever the other says. When one signal
    fails for good the other ends its request in hand, and what it had acknowledged is remembered: given the
    same delivery again, the exporter sends only the signal that is still missing.

    Args:
        destinations: Where each signal goes. A signal without one is not exported. Metrics can be probed
            only: they go another way.
        clock: Sleeps between tries.
        backoff: How long to wait, how often to try one request; the circuits' too. By default for ever.
        max_records: The most records of a request.
        max_bytes: The most bytes of a request, before compression.
        optional_signals: Signals that are switched off, with a warning, when their destination does not know
            them (HTTP 404, gRPC UNIMPLEMENTED).
        senders: Makes a sender; another one in tests.
        on_retry: Called before each wait.
        on_sent: Called when a request has ended.
        on_warning: Called with each warning, which is in the outcome too.
        on_circuit: Called when a destination's circuit opens and when it closes.
        on_blocked: Called when a destination takes no records any more, and with each further try that fails.
        on_open: Called with the name of a destination that takes records again.

    Attributes:
        blocks: Which destinations take no records now.
    """

    def __init__(  # noqa: PLR0913 - settings, each with its default
        self,
        destinations: Mapping[Signal, Destination],
        *,
        clock: Clock,
        backoff: Backoff | None = None,
        max_records: int = DEFAULT_MOST_RECORDS,
        max_bytes: int = DEFAULT_MOST_BYTES,
        optional_signals: frozenset[Signal] = frozenset(),
        senders: Callable[[Destination], Sender] = sender_for,
        on_retry: OnRetry | None = None,
        on_sent: OnSent | None = None,
        on_warning: Callable[[str], None] | None = None,
        on_circuit: OnChange | None = None,
        on_blocked: OnBlocked | None = None,
        on_open: OnOpen | None = None,
    ) -> None:
        backoff = backoff or Backoff(attempts=None)
        self.blocks = Blocks(on_blocked, on_open)

        def circuit_changed(before: CircuitState, now: CircuitState) -> None:
            if on_circuit is not None:
                on_circuit(before, now)
            if now.retry_in_s is None:
                self.blocks.open(now.name)

        self._routes = {
            signal: Route(
                signal=signal,
                sender=senders(destination),
                where=destination.where,
                backoff=backoff,
                clock=clock,
                limits=LearntLimits(Limits(max_records, max_bytes)),
                on_retry=on_retry or (lambda *_: None),
                on_sent=on_sent or (lambda *_: None),
                circuit=Circuit(
                    f"{destination.where} ({signal})",
                    clock,
                    opens_after=DESTINATION_OPENS_AFTER,
                    backoff=backoff,
                    on_change=circuit_changed,
                    on_blocked=lambda now: self.blocks.block(now.name, now.reason, now.next_try_ms),
                ),
                optional=signal in optional_signals,
            )
            for signal, destination in destinations.items()
        }
        self._on_warning = on_warning or (lambda _: None)
        # Of deliveries that are not settled, the signals that are acknowledged. Oldest first.
        self._half_done: dict[Fingerprint, None] = {}

    @property
    def circuits(self) -> list[CircuitState]:
        """How the destinations' circuits stand, one for each signal."""
        return [route.circuit.state for route in self._routes.values()]

    def try_now(self) -> None:
        """Do not wait for the next try of destinations that are down: a file of theirs has changed."""
        for route in self._routes.values():
            route.circuit.try_now()

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Deliver, oldest first; see `Exporter.export`.

        Raises:
            DestinationUnavailable: The backoff has given up; ``outcome_of`` tells what was settled before.
            DestinationRefused: A destination as a whole says no; ``outcome_of`` as above.
        """
        progress: dict[Signal, Progress] = {
            signal: Progress() for signal in self._routes if signal is not Signal.METRICS
        }
        halt = asyncio.Event()
        errors: list[DestinationError] = []
        encoder = Encoder()

        async def deliver_one(signal: Signal) -> None:
            records = self._encoded(signal, deliveries, encoder, progress[signal])
            try:
                await deliver(self._routes[signal], records, progress[signal], halt)
            except DestinationError as error:
                errors.append(error)
                halt.set()

        try:
            async with asyncio.TaskGroup() as tasks:
                for signal in progress:
                    if not self._routes[signal].off:
                        tasks.create_task(deliver_one(signal))
        finally:
            outcome = self._outcome(deliveries, progress)
            if len(outcome.delivered) + len(outcome.refused) < len(deliveries):
                self._remember(deliveries, progress, encoder)
        for warning in outcome.warnings:
            self._on_warning(warning)
        if errors:
            # A refusal needs a person, so it is the one to tell where both kinds happened.
            error = min(errors, key=lambda error: isinstance(error, DestinationUnavailable))
            error.outcome = outcome
            raise error
        return outcome

    async def probe(self, signal: Signal) -> None:
        """Send an empty request, once, to see that a destination is there and accepts.

        Raises:
            DestinationUnavailable: No answer, or one that asks to try again.
            DestinationRefused: It does not accept.
            KeyError: The signal has no destination.
        """
        route = self._routes[signal]
        answer = await route.sender.send(b"")
        if isinstance(answer, (Failed, NoAnswer)) or (isinstance(answer, TooLarge) and not answer.certain):
            raise DestinationUnavailable(answer.message)
        if not isinstance(answer, Accepted):
            raise DestinationRefused(f"{route.where} does not accept an empty request: {answer.message}")

    async def aclose(self) -> None:
        """Let go of connections."""
        for route in self._routes.values():
            await route.sender.aclose()

    def _encoded(
        self, signal: Signal, deliveries: Sequence[Delivery], encoder: Encoder, progress: Progress
    ) -> Iterator[Encoded]:
        """Encode as it is asked for, so that no more than a batch is held at a time."""
        for position, delivery in enumerate(deliveries):
            try:
                record = _encode(signal, delivery, encoder, position)
            except EncodingError as error:
                progress.refused[position] = f"{signal}: can't be encoded: {error}"
                continue
            if record is None:
                continue
            if self._half_done:
                fingerprint = _fingerprint(signal, delivery, record)
                if fingerprint in self._half_done:
                    del self._half_done[fingerprint]
                    progress.acknowledged.add(position)
                    continue
            yield record

    def _outcome(self, deliveries: Sequence[Delivery], progress: Mapping[Signal, Progress]) -> Outcome:
        outcome = Outcome()
        for position, delivery in enumerate(deliveries):
            wanted = self._wanted(delivery, progress)
            reasons = [one.refused[position] for one in wanted if position in one.refused]
            if len(reasons) + sum(position in one.acknowledged for one in wanted) < len(wanted):
                continue  # a signal of it is not settled
            if reasons:
                outcome.refused[delivery.key] = "; ".join(reasons)
                if all(position in one.doubtful for one in wanted if position in one.refused):
                    outcome.doubtful.add(delivery.key)
            else:
                outcome.delivered.append(delivery.key)
        outcome.resent = sum(len(one.resent) for one in progress.values())
        outcome.warnings = [warning for one in progress.values() for warning in one.warnings]
        return outcome

    def _wanted(self, delivery: Delivery, progress: Mapping[Signal, Progress]) -> list[Progress]:
        """The signals that a delivery has, and that are exported."""
        has = {Signal.TRACES: delivery.span is not None, Signal.LOGS: delivery.log is not None}
        return [one for signal, one in progress.items() if has[signal] and not self._routes[signal].off]

    def _remember(
        self, deliveries: Sequence[Delivery], progress: Mapping[Signal, Progress], encoder: Encoder
    ) -> None:
        for position, delivery in enumerate(deliveries):
            if all(one.settled(position) for one in self._wanted(delivery, progress)):
                continue
            for signal, one in progress.items():
                record = (
                    _encode(signal, delivery, encoder, position) if position in one.acknowledged else None
                )
                if record is not None:
                    self._half_done[_fingerprint(signal, delivery, record)] = None
        while len(self._half_done) > _MOST_REMEMBERED:
            del self._half_done[next(iter(self._half_done))]


def _encode(signal: Signal, delivery: Delivery, encoder: Encoder, position: int) -> Encoded | None:
    if signal is Signal.TRACES:
        return encoder.span(delivery, position)
    return encoder.log(delivery, position)


def _fingerprint(signal: Signal, delivery: Delivery, record: Encoded) -> Fingerprint:
    """What stays the same when the same delivery comes again, and differs where its content does."""
    return signal, delivery.key, hash((record.group, record.body))
