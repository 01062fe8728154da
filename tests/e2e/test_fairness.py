"""A noisy project and a large backfill beside quiet projects: their new records come as soon as without."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING

import pytest
from bridge_process import finish, start
from replica_stage import replica_stage

from otel_bridge.emulator.generation import generate

if TYPE_CHECKING:
    from pathlib import Path

    from replica_stage import ReplicaStage

pytestmark = [pytest.mark.backend, pytest.mark.slow]
QUIET = ("project-02", "project-03", "project-04")
ROUNDS = 3


async def test_what_is_new_does_not_wait_for_what_is_much(tmp_path: Path) -> None:
    limits = {"OTEL_BRIDGE_CONCURRENCY": "2", "OTEL_BRIDGE_START": "10m", "OTEL_BRIDGE_VERIFY_EVERY": "0s"}
    async with replica_stage(tmp_path, projects=5, records=0, latency_ms=50, **limits) as stage:
        alive = [await stage.start() for _ in range(2)]
        await stage.sink.until(lambda: all("takes part as" in each.log for each in alive), 30)
        await delays(stage, rounds=1)
        before_s = await delays(stage)
        now_ms = time.time_ns() // 1_000_000
        # One project has a thousand new records, another one two thousand of yesterday to be collected anew.
        for record in generate(1_000, 1, now_ms - 5_000, now_ms - 1):
            stage.stores["project-00"].add(record)
        for record in generate(2_000, 2, now_ms - 30 * 3_600_000, now_ms - 20 * 3_600_000):
            stage.stores["project-01"].add(record)
        environ = {**stage.env, "OTEL_BRIDGE_STATE": stage.url}
        asking = await start(
            *("backfill", "--from", "31h", "--to", "19h", "--config", str(tmp_path / "config.yaml")),
            env=environ,
        )
        await stage.sink.until(lambda: busy(stage, "project-00") and busy(stage, "project-01"), 30)
        during_s = await delays(stage)
        assert not stage.sink.ids >= ids(stage, "project-00"), "it was noisy all the while"
        assert not stage.sink.ids >= ids(stage, "project-01"), "the backfill went on all the while"
        asking.terminate()
        await finish(asking, 15)
        ratio = during_s / before_s
        print(f"new records after {before_s:.2f} s, with noise after {during_s:.2f} s: {ratio:.2f}")  # noqa: T201
        assert ratio < 3
        assert [await each.terminate(15) for each in alive] == [0, 0]


def ids(stage: ReplicaStage, *projects: str) -> set[str]:
    return {log_id for project in projects for log_id in stage.stores[project].log_ids()}


def busy(stage: ReplicaStage, project: str) -> bool:
    return not stage.sink.ids.isdisjoint(ids(stage, project))


async def delays(stage: ReplicaStage, rounds: int = ROUNDS) -> float:
    """How long a new record of a quiet project takes to its destination, in seconds; the median."""
    found = []
    for _ in range(rounds):
        began = {}
        for project in QUIET:
            now_ms = time.time_ns() // 1_000_000
            seed = random.SystemRandom().randrange(10**9)
            for record in generate(1, seed, now_ms - 2, now_ms - 1):
                stage.stores[project].add(record)
                began[record.log_id] = time.monotonic()
        waiting = dict(began)
        async with asyncio.timeout(30):
            while waiting:
                there = [each for each in waiting if each in stage.sink.ids]
                found += [time.monotonic() - waiting.pop(log_id) for log_id in there]
                await asyncio.sleep(0.02)
    return statistics.median(found)
