"""A source or a destination that is down for an hour: few requests, few lines in the log, nothing lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from model_sender import ModelSender, somewhere
from simulated_clock import SimulatedClock

from otel_bridge.emulator import EmulatorOptions, LogStore, create_app, record_of
from otel_bridge.errors import DestinationUnavailable, SourceUnreachable
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.exporter.sender import Answer, Failed
from otel_bridge.ledger import MemoryLedger
from otel_bridge.retry import Backoff
from otel_bridge.service.circuits import say_circuit
from otel_bridge.service.crew import workers
from otel_bridge.settings import Settings, load
from otel_bridge.signals import Outcome
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.signals import Delivery

HOUR_S = 3600


class Everything:
    """A destination that takes everything."""

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        return Outcome(delivered=[each.key for each in deliveries])

    async def aclose(self) -> None:
        pass


@dataclass
class Scene:
    """Projects of one base URL, over an emulated source that can be down."""

    clock: SimulatedClock
    settings: Settings
    trouble: Callable[[httpx.Request], httpx.Response] | None = None
    asked: Counter[str] = field(default_factory=Counter)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    store: LogStore = field(default_factory=LogStore)

    def __post_init__(self) -> None:
        app = create_app(self.store, EmulatorOptions(clock=self.clock, rate_limit=10**9))
        self._emulator = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked[request.headers["x-api-key"]] += 1
        if self.trouble is not None:
            return self.trouble(request)
        return await self._emulator.handle_async_request(request)

    def add(self, log_id: str) -> None:
        at_ms = self.clock.now_ms() - 1000
        record = {
            "id": log_id,
            "timestamp": format_time(at_ms),
            "type": "tool.execution",
            "status": "success",
            "level": "info",
            "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
            "metrics": {"duration_ms": 12},
            "parent": None,
            "context": {},
            "data": {},
        }
        self.store.add(record_of(json.loads(json.dumps(record)), at_ms))

    @asynccontextmanager
    async def workers(self, exporter: Exporter) -> AsyncIterator[list[ProjectWorker]]:
        await self.ledger.open()
        transport = httpx.MockTransport(self.handle_async_request)
        async with workers(
            self.settings,
            ledger=self.ledger,
            exporter=exporter,
            clock=self.clock,
            stop=self.stop,
            transport=transport,
        ) as made:
            yield made

    @asynccontextmanager
    async def running(self, exporter: Exporter) -> AsyncIterator[None]:
        async with self.workers(exporter) as made:
            running = asyncio.gather(*(worker.run() for worker in made))
            yield
            self.stop.set()
            await running

    async def passes(self, seconds: float) -> None:
        await asyncio.create_task(self.clock.sleep(seconds))

    @property
    def requests(self) -> int:
        return self.asked.total()


@pytest.fixture
def scene_of(tmp_path: Path) -> Callable[[int], Scene]:
    def make(projects: int) -> Scene:
        path = tmp_path / "bridge.yaml"
        each = "".join(f"\n  - {{name: p{n}, api_key: ak_{n}}}" for n in range(projects))
        path.write_text(
            f"projects:{each}\ncollect: {{poll_interval: 5s}}\n"
            "export: {signals: traces}\nhttp: {listen: 127.0.0.1:0}\n"
        )
        return Scene(SimulatedClock(), load(path, environ={}))

    return make


@pytest.fixture
def actions(caplog: pytest.LogCaptureFixture) -> Callable[[], Counter[str]]:
    caplog.set_level(logging.INFO, logger="otel_bridge")
    return lambda: Counter(vars(record).get("fields", {}).get("action", "") for record in caplog.records)


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def status(code: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(code, headers=headers)


# ── the source ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("trouble", [refused, status(500), status(503)], ids=["refused", "500", "503"])
@pytest.mark.parametrize("projects", [1, 10])
async def test_a_dead_source_is_asked_about_once_a_minute_by_all_projects_together(
    scene_of: Callable[[int], Scene],
    actions: Callable[[], Counter[str]],
    trouble: Callable[[httpx.Request], httpx.Response],
    projects: int,
) -> None:
    scene = scene_of(projects)
    scene.add("log_1")
    scene.trouble = trouble
    async with scene.running(Everything()):
        await scene.passes(HOUR_S)
        assert 50 <= scene.requests <= 140, "30 s to 60 s between two tries, and what it took to find out"
        for each in await scene.ledger.status([f"p{n}" for n in range(projects)]):
            assert each.last_error is not None
            assert "https://backend.composio.dev is down since 10:00:0" in each.last_error
        told = actions()
        assert told["circuit_opened"] == 1
        assert told["pass_failed"] <= 2 * projects, "and not one for each try"
        asked = Counter(scene.asked)
        scene.trouble = None
        await scene.passes(61)
        assert all(scene.asked[key] > asked[key] for key in scene.asked), "every project is back in a minute"
        assert actions()["circuit_closed"] == 1
        for status_ in await scene.ledger.status([f"p{n}" for n in range(projects)]):
            assert (status_.delivered, status_.last_error) == (1, None)


async def test_a_source_that_says_when_it_is_back_is_left_alone_until_then(
    scene_of: Callable[[int], Scene],
) -> None:
    scene = scene_of(10)
    scene.trouble = status(503, **{"retry-after": "1800"})
    async with scene.running(Everything()):
        await scene.passes(1799)
        assert scene.requests <= 10, "what was under way when the first answer came"
        before = scene.requests
        await scene.passes(10)
        assert scene.requests <= 11
        assert scene.requests > before, "and then asked again, once"


async def test_one_bad_record_of_one_project_stops_nobody(
    scene_of: Callable[[int], Scene], actions: Callable[[], Counter[str]]
) -> None:
    scene = scene_of(1)
    emulator = scene._emulator

    class Bad(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("log_bad"):
                return httpx.Response(500)
            return await emulator.handle_async_request(request)

    scene._emulator = Bad()  # type: ignore[assignment] # as much of it as is used
    scene.add("log_bad")
    async with scene.running(Everything()):
        await scene.passes(120)
        scene.add("log_good")
        await scene.passes(10)
    (told,) = await scene.ledger.status(["p0"])
    assert told.delivered == 1
    assert actions()["circuit_opened"] == 0


async def test_a_dead_source_ends_a_single_run_soon_for_every_project(
    scene_of: Callable[[int], Scene],
) -> None:
    scene = scene_of(10)
    scene.trouble = refused
    async with scene.workers(Everything()) as made:
        ends = await asyncio.gather(*(worker.run_once() for worker in made), return_exceptions=True)
    assert all(isinstance(end, SourceUnreachable) and "composio.dev" in str(end) for end in ends)
    assert scene.clock.monotonic_s() <= 20
    assert scene.requests <= 20


async def test_a_short_outage_does_not_end_a_single_run(scene_of: Callable[[int], Scene]) -> None:
    scene = scene_of(3)
    for number in range(40):
        scene.add(f"log_{number}")

    async def interrupt() -> None:
        while scene.requests < 20:
            await scene.clock.sleep(0)
        scene.trouble = refused
        await scene.clock.sleep(2)
        scene.trouble = None

    async with scene.workers(Everything()) as made:
        interrupting = asyncio.create_task(interrupt())
        tallies = await asyncio.gather(*(worker.run_once() for worker in made))
        await interrupting
    assert [tally.delivered for tally in tallies] == [40, 40, 40]


# ── the destination ──────────────────────────────────────────────────────────────────────────────────
class Fragile(ModelSender):
    """A destination that is down while it has a trouble."""

    trouble: Exception | Answer | None = None

    async def send(self, body: bytes) -> Answer:
        if self.trouble is None:
            return await super().send(body)
        self.requests.append([])
        await asyncio.sleep(0)
        if isinstance(self.trouble, Exception):
            raise self.trouble
        return self.trouble


def exporter_to(sender: ModelSender, clock: SimulatedClock, attempts: int | None = None) -> OtlpExporter:
    return OtlpExporter(
        {Signal.TRACES: somewhere(Signal.TRACES)},
        clock=clock,
        backoff=Backoff(first_s=0.5, most_s=60.0, attempts=attempts),
        senders=lambda _: sender,
        on_circuit=say_circuit,
    )


@pytest.mark.parametrize(
    ("trouble", "most"),
    [
        (DestinationUnavailable("POST there: 503"), 140),
        (DestinationUnavailable("POST there: 503", 600), 15),
        (Failed("POST there: 500"), 140),
    ],
    ids=["503", "503 with Retry-After", "500"],
)
async def test_a_destination_that_is_down_for_an_hour_gets_few_requests_and_then_everything(
    scene_of: Callable[[int], Scene],
    actions: Callable[[], Counter[str]],
    trouble: Exception | Answer,
    most: int,
) -> None:
    scene = scene_of(5)
    sender = Fragile()
    sender.trouble = trouble
    exporter = exporter_to(sender, scene.clock)
    for number in range(20):
        scene.add(f"log_{number}")
    async with scene.running(exporter):
        await scene.passes(HOUR_S)
        assert len(sender.requests) <= most
        (state,) = exporter.circuits
        assert state.waiting == 5
        assert actions()["circuit_opened"] == 1
        sender.trouble = None
        await scene.passes(601 if most < 100 else 61)
        assert actions()["circuit_closed"] == 1
        for each in await scene.ledger.status([f"p{n}" for n in range(5)]):
            assert each.delivered == 20
    assert set(sender.holds.values()) == {1}
    assert sum(sender.holds.values()) == 100


async def test_a_dead_destination_ends_a_single_run_soon_for_every_project(
    scene_of: Callable[[int], Scene],
) -> None:
    scene = scene_of(5)
    scene.add("log_1")
    sender = Fragile()
    sender.trouble = DestinationUnavailable("POST there: no connection")
    async with scene.workers(exporter_to(sender, scene.clock, attempts=5)) as made:
        ends = await asyncio.gather(*(worker.run_once() for worker in made), return_exceptions=True)
    assert all(isinstance(end, DestinationUnavailable) and "no connection" in str(end) for end in ends)
    assert scene.clock.monotonic_s() <= 20
    assert len(sender.requests) <= 12
