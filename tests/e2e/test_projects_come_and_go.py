"""Projects join and leave a service that runs: from a folder of one process, from a table of two replicas."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from postgres_cluster import PASSWORD, cluster
from replica_stage import DATABASE, ReplicaProcess, ReplicaStage, replica_stage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backend


def ids_of(stage: ReplicaStage, *numbers: int) -> set[str]:
    return {log_id for number in numbers for log_id in stage.stores[f"project-{number:02}"].log_ids()}


async def until_said(replica: ReplicaProcess, words: str) -> None:
    async with asyncio.timeout(30):
        while words not in replica.log:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


async def test_files_of_a_folder(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=3, records=90) as stage:
        (tmp_path / "config.yaml").write_text("{}")
        folder = tmp_path / "projects"
        folder.mkdir()

        def write(number: int, more: str = "") -> None:
            key = f"api_key: ak_replicas_{number:02}\nbase_url: {stage.source.base_url}\n{more}"
            (folder / f"project-{number:02}.yaml").write_text(key)

        write(0)
        (folder / "wrong.yaml").write_text("api_key: ${env:NOT_THERE}")
        one = await stage.start(f"sqlite:///{tmp_path}/ledger.db", OTEL_BRIDGE_PROJECTS=str(folder))
        await stage.sink.until(lambda: stage.sink.ids == ids_of(stage, 0), 30)
        assert "wrong.yaml: api_key is ${env:NOT_THERE}: the variable NOT_THERE is not set" in one.log
        write(1)
        await stage.sink.until(lambda: stage.sink.ids == ids_of(stage, 0, 1), 30)
        (folder / "project-00.yaml").unlink()
        await until_said(one, "project-00 is not collected any more")
        (folder / "project-01.yaml").write_text("api_key: [")
        await until_said(one, "it is collected as it was")
        (folder / "wrong.yaml").write_text(
            f"{{name: project-02, api_key: ak_replicas_02, base_url: '{stage.source.base_url}'}}"
        )
        await stage.sink.until(lambda: stage.sink.ids == ids_of(stage, 0, 1, 2), 30)
        assert await one.terminate() == 0
        assert stage.sink.resent == 0
        assert "Traceback" not in one.log


async def test_rows_of_a_table(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, projects=3, records=90) as stage:
        (tmp_path / "config.yaml").write_text("{}")
        (tmp_path / "key").write_text("ak_replicas_01\n")
        variables = {
            "OTEL_BRIDGE_PROJECTS": "table",
            "COMPOSIO_BASE_URL": stage.source.base_url,
            "KEY_OF_0": "ak_replicas_00",
        }
        alive = [await stage.start(**variables) for _ in range(2)]
        for each in alive:
            await until_said(each, "collects no project yet")
            await until_said(each, "takes part as")

        def put(number: int, settings: dict[str, object]) -> None:
            text = json.dumps(settings).replace("'", "''")
            row = f"('project-{number:02}', '{text}')"
            stage.sql(f"INSERT INTO otel_bridge.project_settings (name, settings) VALUES {row}")  # noqa: S608 - its own words

        put(0, {"api_key": "${env:KEY_OF_0}", "organization": "acme"})
        await stage.sink.until(lambda: stage.sink.ids == ids_of(stage, 0), 30)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            put(2, {"api_key": "ak_replicas_02"})
        assert "api_key_is_a_reference" in refused.value.stderr
        with pytest.raises(subprocess.CalledProcessError):
            put(2, {})
        put(2, {"api_key": "${env:NOT_THERE}"})
        for each in alive:
            await until_said(each, "'project-02': api_key is ${env:NOT_THERE}: the variable NOT_THERE is not")
        put(1, {"api_key": f"${{file:{tmp_path}/key}}"})
        await stage.sink.until(lambda: stage.sink.ids == ids_of(stage, 0, 1), 30)
        stage.sql("DELETE FROM otel_bridge.project_settings WHERE name = 'project-00'")
        for each in alive:
            await until_said(each, "project-00 is not collected any more")
        dump = await asyncio.to_thread(dumped)
        assert "${env:KEY_OF_0}" not in dump
        assert f"${{file:{tmp_path}/key}}" in dump
        assert "ak_replicas" not in dump, "a key is in the database"
        assert [await each.terminate() for each in alive] == [0, 0]
        assert stage.sink.resent == 0
        for each in alive:
            assert "Traceback" not in each.log
            assert PASSWORD not in each.log


def dumped() -> str:
    """All that the database holds, as text."""
    made = cluster()
    done = subprocess.run(
        [str(made.bin / "pg_dump"), "--dbname", made.url(DATABASE), "--inserts"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
