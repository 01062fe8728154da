"""A project's whole collection under adversity: what is true, what was acknowledged, and what must hold.

The source's own time is true and only grows; the bridge's wall clock may jump. A process is one life: it ends
by being stopped, or by a crash at any await, after which nothing of it reaches the ledger or the destination.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from collection_doors import Crash, DestinationDoor, InlineSqlite, LedgerDoor, Life, Peril, Source
from pydantic import SecretStr
from simulated_clock import START_MS

from otel_bridge.emulator import EmulatorOptions, LogStore, create_app, record_of
from otel_bridge.errors import BridgeError, RecordNotFound
from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.ledger import Lane
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.receiver.models import Detail
from otel_bridge.retry import Backoff
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger import DeliveredRecord
    from otel_bridge.signals import Delivery

PROJECT: Final = "p"
_ROUND_S: Final = 60
_ROUNDS: Final = 30


class World:
    """Everything around the worker, and the truth."""

    def __init__(self, bridge: Any, *, order: str = "newest", to_inclusive: bool = False) -> None:
        self.bridge = bridge
        self.clock = bridge.clock
        self.ledger: Any = bridge.ledger
        self.store = LogStore(to_inclusive=to_inclusive, order=order)  # type: ignore[arg-type]  # drawn
        app = create_app(self.store, EmulatorOptions(clock=self.clock, rate_limit=10**9))
        self.source = Source(self, app)
        self.client = LogsClient(
            base_url="http://127.0.0.1",
            api_key=SecretStr("ak_test"),
            budget=Budget(1.0, self.clock),
            clock=self.clock,
            backoff=Backoff(first_s=0.1, attempts=3),
            transport=self.source,
        )
        self.perils: list[Peril] = []
        self.incidents = 0
        self.outage_until_s = 0.0
        self.outage_blocks = False
        self.acks: Counter[str] = Counter()
        self.violations: list[str] = []
        self._acked: dict[str, tuple[bytes, int]] = {}
        self._start_ms: int | None = None
        self._watermark_ms = 0
        self._sealed_ms = 0
        self._last_once_ms = 0
        self._feeders: list[asyncio.Task[None]] = []
        self._life: Life | None = None
        self._running: asyncio.Task[Any] | None = None

    # ── the source's side ────────────────────────────────────────────────────────────────────────────
    @property
    def true_ms(self) -> int:
        elapsed_s: float = self.clock.monotonic_s()
        return START_MS + round(elapsed_s * 1000)

    def happen(self, log_id: str, at_ms: int, *, visible_in_s: float = 0.0, **fields: Any) -> None:
        """A tool call whose record bears the time ``at_ms`` and is to be seen after that many seconds."""
        record = {
            "id": log_id,
            "timestamp": format_time(at_ms),
            "type": "tool.execution",
            "status": "success",
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
            "metrics": {"duration_ms": 12},
            "parent": None,
            "context": {},
            **fields,
        }
        made = record_of(record, at_ms)
        if visible_in_s <= 0:
            self.store.add(made)
            return

        async def appear() -> None:
            await self.clock.sleep(visible_in_s)
            self.store.add(made)

        self._feeders.append(asyncio.create_task(appear()))

    # ── processes ────────────────────────────────────────────────────────────────────────────────────
    def begin(self) -> Any:
        bridge = self.bridge
        self._life = Life(self)
        bridge.ledger = LedgerDoor(self._life)
        bridge.destination = DestinationDoor(self._life)
        bridge.source = ProjectSource(self.client, (), "all", Concurrency(8))
        bridge.stop = asyncio.Event()
        bridge.worker = bridge.new_worker()
        return bridge.worker

    async def start(self) -> None:
        """Begin to collect, or begin again after a crash."""
        if self._running is None or self._running.done():
            await self.end()
            await self._reopen()
            self._running = asyncio.create_task(self.begin().run())

    async def end(self, ticks: int | None = None) -> None:
        """Stop the process; with ``ticks``, kill it after so many turns of the event loop."""
        running, self._running = self._running, None
        if running is None or self._life is None:
            return
        if ticks is None:
            self.bridge.stop.set()
        else:
            for _ in range(ticks):
                await asyncio.sleep(0)
            self._life.dead = True
            self.incidents += 1
            running.cancel()
        await asyncio.wait({running})
        self._life.dead = True
        self.bridge.stop.set()  # a crash may leave a loop that sleeps
        if not running.cancelled():
            error = running.exception()
            if error is not None and not isinstance(error, Crash):
                raise error

    async def once(self) -> None:
        """A run up to now; it may fail or crash."""
        await self.end()
        await self._reopen()
        self._last_once_ms = self.clock.now_ms()
        running = asyncio.create_task(self.begin().run_once())
        await asyncio.wait({running})
        if self._life is not None:
            self._life.dead = True
        error = running.exception()
        if error is not None and not isinstance(error, (Crash, BridgeError)):
            raise error

    async def _reopen(self) -> None:
        if isinstance(self.ledger, InlineSqlite):  # a new process finds what is on disk
            await self.ledger.close()
            await self.ledger.open()

    async def rest(self, seconds: float) -> None:
        """Let simulated time pass."""
        await asyncio.create_task(self.clock.sleep(seconds))

    def peril_at(self, door: str) -> Peril | None:
        for peril in self.perils:
            if peril.door == door:
                peril.call -= 1
                if peril.call <= 0:
                    self.perils.remove(peril)
                    return peril
        return None

    async def recover(self) -> None:
        """All troubles end; then it takes a bounded time until everything is delivered and sealed."""
        await self.end()
        self.perils.clear()
        self.source.trouble.clear()
        self.source.latency_s = 0.0
        self.outage_until_s = 0.0
        if self._feeders:
            await asyncio.gather(*self._feeders)
        for _ in range(_ROUNDS):
            await self.rest(_ROUND_S)
            await self.once()
            if await self._done():
                return

    async def _done(self) -> bool:
        status = (await self.ledger.status([PROJECT]))[0]
        known = await self.ledger.identities(PROJECT, self.store.log_ids())
        return len(known) == len(self.store) and not status.set_aside

    # ── what must hold at every moment ───────────────────────────────────────────────────────────────
    def must(self, holds: bool, what: str) -> None:
        """Note what does not hold: an error raised here would be handled by the worker as any other."""
        if not holds:
            self.violations.append(what)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing that the ledger has comes again; what a crash brings again is the same, byte for byte."""
        keys = [each.key for each in deliveries]
        self.must(len(set(keys)) == len(keys), "one batch holds a record twice")
        committed = await self.ledger.identities(PROJECT, keys)
        self.must(not committed, f"{sorted(committed)} came again after they were committed")
        for delivery in deliveries:
            content = bytes_of(delivery)
            before = self._acked.get(delivery.key)
            if before is not None:
                self.must(before[0] == content, f"{delivery.key} came again with other bytes")
                self.must(before[1] < self.incidents, f"{delivery.key} came again without a crash")
            self._acked[delivery.key] = (content, self.incidents)
            self.acks[delivery.key] += 1

    def step_clock(self, ms: int) -> None:
        """The bridge's clock jumps. Set back, it shows that the newest windows end in the future: these are
        collected again, so the laws of growth begin anew."""
        self.clock.step_wall_clock(ms)
        if ms < 0:
            self._watermark_ms = self._sealed_ms = 0

    async def check_windows(self) -> None:
        """The lane is one unbroken line, which only grows, and sealed time stays sealed."""
        windows = await self.ledger.windows(PROJECT, Lane.LIVE)
        if not windows:
            return
        for left, right in itertools.pairwise(windows):
            self.must(left.to_ms == right.from_ms, "the lane has a gap or an overlap")
        if self._start_ms is None:
            self._start_ms = windows[0].from_ms
        self.must(windows[0].from_ms == self._start_ms, "the lane's start moved")
        now_ms = self.clock.now_ms()
        sealed_ms = sum(window.length_ms for window in windows if window.sealed and window.to_ms <= now_ms)
        self.must(windows[-1].to_ms >= self._watermark_ms, "the lane became shorter")
        self.must(sealed_ms >= self._sealed_ms, "sealed time was opened again")
        ahead = windows[-1].to_ms > now_ms + 1000  # and about to be taken back
        self._watermark_ms, self._sealed_ms = 0 if ahead else windows[-1].to_ms, sealed_ms

    async def check_listed(self, **time_range: int) -> None:
        """Sealed time is never listed again, but for the millisecond that adjoining windows share."""
        from_ms, to_ms = time_range["from"], time_range["to"]
        for window in await self.ledger.windows(PROJECT, Lane.LIVE, from_ms=from_ms, to_ms=to_ms):
            self.must(not window.sealed, f"sealed time is listed again: {from_ms}..{to_ms}")

    async def check_sealed(self, last_age_ms: int) -> None:
        """What had reached the last age when a run up to then began needs nothing more."""
        for window in await self.ledger.windows(PROJECT, Lane.LIVE):
            assert window.sealed or window.to_ms + last_age_ms > self._last_once_ms

    async def check_all_delivered(self) -> None:
        """Every record there is: acknowledged, committed, with the bytes that the records alone decide."""
        ids = self.store.log_ids()
        committed = await self.ledger.identities(PROJECT, ids)
        assert not self.violations, self.violations
        aside = {each.log_id: each.reason.value for each in await self.ledger.set_aside(PROJECT)}
        assert not aside
        assert set(ids) == set(committed), f"not collected: {sorted(set(ids) - set(committed))}"
        assert set(ids) == set(self.acks)
        (status,) = await self.ledger.status([PROJECT])
        assert status.delivered == len(ids)
        expected = await deliveries_of(self.store)
        for log_id in ids:
            assert self._acked[log_id][0] == bytes_of(expected[log_id]), f"{log_id} has another identity"


def bytes_of(delivery: Delivery) -> bytes:
    """What goes over the wire."""
    return encode_traces([delivery]) + encode_logs([delivery])


class _NothingKnown:
    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:  # noqa: ARG002
        return {}


async def deliveries_of(store: LogStore) -> dict[str, Delivery]:
    """What all records become when they are looked at together."""
    details = []
    for log_id in store.log_ids():
        record = store.get(log_id)
        assert record is not None
        details.append(Detail.read(record.detail))
    by_id = {each.id: each for each in details}

    async def fetch(log_id: str) -> Detail:
        if log_id not in by_id:
            raise RecordNotFound(log_id)
        return by_id[log_id]

    resolution = await IdentityResolver(PROJECT, _NothingKnown(), fetch).resolve(details)
    mapper = Mapper(MappingOptions(project=PROJECT))
    return {each.id: mapper.delivery(each, resolution.identities[each.id]) for each in details}
