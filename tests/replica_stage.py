"""Where replicas play: emulated projects and a destination in this process, processes that share them.

The database can be restarted, and the way of one replica to it cut.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import postgres_cluster
import yaml
from bridge_process import environment
from chaotic_sink import ChaoticSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.generation import generate
from otel_bridge.emulator.store import LogStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DATABASE = "replicas"


@dataclass
class ReplicaProcess:
    """One process; one that is started in the place of another has its slot."""

    process: asyncio.subprocess.Process
    log_path: Path
    url: str
    slot: int = 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self, within_s: float = 10.0) -> int:
        """SIGTERM; returns the exit status and the promise of its time."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return self.log_path.read_text(errors="replace")


@dataclass
class ReplicaStage:
    """What a scenario needs at hand.

    Attributes:
        stores: By project.
        url: The ledger, as a replica's setting has it.
        program: What a replica is, for Python.
    """

    folder: Path
    source: EmulatorServer
    sink: ChaoticSink
    stores: dict[str, LogStore]
    url: str
    env: dict[str, str]
    replicas: list[ReplicaProcess] = field(default_factory=list)
    program: tuple[str, ...] = ("-m", "otel_bridge")

    @property
    def ids(self) -> set[str]:
        """All that the projects hold."""
        return {log_id for store in self.stores.values() for log_id in store.log_ids()}

    async def start_again(self, ended: ReplicaProcess) -> ReplicaProcess:
        """Start one in the place of another."""
        replica = await self.start(ended.url)
        replica.slot = ended.slot
        return replica

    async def start(self, url: str | None = None, **variables: str) -> ReplicaProcess:
        """Start one more replica; ``url`` is another way to the database."""
        slot = len({each.slot for each in self.replicas})
        log_path = self.folder / f"replica-{len(self.replicas)}-{time.monotonic_ns()}.log"
        way = url or self.url
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self.program, "run", "--config", str(self.folder / "config.yaml")),
                env={**self.env, "OTEL_BRIDGE_STATE": way, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        replica = ReplicaProcess(process, log_path, way, slot)
        self.replicas.append(replica)
        return replica

    async def until_all_is_delivered(self, timeout_s: float) -> None:
        """Wait until the destination has every record and the ledger says so too."""
        await self.sink.until(lambda: self.sink.ids >= self.ids, timeout_s)

    def sql(self, statement: str) -> str:
        """Ask the database."""
        return postgres_cluster.cluster().sql(statement, DATABASE)


@asynccontextmanager
async def replica_stage(
    folder: Path,
    *,
    projects: int,
    records: int,
    latency_ms: int = 0,
    names: str = "project-",
    encoding: str = "UTF8",
    **variables: str,
) -> AsyncIterator[ReplicaStage]:
    """Set the stage; ``records`` is for all projects together, ``encoding`` the database's."""
    url = postgres_cluster.new_database(DATABASE, encoding)
    now_ms = time.time_ns() // 1_000_000
    stores, keys = {}, {}
    for number in range(projects):
        name = f"{names}{number:02}"
        store = LogStore()
        for record in generate(records // projects, 1000 + number, now_ms - 40 * 60_000, now_ms - 60_000):
            store.add(record)
        stores[name], keys[name] = store, f"ak_replicas_{number:02}"
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(ChaoticSink())
        options = EmulatorOptions(
            logs=0,
            latency_ms=latency_ms,
            api_keys=("ak_nobody",),
            projects={keys[name]: store for name, store in stores.items()},
            organisations={keys[name]: name for name in stores},
        )
        source = await stack.enter_async_context(EmulatorServer(options))
        config = {
            "projects": [
                {"name": name, "api_key": keys[name], "base_url": source.base_url} for name in stores
            ]
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        env = environment(
            folder,
            **{
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
                "OTEL_BRIDGE_SIGNALS": "traces,logs",
                "OTEL_BRIDGE_LOG_FORMAT": "text",
                "OTEL_BRIDGE_POLL_INTERVAL": "1s",
                "OTEL_BRIDGE_LEASE": "3s",
                "OTEL_BRIDGE_PARENT_WAIT": "2s",
                **variables,
            },
        )
        stage = ReplicaStage(folder, source, sink, stores, url, env)
        try:
            yield stage
        finally:
            for replica in stage.replicas:
                replica.signal(signal.SIGCONT)
                await replica.kill()


def port_of(url: str) -> int:
    """The port in a database's URL."""
    return urlsplit(url).port or 5432
