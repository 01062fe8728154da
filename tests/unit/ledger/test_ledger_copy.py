"""From one machine to many: all that an SQLite ledger remembers, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import postgres_cluster
import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import HOUR, T0, aside, record, window

from otel_bridge.errors import LedgerError, LedgerInUse, SettingsError
from otel_bridge.ledger import Lane, SqliteLedger, Verification, copying, open_ledger, postgres_database
from otel_bridge.ledger.correlation_values import Correlation, CorrelationKind, RemoteSpan, Settled
from otel_bridge.service.moving import move_ledger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.backend


async def filled(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    for project in ("p", "q"):
        await ledger.commit(
            project,
            delivered=[record(f"log_{n}", n / 10, depth=n % 2) for n in range(300)]
            + [record("log_\ud800\x00")],
            set_aside=[aside("aside", 3, retry_ms=T0)],
            window=window(0, 3, project=project, due_ms=T0),
        )
    await ledger.prune("p", T0 + 40 * HOUR, T0 + 40 * HOUR)
    await ledger.note_verification("q", Verification(1, 2, 3, 4, 5, 6, 7))
    await ledger.note_error("p", "it failed", T0)
    span = RemoteSpan(b"t" * 16, b"s" * 8)
    await ledger.register([Correlation(CorrelationKind.REQUEST_ID, "r", span, T0 + HOUR)], T0)
    await ledger.settle("q", [Settled("soon", span)], now_ms=T0)
    await ledger.close()


async def test_everything_is_there_afterwards(tmp_path: Path) -> None:
    path, url = tmp_path / "ledger.db", postgres_cluster.new_database("copied")
    await filled(path)
    copied = await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    assert (copied["projects"], copied["windows"], copied["correlations"]) == (2, 2, 1)
    before, after = SqliteLedger(path, SimulatedClock()), open_ledger(url, SimulatedClock())
    await before.open()
    await after.open()
    assert await after.status([]) == await before.status([])
    for project in ("p", "q"):
        ids = [f"log_{n}" for n in range(300)] + ["log_\ud800\x00", "aside"]
        assert await after.windows(project, Lane.LIVE) == await before.windows(project, Lane.LIVE)
        assert await after.identities(project, ids) == await before.identities(project, ids)
        assert await after.set_aside(project) == await before.set_aside(project)
        span = (project, T0, T0 + 50 * HOUR)
        assert await after.tool_calls(*span) == await before.tool_calls(*span)
        recalled = [
            await each.recall(project, log_ids=["soon"], request_ids=["r"], attempt_keys=[], now_ms=T0)
            for each in (before, after)
        ]
        assert recalled[0] == recalled[1]
    with pytest.raises(LedgerInUse):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    await before.close()
    await after.close()
    with pytest.raises(LedgerError, match="is not empty, it holds project 'p': copy into a database without"):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())


async def test_a_copy_that_fails_leaves_nothing_and_may_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, url = tmp_path / "ledger.db", postgres_cluster.new_database("again")
    await filled(path)
    rows = copying._rows

    def fewer(source: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
        found = list(rows(source, query))
        return iter(found[:-1] if " FROM delivered" in query else found)

    monkeypatch.setattr(copying, "_rows", fewer)
    with pytest.raises(LedgerError, match=r"Of 333 rows in delivered 332 arrived in the ledger .*nothing is"):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    monkeypatch.setattr(copying, "_rows", rows)

    def breaking(source: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
        if " FROM delivered" in query:
            command = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'again'"
            postgres_cluster.cluster().sql(command)
        return rows(source, query)

    monkeypatch.setattr(copying, "_rows", breaking)
    with pytest.raises(LedgerError, match=r"The ledger postgresql://127.0.0.1:\d+/again "):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    monkeypatch.setattr(copying, "_rows", rows)
    assert (await move_ledger(f"sqlite:///{path}", url, SimulatedClock()))["delivered"] == 333


async def test_a_large_ledger_may_take_longer_than_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, url = tmp_path / "ledger.db", postgres_cluster.new_database("large")
    await filled(path)
    # Less than any call takes: whatever goes through the pool would fail.
    monkeypatch.setattr(postgres_database, "CALL_S", 0.0)
    assert (await move_ledger(f"sqlite:///{path}", url, SimulatedClock()))["delivered"] == 333


async def test_only_an_empty_ledger_is_copied_into(tmp_path: Path) -> None:
    path, url = tmp_path / "ledger.db", postgres_cluster.new_database("taken")
    await filled(path)
    there = open_ledger(url, SimulatedClock())
    await there.open()
    span = RemoteSpan(b"t" * 16, b"s" * 8)
    await there.register([Correlation(CorrelationKind.REQUEST_ID, "other", span, T0 + HOUR)], T0)
    with pytest.raises(LedgerError, match="is not empty, it holds correlations"):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    await there.note_success("another", T0)
    with pytest.raises(LedgerError, match="is not empty, it holds project 'another'"):
        await move_ledger(f"sqlite:///{path}", url, SimulatedClock())
    await there.close()


async def test_other_urls_are_refused(tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path}/none.db"
    for source, target, words in (
        ("postgresql://a/b", there, "FROM takes sqlite:///PATH"),
        (there, there, "TO takes postgresql://"),
    ):
        with pytest.raises(SettingsError, match=words):
            await move_ledger(source, target, SimulatedClock())
    with pytest.raises(LedgerError, match="There is no ledger"):
        await move_ledger(there, postgres_cluster.cluster().url(), SimulatedClock())
    assert not any(tmp_path.glob("*"))  # noqa: ASYNC240 - a test waits for the disk
