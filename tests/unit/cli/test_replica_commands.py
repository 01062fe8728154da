"""``worker``, ``ledger copy``, and ``status`` where replicas share the work."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import postgres_cluster
import pytest

from otel_bridge.cli.main import run
from otel_bridge.ledger import SqliteLedger, open_ledger
from otel_bridge.ledger.leases import SharedLedger
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
projects:
- {name: crm, api_key: ak_one}
- {name: billing, api_key: ak_two}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("OTEL_BRIDGE_STATE", f"sqlite:///{tmp_path}/ledger.db")
    return str(path)


@pytest.mark.parametrize(
    ("projects", "words"),
    [
        ("crm,sales", "--projects is 'sales': takes names of projects in the settings: crm, billing"),
        (" , ", "--projects is empty: takes names of projects in the settings: crm, billing"),
        ("crm", "worker takes a ledger that replicas share: set OTEL_BRIDGE_STATE to postgresql://"),
    ],
)
def test_a_worker_says_what_it_takes(
    config: str, capsys: pytest.CaptureFixture[str], projects: str, words: str
) -> None:
    assert run(["worker", "--projects", projects, "--config", config]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.backend
def test_status_shows_who_is_at_what(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_cluster.new_database("shown")
    monkeypatch.setenv("OTEL_BRIDGE_STATE", url)

    async def at_work() -> None:
        ledger = open_ledger(url, SystemClock())
        assert isinstance(ledger, SharedLedger)
        await ledger.open()
        await ledger.sign_of_life("one", ["crm", "billing"])
        await ledger.sign_of_life("two", ["crm"])
        assert await ledger.acquire("crm", "backfill", "two", 60)
        await ledger.close()

    asyncio.run(at_work())
    postgres_cluster.cluster().sql(
        "UPDATE otel_bridge.replicas SET seen_at = now() - interval '1 hour' WHERE name = 'one'", "shown"
    )
    assert run(["status", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "1 replica at work" in out
    assert ", silent for 1 h" in out
    assert "  two: 1 project, since " in out
    assert "    crm: backfill, for " in out
    assert run(["status", "--json", "--config", config]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["project"] for each in told["projects"]] == ["crm", "billing"]
    assert [held["part"] for held in told["replicas"][1]["holds"]] == ["backfill"]


@pytest.mark.backend
def test_a_ledger_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.db", SystemClock())
        await ledger.open()
        await ledger.note_success("crm", 1)
        await ledger.close()

    asyncio.run(fill())
    source, target = f"sqlite:///{tmp_path}/ledger.db", postgres_cluster.new_database("moved")
    assert run(["ledger", "copy", source, target]) == 0
    assert "copied 1 project, 0 windows, 0 delivered ids" in capsys.readouterr().out
    assert run(["ledger", "copy", target, source]) == 2
    assert run(["ledger", "copy", source, "postgresql://u:s3cret@x@db/name"]) == 2
    err = capsys.readouterr().err
    assert "FROM takes sqlite:///PATH" in err
    assert "FROM or TO is no PostgreSQL URL that can be read" in err
    assert "s3cret" not in err
