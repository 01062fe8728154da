"""Who shares the work, what each is at and since when: on the page and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgres_cluster
import pytest
from web_stage import Stage, asking

from otel_bridge.ledger import open_ledger
from otel_bridge.ledger.leases import HeldLease, Lease, ReplicaStatus, SharedLedger
from otel_bridge.times import SystemClock
from otel_bridge.web.page import render
from otel_bridge.web.replicas import replica_views
from otel_bridge.web.snapshot import Snapshots

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_776_420_000_000


def held(project: str, holder: str, ago_ms: int) -> HeldLease:
    return HeldLease(Lease(project, "head", holder, 1), NOW_MS - ago_ms, 15_000)


def test_what_is_shown_of_each() -> None:
    replicas = [
        ReplicaStatus("one", ("crm", "billing"), NOW_MS - 3_600_000, 500),
        ReplicaStatus("two\n", ("crm",), NOW_MS - 60_000, 90_000),
        ReplicaStatus("three", (), NOW_MS, 0),
    ]
    leases = [held("crm", "one", 5_000), held("billing", "one", -20), held("desk", "one", 0)]
    views = replica_views((replicas, leases), NOW_MS, 2)
    assert views is not None
    assert [view.name for view in views] == ["one", "two"]
    assert views[0].sentence == "collects 2 projects, joined 1 h ago"
    assert views[0].holds == ["crm: head, taken 5 s ago", "billing: head, taken now"]
    assert (views[0].more, views[0].silent, views[1].silent) == (1, False, True)
    assert views[1].sentence == "collects 1 project, joined 1 min ago, silent for 1 min 30 s"
    assert replica_views(None, NOW_MS, 2) is None


@pytest.mark.backend
async def test_a_shared_ledger_is_asked_who_is_at_what(tmp_path: Path) -> None:
    ledger = open_ledger(postgres_cluster.emptied_database(), SystemClock())
    assert isinstance(ledger, SharedLedger)
    await ledger.open()
    stage = Stage(tmp_path, "crm")
    stage.running.ledger = ledger
    await ledger.sign_of_life("<one>", ["crm", "billing"])
    assert await ledger.acquire("crm", "backfill", "<one>", 60)
    page = render(await Snapshots(stage.running).take(), {}).refreshing()
    assert "<strong>&lt;one&gt;</strong> collects 2 projects, joined" in page
    assert "crm: backfill, taken " in page
    async with asking(stage) as client:
        [told] = (await client.get("/api/status")).json()["replicas"]
    assert (told["name"], told["projects"]) == ("<one>", ["billing", "crm"])
    assert [(each["project"], each["part"]) for each in told["holds"]] == [("crm", "backfill")]
    assert told["silent_ms"] < 60_000
    await ledger.close()


async def test_a_ledger_of_one_process_shows_none(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    assert "Replicas" not in render(await Snapshots(stage.running).take(), {}).refreshing()
    async with asking(stage) as client:
        assert (await client.get("/api/status")).json()["replicas"] is None
