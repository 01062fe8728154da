"""A live feed in simulated time: how fresh it is delivered, and what that costs in requests."""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from direct_source import DirectSource
from simulated_clock import SimulatedClock

from otel_bridge.emulator import LogStore, record_of
from otel_bridge.ledger import MemoryLedger
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.context import ProjectContext
from otel_bridge.pipeline.deliver import Deliverer, Waits
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.pipeline.polling import AutoPollInterval, PollInterval
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import Priority
from otel_bridge.service.worker import ProjectWorker, WorkerOptions
from otel_bridge.signals import Delivery, Outcome
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

POLL_S: Final = 5.0
RECHECK_S: Final = (30, 120, 600, 3_600)
_TICK_S: Final = 0.1

LATENESS: Final[dict[str, Callable[[Random], float]]] = {
    "at once": lambda _: 0.0,
    "0.3 s": lambda _: 0.3,
    "as long as a call": lambda rng: min(rng.lognormvariate(0.3, 1.0), 20.0),
}
"""How long after its time a record becomes visible, in seconds. The last one is what comes of a list that
goes by the time at which calls began: 1.3 s in the middle, 7 s for one in twenty.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to.

    Attributes:
        p50_s: From a record's becoming visible to its delivery, in the middle, in seconds.
        p95_s: The same for the slowest twentieth.
        requests: For each record delivered, lists and details together, re-checks included.
        backlog: How many were visible and not delivered when the feed ended.
    """

    records: int
    p50_s: float
    p95_s: float
    requests: float
    backlog: int = 0


class Stopwatch:
    """A destination that notes when each record comes."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.delivered_s: dict[str, float] = {}

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        for each in deliveries:
            assert each.key not in self.delivered_s
            self.delivered_s[each.key] = self._clock.monotonic_s()
        return Outcome(delivered=[each.key for each in deliveries])

    async def aclose(self) -> None:
        pass


async def simulate(
    rate: float,
    seconds: float,
    lateness: str,
    seed: int = 1,
    *,
    client_of: Callable[[LogStore, SimulatedClock], DirectSource] = DirectSource,
    overrun: bool = False,
) -> Run:
    """Run a worker beside a feed of ``rate`` records a second. Exports take no time.

    Args:
        rate: Records a second.
        seconds: How long the feed goes on.
        lateness: See ``LATENESS``.
        seed: Of the feed.
        client_of: What is asked; by default answers take no time and nothing limits them.
        overrun: Whether the feed may be more than can be delivered. Then what is left when it ends stays so.
    """
    clock, store = SimulatedClock(), LogStore()
    client = client_of(store, clock)
    async with working(client, clock, start_ms=clock.now_ms()) as watch:
        records = _records(rate, seconds, lateness, seed, clock)
        visible_s = await asyncio.create_task(_feed(store, clock, records))
        backlog = len(visible_s) - len(watch.delivered_s)
        ended_s = clock.monotonic_s()
        if not overrun:
            await asyncio.create_task(clock.sleep(45))  # until the first re-check has been made of all
    if not overrun:
        assert watch.delivered_s.keys() == visible_s.keys()
    waits = [watch.delivered_s[log_id] - visible_s[log_id] for log_id in watch.delivered_s]
    if overrun:
        waits = [
            min(watch.delivered_s.get(log_id, ended_s), ended_s) - seen_s
            for log_id, seen_s in visible_s.items()
        ]
    return Run(
        len(waits),
        statistics.median(waits),
        statistics.quantiles(waits, n=20)[-1],
        sum(client.requests.values()) / max(len(watch.delivered_s), 1),
        backlog,
    )


@asynccontextmanager
async def working(client: Any, clock: SimulatedClock, *, start_ms: int) -> AsyncIterator[Stopwatch]:
    """A worker that collects from ``start_ms`` on, and when it has delivered what."""
    stop, ledger, watch = asyncio.Event(), MemoryLedger(), Stopwatch(clock)
    await ledger.open()
    source = ProjectSource(client, (), "all", Concurrency(16))
    context = ProjectContext(project="p", source=source, ledger=ledger, clock=clock, stop=stop)
    deliverer = Deliverer(
        context,
        resolver=IdentityResolver("p", ledger, lambda log_id: source.parent(log_id, Priority.HEAD)),
        mapper=Mapper(MappingOptions(project="p")),
        exporter=watch,
        waits=Waits(parent_ms=30_000),
    )
    options = WorkerOptions(
        start=lambda _: start_ms,
        interval=AutoPollInterval(client.budget) if hasattr(client, "budget") else PollInterval(POLL_S),
        recheck_ages_ms=tuple(each * 1000 for each in RECHECK_S),
        keep_ms=24 * 3_600_000,
    )
    worker = ProjectWorker(context, deliverer, options)
    running = asyncio.create_task(worker.run())
    yield watch
    stop.set()
    await running


def _records(
    rate: float, seconds: float, lateness: str, seed: int, clock: SimulatedClock
) -> list[tuple[float, int, str]]:
    """When each becomes visible (simulated seconds), the time it bears (ms since the epoch), its id."""
    rng = Random(seed)
    began_s, began_ms = clock.monotonic_s(), clock.now_ms()
    drawn = []
    for number in range(round(rate * seconds)):
        at_s = rng.uniform(0, seconds)
        late_s = LATENESS[lateness](rng)
        drawn.append((began_s + at_s + late_s, began_ms + round(at_s * 1000), f"log_{number}"))
    return sorted(drawn)


async def _feed(
    store: LogStore, clock: SimulatedClock, records: list[tuple[float, int, str]]
) -> dict[str, float]:
    waiting = deque(records)
    visible_s = {}
    while waiting:
        await clock.sleep(_TICK_S)
        while waiting and waiting[0][0] <= clock.monotonic_s():
            _, at_ms, log_id = waiting.popleft()
            store.add(record_of(_log(log_id, at_ms), at_ms))
            visible_s[log_id] = clock.monotonic_s()
    return visible_s


def _log(log_id: str, at_ms: int) -> dict[str, Any]:
    return {
        "id": log_id,
        "timestamp": format_time(at_ms),
        "type": "tool.execution",
        "status": "success",
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
        "metrics": {"duration_ms": 12},
        "parent": None,
        "context": {},
        "data": {},
    }
