"""A destination as a model: what it holds, what it will not take, and what it answers."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.sender import Accepted, Answer, Failed, Refused, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class ModelSender:
    """Implements ``Sender``. Records are known by the number in their span id.

    Attributes:
        poison: Records that make it refuse a whole request.
        rejects: Records that it leaves out of a request it accepts otherwise.
        crashes: Records that make it fall over.
        most: The most records that it takes at once; None for any number.
        most_bytes: The most bytes that it takes at once.
        over: What it answers to more.
        everything: What it answers to everything that holds a record, while it is set.
        script: What the next requests meet before all that: an error to raise, an answer, or nothing.
    """

    poison: frozenset[int] = frozenset()
    rejects: frozenset[int] = frozenset()
    crashes: frozenset[int] = frozenset()
    most: int | None = None
    most_bytes: int | None = None
    over: Answer = field(default_factory=lambda: TooLarge("too large"))
    everything: Answer | None = None
    script: list[Exception | Answer | None] = field(default_factory=list)
    holds: Counter[int] = field(default_factory=Counter)
    requests: list[list[int]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    before: Callable[[], object] = lambda: None
    signal: Signal = Signal.TRACES
    closed: bool = False

    async def send(self, body: bytes) -> Answer:
        await asyncio.sleep(0)
        self.before()
        numbers = self._numbers(body)
        self.requests.append(numbers)
        self.bodies.append(body)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if step is None and numbers:
            step = self.everything
        if step is not None:
            return step
        if len(numbers) > (self.most or math.inf) or len(body) > (self.most_bytes or math.inf):
            return self.over
        if self.crashes.intersection(numbers):
            return Failed("fell over")
        if self.poison.intersection(numbers):
            return Refused("poison")
        taken = [number for number in numbers if number not in self.rejects]
        self.holds.update(taken)
        rejected = len(numbers) - len(taken)
        return Accepted(rejected, "left out" if rejected else "")

    async def aclose(self) -> None:
        self.closed = True

    def _numbers(self, body: bytes) -> list[int]:
        if self.signal is Signal.LOGS:
            of_logs = ExportLogsServiceRequest.FromString(body).resource_logs
            return [
                int.from_bytes(log.span_id) for r in of_logs for s in r.scope_logs for log in s.log_records
            ]
        of_spans = ExportTraceServiceRequest.FromString(body).resource_spans
        return [int.from_bytes(span.span_id) for r in of_spans for s in r.scope_spans for span in s.spans]


def somewhere(signal: Signal) -> Destination:
    """A destination for a sender that needs none."""
    return Destination(signal, Protocol.HTTP, f"http://there/v1/{signal}")
