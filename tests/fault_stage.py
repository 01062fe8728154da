"""Where the fault suite plays: emulated source and destination in this process, the bridge in its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bridge_process import KEY, Finished, environment, finish, start
from chaotic_sink import ChaoticSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LiveSource
from otel_bridge.emulator.records import TOOL_EXECUTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from otel_bridge.emulator import Fault

SOAK_MINUTES = float(os.environ.get("OTEL_BRIDGE_SOAK_MINUTES", "0"))
"""How long the long variants go on; 0 for the short ones that guard every change."""

STOP_S = 10.0
"""The promise: SIGTERM to exit."""


def seed_of(name: str) -> int:
    """A random seed, printed; OTEL_BRIDGE_TEST_SEED runs the same one again."""
    seed = int(os.environ.get("OTEL_BRIDGE_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"{name}: OTEL_BRIDGE_TEST_SEED={seed}")  # noqa: T201 - the way to run the same faults again
    return seed


@dataclass
class Stage:
    """What a scenario needs at hand.

    Attributes:
        fault: What the source does wrong; a scenario may change it at any time.
        env: The environment of the bridge.
    """

    folder: Path
    source: EmulatorServer
    sink: ChaoticSink
    env: dict[str, str]
    fault: Callable[[str, int], Fault | None] = lambda _path, _number: None
    feed: asyncio.Task[None] | None = None

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.folder / "ledger.db"

    @property
    def ids(self) -> set[str]:
        """All that the source has made visible."""
        return set(self.source.store.log_ids())

    def sound(self, route: str) -> int:
        """Requests of a route (``list``, ``detail``) that the source answered as it should."""
        stats = self.source.api.stats()
        return int(stats["requests"][route] - stats["faults"][route])

    @property
    def requests(self) -> int:
        """Requests that have reached the source."""
        return sum(self.source.api.stats()["requests"].values())

    def go_live(self, rate: float, seed: int, late_ms: tuple[int, int] = (500, 4_000)) -> None:
        """Let new records appear, one in twenty of them late."""
        source = LiveSource(rate, seed, _now_ms(), late_share=0.05, late_ms=late_ms)

        async def feed() -> None:
            while True:
                for record in source.advance(_now_ms()):
                    self.source.store.add(record)
                await asyncio.sleep(0.05)

        self.feed = asyncio.create_task(feed())

    async def calm_down(self) -> None:
        """No further records, no further faults."""
        self.fault = lambda _path, _number: None
        self.sink.policy = ChaoticSink().policy
        self.sink.hangs_up_unread = lambda: False
        await self.end_feed()

    async def end_feed(self) -> None:
        """No further records."""
        if self.feed is not None:
            self.feed.cancel()
            await asyncio.gather(self.feed, return_exceptions=True)
            self.feed = None

    async def once(self, **variables: str) -> Finished:
        """``otel-bridge run --once``; where this is given up, the process ends with it."""
        process = await start("run", "--once", env={**self.env, **variables})
        try:
            return await finish(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def finish(self, timeout_s: float = 90) -> None:
        """Run to the end, and again while something still waits for its next try."""
        done = None
        try:
            async with asyncio.timeout(timeout_s):
                while done is None or done.status != 0:
                    done = await self.once()
        except TimeoutError:
            raise AssertionError(f"not everything could be delivered: {done}") from None

    def assert_nothing_lost_and_nothing_differs(self, but: frozenset[str] = frozenset()) -> None:
        """What the source has, the destination has kept: every record's log, every tool call's span."""
        records = {log_id: self.source.store.get(log_id) for log_id in self.ids - but}
        calls = {log_id for log_id, record in records.items() if record and record.type == TOOL_EXECUTION}
        for signal_name, there in (("logs", set(records)), ("traces", calls)):
            got = set(self.sink.kept[signal_name].digests)
            assert got == there, (
                f"{signal_name}: {len(there - got)} lost, {len(got - there)} made up, "
                f"such as {sorted(there ^ got)[:3]}"
            )
        differing = self.sink.differing
        assert not differing, f"{len(differing)} copies differ: {differing[:4]}"

    def locked_ledger(self) -> sqlite3.Connection:
        """Take SQLite's write lock from outside, as a backup would; closing the connection gives it back."""
        connection = sqlite3.connect(self.ledger, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        return connection


@dataclass
class Service:
    """``otel-bridge run`` as a process; its log is in a file, so that no pipe fills up."""

    stage: Stage
    process: asyncio.subprocess.Process
    log_path: Path
    began_s: float = field(default_factory=time.monotonic)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; harmless where the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self) -> None:
        """SIGTERM, and the promise that goes with it."""
        self.signal(signal.SIGTERM)
        await self.ended_cleanly()

    async def ended_cleanly(self) -> None:
        """After a SIGTERM: exit 0 in time, nothing for a person to see but its log."""
        async with asyncio.timeout(STOP_S):
            await self.process.wait()
        assert self.process.returncode == 0, self.log
        assert "Traceback" not in self.log
        assert KEY not in self.log

    async def until_it_asks(self, timeout_s: float = 60) -> None:
        """Wait for its first request to the source, which nobody else asks meanwhile."""
        before = self.stage.requests
        async with asyncio.timeout(timeout_s):
            while self.stage.requests == before:
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.01)

    async def until_logged(self, words: str, timeout_s: float = 60) -> None:
        """Wait for words in the log."""
        try:
            async with asyncio.timeout(timeout_s):
                while words not in self.log:  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in the log:\n{self.log}") from None

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return self.log_path.read_text(errors="replace")

    @property
    def rss_kb(self) -> int:
        """Memory that it holds, in KiB; 0 once it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(found[0]) if found else 0


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    logs: int = 0,
    seed: int = 1,
    latency_ms: int = 0,
    settings: Mapping[str, str] = MappingProxyType({}),
    **variables: str,
) -> AsyncIterator[Stage]:
    """Set the stage: ``logs`` records at first; ``settings`` and ``variables`` are the bridge's."""
    made: list[Stage] = []

    def fault(path: str, number: int) -> Fault | None:
        return made[0].fault(path, number)

    options = EmulatorOptions(logs=logs, seed=seed, latency_ms=latency_ms, fault=fault)
    async with ChaoticSink() as sink, EmulatorServer(options) as source:
        env = environment(
            folder,
            **{
                "COMPOSIO_API_KEY": KEY,
                "COMPOSIO_BASE_URL": source.base_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
                "OTEL_BRIDGE_SIGNALS": "traces,logs",
                "OTEL_BRIDGE_LOG_FORMAT": "text",
                **settings,
                **variables,
            },
        )
        made.append(Stage(folder, source, sink, env))
        try:
            yield made[0]
        finally:
            await made[0].calm_down()


@asynccontextmanager
async def service(on: Stage, **options: Any) -> AsyncIterator[Service]:
    """Start the service; whatever happens, it has ended when the block is left."""
    log_path = on.folder / f"service-{time.monotonic_ns()}.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *options.pop("command", (sys.executable, "-m", "otel_bridge", "run")),
            env=on.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **options,
        )
    started = Service(on, process, log_path)
    try:
        yield started
    finally:
        await started.kill()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
