"""A whole bridge in one process: emulator, worker, a ledger in memory, a destination that remembers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr
from simulated_clock import SimulatedClock

from otel_bridge.emulator import EmulatorOptions, LogStore, create_app, record_of
from otel_bridge.ledger import MemoryLedger
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions, TraceOptions
from otel_bridge.pipeline.capacity import Capacity
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.context import ProjectContext
from otel_bridge.pipeline.deliver import CorrelationWait, Deliverer, Waits
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.pipeline.observer import NO_OBSERVER
from otel_bridge.pipeline.polling import PollInterval
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff
from otel_bridge.service.worker import ProjectWorker, WorkerOptions
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from otel_bridge.mapping.measurement import Measurement


@dataclass
class Destination:
    """Remembers what it was given; a test may make it refuse or fail."""

    deliveries: list[Delivery] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        if self.failures:
            raise self.failures.pop(0)
        outcome = Outcome()
        for delivery in deliveries:
            if delivery.key in self.refuse:
                outcome.refused[delivery.key] = self.refuse[delivery.key]
            else:
                self.deliveries.append(delivery)
                outcome.delivered.append(delivery.key)
        return outcome

    async def aclose(self) -> None:
        pass

    @property
    def keys(self) -> list[str]:
        return [delivery.key for delivery in self.deliveries]


class Bridge:
    """One project's worker over an emulated source. Time is simulated."""

    def __init__(self, **options: Any) -> None:
        self.clock = SimulatedClock()
        self.store = LogStore()
        self.fault: Callable[[str, int], Any] = lambda _path, _number: None
        emulator = EmulatorOptions(clock=self.clock, fault=self._fault, rate_limit=10**9)
        self.app = create_app(self.store, emulator)
        self.destination = Destination()
        self.ledger = MemoryLedger()
        self.measured: list[Measurement] = []
        self.warned: list[str] = []
        self.stop = asyncio.Event()
        self.detail = options.pop("detail", "all")
        self.recheck = options.pop("recheck", (30_000, 120_000))
        self.parent_wait_ms = options.pop("parent_wait_ms", 30_000)
        self.traces = options.pop("traces", TraceOptions())
        self.correlation_wait = options.pop("correlation_wait", CorrelationWait())
        self.observer = options.pop("observer", NO_OBSERVER)
        self.capacity = options.pop("capacity", Capacity())
        self.client = LogsClient(
            base_url="http://127.0.0.1",
            api_key=SecretStr("ak_test"),
            budget=Budget(1.0, self.clock),
            clock=self.clock,
            backoff=Backoff(first_s=0.1, attempts=3),
            transport=httpx.ASGITransport(self.app),
        )
        self.source = ProjectSource(self.client, (), self.detail, Concurrency(8))
        self.worker = self.new_worker()

    def _fault(self, path: str, number: int) -> Any:
        return self.fault(path, number)

    def new_worker(self) -> ProjectWorker:
        """As after a restart: everything but the ledger begins anew."""
        self.context = ProjectContext(
            project="p",
            source=self.source,
            ledger=self.ledger,
            clock=self.clock,
            stop=self.stop,
            observer=self.observer,
            capacity=self.capacity,
        )
        deliverer = Deliverer(
            self.context,
            resolver=IdentityResolver(
                "p",
                self.ledger,
                lambda log_id: self.source.parent(log_id, Priority.HEAD),
                memory=self.ledger,
                options=self.traces,
            ),
            mapper=Mapper(MappingOptions(project="p")),
            exporter=self.destination,
            waits=Waits(parent_ms=self.parent_wait_ms, correlation=self.correlation_wait),
            measure=self.measured.append,
            warn=self.warned.append,
        )
        return ProjectWorker(
            self.context,
            deliverer,
            WorkerOptions(
                start=lambda now_ms: now_ms - 3_600_000,
                interval=PollInterval(5.0),
                recheck_ages_ms=self.recheck,
                keep_ms=24 * 3_600_000,
            ),
        )

    def add(self, log_id: str, age_s: float = 60, **fields: Any) -> None:
        """Make a record visible whose timestamp lies ``age_s`` before now."""
        at_ms = self.clock.now_ms() - round(age_s * 1000)
        record = {
            "id": log_id,
            "timestamp": f"{httpx_time(at_ms)}",
            "type": "tool.execution",
            "status": "success",
            "level": "info",
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
            "metrics": {"duration_ms": 12},
            "parent": None,
            "context": {},
            "data": {},
            **fields,
        }
        self.store.add(record_of(json.loads(json.dumps(record)), at_ms))

    async def once(self) -> list[str]:
        """A run up to now; gives the keys that it delivered, in their order."""
        before = len(self.destination.deliveries)
        await self.worker.run_once()
        return self.destination.keys[before:]

    def span(self, log_id: str) -> Any:
        """The last span delivered for a record."""
        return next(each.span for each in reversed(self.destination.deliveries) if each.key == log_id)

    async def set_aside(self) -> dict[str, str]:
        """What is set aside, and why."""
        return {each.log_id: each.reason.value for each in await self.ledger.set_aside("p")}

    @property
    def requests(self) -> dict[str, int]:
        """Requests that the source has answered, by route."""
        return dict(self.app.stats()["requests"])


def httpx_time(ms: int) -> str:
    """ISO 8601 as the source writes it."""
    from otel_bridge.times import format_time  # noqa: PLC0415 - the one use

    return format_time(ms)


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Bridge]:
    bridge = Bridge(**options)
    await bridge.ledger.open()
    try:
        yield bridge
    finally:
        await bridge.client.aclose()


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with opened() as made:
        yield made


@pytest.fixture
def open_bridge() -> Callable[..., Any]:
    return opened
