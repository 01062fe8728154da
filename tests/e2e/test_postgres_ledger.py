"""The commands on a PostgreSQL ledger, alone and beside a replica."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from bridge_process import finish, run, start
from postgres_cluster import PASSWORD, cluster
from replica_stage import DATABASE, ReplicaStage, replica_stage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backend


async def command(stage: ReplicaStage, *arguments: str) -> tuple[int, str]:
    done = await run(*arguments, "--config", str(stage.folder / "config.yaml"), env=environment(stage))
    assert PASSWORD not in done.out + done.err
    assert "Traceback" not in done.err
    return done.status, done.out + done.err


def environment(stage: ReplicaStage) -> dict[str, str]:
    return {**stage.env, "OTEL_BRIDGE_STATE": stage.url}


async def test_once_again_and_beside_a_replica(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=2, records=60) as stage:
        status, said = await command(stage, "run", "--once")
        assert (status, "60 records delivered" in said) == (0, True), said
        status, said = await command(stage, "run", "--once")
        assert (status, "0 records delivered" in said) == (0, True), said
        assert stage.sink.ids == stage.ids
        assert stage.sink.resent == 0
        status, said = await command(stage, "status")
        assert "project-00:" in said
        assert "0 replicas at work" in said
        replica = await stage.start()
        async with asyncio.timeout(30):
            while "takes part as" not in replica.log:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        status, said = await command(stage, "run", "--once")
        assert (status, "stop the replicas first" in said) == (1, True), said
        # What a person asks for is planned here and collected there.
        status, said = await command(stage, "backfill", "--from", "3h", "--to", "90m")
        assert (status, "this command only watches" in said) == (0, True), said
        assert (
            stage.sql("SELECT count(*) FROM otel_bridge.windows WHERE lane = 'backfill' AND passes = 0")
            == "0"
        )
        assert await replica.terminate() == 0


async def test_a_replica_that_can_not_reach_its_database_says_so_and_ends(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=1, records=0) as stage:
        for url, words in (
            (cluster().url("no_such_database"), "is not there: create the database"),
            (cluster().url(DATABASE, port=1), "can't be reached"),
        ):
            process = await start(
                *("run", "--config", str(tmp_path / "config.yaml")),
                env={**environment(stage), "OTEL_BRIDGE_STATE": url},
            )
            done = await finish(process, 30)
            assert done.status == 1
            assert words in done.err
            assert len(done.err.strip().splitlines()) == 1
            assert PASSWORD not in done.err


async def test_a_stop_hands_everything_back(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=4, records=800, latency_ms=50) as stage:
        first = await stage.start()
        await stage.sink.until(lambda: bool(stage.sink.ids), 60)
        first.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await first.process.wait() == 0
        assert stage.sql("SELECT count(*) FROM otel_bridge.leases WHERE holder IS NOT NULL") == "0"
        assert stage.sql("SELECT count(*) FROM otel_bridge.replicas") == "0"
        await stage.start()
        await stage.until_all_is_delivered(60)
        assert stage.sink.resent == 0


async def test_a_locked_ledger_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=1, records=40) as stage:
        replica = await stage.start()
        await stage.until_all_is_delivered(60)
        async with await psycopg.AsyncConnection.connect(stage.url) as shell:
            await shell.execute(
                "LOCK TABLE otel_bridge.leases, otel_bridge.projects, otel_bridge.windows,"
                " otel_bridge.replicas IN ACCESS EXCLUSIVE MODE"
            )
            assert await replica.terminate() == 0


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_replicas_share_a_database_that_is_not_in_utf_8(encoding: str, tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=2, records=60, names="Łódź \\", encoding=encoding) as stage:
        for setting in ("datestyle = 'German, DMY'", "search_path = 'nowhere'"):
            cluster().sql(f"ALTER DATABASE {DATABASE} SET {setting}")
        replica = await stage.start()
        await stage.until_all_is_delivered(60)
        status, said = await command(stage, "status")
        assert (status, "Łódź \\00:" in said, "1 replica at work" in said) == (0, True, True), said
        assert await replica.terminate() == 0
        assert "failed" not in replica.log


async def test_a_range_is_delivered_again_alone_and_beside_a_replica(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=2, records=120, OTEL_BRIDGE_START="20m") as stage:
        status, said = await command(stage, "run", "--once")
        assert status == 0, said
        was = state(stage)
        collected = len(stage.sink.ids)
        assert 0 < collected < len(stage.ids), "a part of it lies before the start"
        status, said = await command(stage, "backfill", "--again", "--from", "19m", "--to", "1m")
        assert status == 0, said
        assert "records delivered again, 0 for the first time" in said
        assert stage.sink.resent > 0
        assert state(stage) == was
        replica = await stage.start()
        async with asyncio.timeout(30):
            while "takes part as" not in replica.log:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        status, said = await command(stage, "backfill", "--again", "--from", "1h", "--to", "1m")
        assert status == 0, said
        first = len(stage.ids) - collected
        assert f"{collected} records delivered again, {first} for the first time" in said
        assert stage.sink.ids == stage.ids
        assert not stage.sink.differing
        assert await replica.terminate() == 0
        status, said = await command(stage, "verify", "--from", "55m", "--to", "5m")
        assert status == 0, said


def state(stage: ReplicaStage) -> list[str]:
    """What the ledger knows of records and windows."""
    return [
        stage.sql(f"SELECT count(*), md5(string_agg(each::text, ' ' ORDER BY each::text)) FROM {table} each")  # noqa: S608 - our own names
        for table in ("otel_bridge.delivered", "otel_bridge.windows", "otel_bridge.set_aside")
    ]
