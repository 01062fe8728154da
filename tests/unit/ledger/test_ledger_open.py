"""Who may open a ledger, how its file comes to be, and how its schema goes forward."""

# ruff: noqa: ASYNC240 - a test has nothing else to do while it waits for the disk

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import HOUR, T0, aside, record, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane, ProjectStatus, SqliteLedger, ToolCalls, sqlite_file
from otel_bridge.ledger.migrate import Migration, migrate, migrations, schema_version
from otel_bridge.ledger.sqlite_connection import configure_writer, connect

if TYPE_CHECKING:
    from pathlib import Path

NEWEST = migrations()[-1].version


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def ledger_at(path: Path, *, read_only: bool = False, shared: bool = False) -> SqliteLedger:
    return SqliteLedger(path, SimulatedClock(), read_only=read_only, shared=shared)


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "ledger.db"
    ledger = ledger_at(path)
    await ledger.open()
    await ledger.commit("p", window=window(0, 1))
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "ledger.db": 0o600,
        "ledger.db-wal": 0o600,
        "ledger.db-shm": 0o600,
        "ledger.db.lock": 0o600,
    }
    assert (mode(path.parent), mode(path.parent.parent)) == (0o700, 0o700)
    await ledger.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.db", "ledger.db.lock"]


async def test_sqlite_is_set_up_to_survive_and_to_shrink(path: Path) -> None:
    ledger = ledger_at(path)
    await ledger.open()

    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum", "busy_timeout", "user_version")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await ledger._read(pragmas) == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "auto_vacuum": 2,
        "busy_timeout": sqlite_file.LOOK_MS,
        "user_version": NEWEST,
    }
    await ledger.close()


async def test_a_ledger_reads_back_what_it_held(path: Path) -> None:
    ledger = ledger_at(path)
    await ledger.open()
    await ledger.commit("p", delivered=[record("a")], set_aside=[aside("b")], window=window(0, 1, due_ms=7))
    await ledger.note_error("p", "no answer", T0)
    before = await ledger.status([])
    await ledger.close()
    again = ledger_at(path)
    await again.open()
    await again.open()
    assert await again.status([]) == before
    assert await again.windows("p", Lane.LIVE) == [window(0, 1, due_ms=7)]
    assert await again.identities("p", ["a"]) == {"a": record("a")}
    assert await again.set_aside("p") == [aside("b")]
    await again.close()


async def test_one_file_has_one_writer_whatever_links_lead_to_it(path: Path) -> None:
    first = ledger_at(path)
    await first.open()
    link = path.with_name("link.db")
    link.symlink_to(path)
    for other in (ledger_at(path), ledger_at(link)):
        with pytest.raises(
            LedgerError, match=rf"{path} is in use by another otel-bridge \(pid {os.getpid()}\)"
        ):
            await other.open()
    await first.close()
    second = ledger_at(link)
    await second.open()
    await second.close()


async def test_an_unreadable_lock_file_still_gives_a_clear_error(path: Path) -> None:
    first = ledger_at(path)
    await first.open()
    path.with_name("ledger.db.lock").write_text("")
    with pytest.raises(LedgerError, match="pid unknown"):
        await ledger_at(path).open()
    await first.close()


async def test_a_file_system_without_locks_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LedgerError, match="can't be used: Operation not supported"):
        await ledger_at(path).open()


async def test_status_of_a_ledger_that_is_not_there_is_empty_and_makes_nothing(path: Path) -> None:
    reader = ledger_at(path, read_only=True)
    await reader.open()
    assert await reader.status(["p"]) == [ProjectStatus("p", None, None, 0, {}, 0, None, None, None)]
    await reader.close()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", ["", "page"])
async def test_status_of_a_ledger_that_is_just_being_made_is_empty(path: Path, content: str) -> None:
    path.touch()
    if content:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    reader = ledger_at(path, read_only=True)
    await reader.open()
    assert await reader.status([]) == []
    await reader.close()


async def test_a_reader_sees_what_the_service_commits_and_changes_nothing(path: Path) -> None:
    service = ledger_at(path)
    await service.open()
    reader = ledger_at(path, read_only=True)
    await reader.open()
    assert await reader.watermark_ms("p", Lane.LIVE) is None
    await service.commit("p", window=window(0, 1))
    assert await reader.watermark_ms("p", Lane.LIVE) == T0 + HOUR
    with pytest.raises(LedgerError, match="opened for reading only"):
        await reader.note_success("p", T0)
    await service.close()
    await reader.close()


async def test_a_guest_writes_while_the_service_runs(path: Path) -> None:
    service = ledger_at(path)
    await service.open()
    await service.commit("p", set_aside=[aside("a")])
    guest = ledger_at(path, shared=True)
    await guest.open()
    assert await guest.put_back("p", None, T0) == 1
    assert [each.log_id for each in await service.set_aside("p", due_ms=T0)] == ["a"]
    await service.close()
    await guest.close()


async def test_a_guest_keeps_no_service_from_starting(path: Path) -> None:
    guest = ledger_at(path, shared=True)
    await guest.open()
    assert await guest.put_back("p", None, T0) == 0
    service = ledger_at(path)
    await service.open()
    await service.commit("p", delivered=[record("a")])
    assert await guest.known("p", ["a"]) == {"a"}
    await guest.close()
    await service.close()


async def test_nobody_migrates_under_a_running_service(path: Path) -> None:
    service = ledger_at(path)
    await service.open()
    set_version(path, 0)
    for other in (ledger_at(path, shared=True), ledger_at(path, read_only=True)):
        with pytest.raises(
            LedgerError, match=rf"schema version 0 and this otel-bridge needs {NEWEST}: start"
        ):
            await other.open()
    await service.close()


@pytest.mark.parametrize("access", [{}, {"read_only": True}, {"shared": True}])
async def test_a_newer_programs_file_is_refused_and_left_alone(path: Path, access: dict[str, bool]) -> None:
    service = ledger_at(path)
    await service.open()
    await service.commit("p", delivered=[record("a")])
    await service.close()
    set_version(path, 99)
    with pytest.raises(LedgerError) as error:
        await ledger_at(path, **access).open()
    assert f"The ledger {path} has schema version 99 and this otel-bridge knows up to {NEWEST}" in str(
        error.value
    )
    set_version(path, NEWEST)
    again = ledger_at(path)
    await again.open()
    assert await again.known("p", ["a"]) == {"a"}
    await again.close()


@pytest.mark.parametrize("access", [{}, {"read_only": True}, {"shared": True}])
async def test_another_programs_database_is_left_alone(path: Path, access: dict[str, bool]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    content = path.read_bytes()
    with pytest.raises(LedgerError, match="another program's SQLite file: set OTEL_BRIDGE_STATE"):
        await ledger_at(path, **access).open()
    assert path.read_bytes() == content


async def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LedgerError, match=f"The ledger {tmp_path} is a folder: set OTEL_BRIDGE_STATE to a file"
    ):
        await ledger_at(tmp_path).open()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(LedgerError, match="is no regular file"):
        await ledger_at(pipe).open()


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "state" / "ledger.db"
    with pytest.raises(LedgerError) as error:
        await ledger_at(path).open()
    assert str(path) in str(error.value)
    assert "make its folder exist and be writable" in str(error.value)


async def test_a_folder_that_can_not_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(LedgerError, match=rf"Permission denied \({path}\.lock\): make its folder"):
        await ledger_at(path).open()


def test_a_place_without_write_ahead_log_is_named(path: Path) -> None:
    # A database in memory answers as a network file system does.
    with closing(connect("file:")) as connection, pytest.raises(LedgerError, match="on a local disk"):
        configure_writer(connection, path)


async def test_a_ledger_of_version_1_is_brought_forward(path: Path) -> None:
    with closing(connect(path.absolute().as_uri(), "rwc")) as connection:
        migrate(connection, path, migrations()[:1])
        assert schema_version(connection) == 1
        connection.executescript(
            """
            INSERT INTO projects (id, name, delivered, last_error) VALUES (7, 'p', 12, 'no answer');
            INSERT INTO windows VALUES (7, 'live', 0, 3600000, 2, NULL, 3);
            INSERT INTO delivered VALUES (7, CAST('log_a' AS BLOB), 5, zeroblob(16), zeroblob(8), NULL, 0);
            INSERT INTO set_aside VALUES (7, CAST('log_b' AS BLOB), 6, 'refused', 'too large', 1, 7, NULL);
            """
        )
    ledger = ledger_at(path)
    await ledger.open()
    assert await ledger.status([]) == [
        ProjectStatus("p", HOUR, HOUR, 12, {"refused": 1}, 0, "no answer", None, None)
    ]
    assert await ledger.known("p", ["log_a", "log_b"]) == {"log_a", "log_b"}
    # Nobody has counted what this file forgot before: of its sealed windows nothing sure can be said.
    known = await ledger.tool_calls("p", 0, 2 * HOUR)
    assert known == ToolCalls(2, None, {"refused": 1}, ((0, HOUR),))
    assert (await ledger.tool_calls("p", HOUR, 2 * HOUR)).exact
    await ledger.prune("p", 10, 2 * HOUR)
    known = await ledger.tool_calls("p", 0, 2 * HOUR)
    assert (known.least, known.most) == (1, None)
    await ledger.commit("p", window=window(1, 2))
    await ledger.close()


def test_versions_are_numbered_without_a_gap() -> None:
    assert [step.version for step in migrations()] == list(range(1, NEWEST + 1))


def test_a_step_that_fails_leaves_the_version_before(path: Path) -> None:
    good = Migration(NEWEST + 1, "CREATE TABLE extra (a)")
    bad = Migration(NEWEST + 2, "ALTER TABLE extra ADD COLUMN b; INSERT INTO nowhere VALUES (1)")
    with closing(connect("file:")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrate(connection, path, [*migrations(), good, bad])
        assert schema_version(connection) == NEWEST + 1
        assert not connection.in_transaction
        columns = [row[1] for row in connection.execute("PRAGMA table_info (extra)")]
        assert columns == ["a"]
        migrate(connection, path, [*migrations(), good, Migration(NEWEST + 2, "DROP TABLE extra")])
        assert schema_version(connection) == NEWEST + 2


def test_a_step_with_broken_sql_leaves_no_transaction_open(path: Path) -> None:
    with closing(connect("file:")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="syntax"):
            migrate(connection, path, [Migration(1, "CREATE TABEL x (a)")])
        assert schema_version(connection) == 0
        assert not connection.in_transaction


def test_a_step_that_can_not_begin_changes_nothing(path: Path) -> None:
    url = path.absolute().as_uri()
    with closing(connect(url, "rwc")) as connection, closing(connect(url, "rwc")) as other:
        connection.execute("PRAGMA busy_timeout = 5")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            migrate(connection, path, migrations())
        assert not connection.in_transaction
