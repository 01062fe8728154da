"""Files that are damaged, and disks that fail: each has an outcome that a person can read."""

# ruff: noqa: ASYNC240 - a test has nothing else to do while it waits for the disk

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import HOUR, T0, aside, record, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane, Reason, SqliteLedger, faults, sqlite_file
from otel_bridge.ledger.lock import WriterLock
from otel_bridge.ledger.sqlite_connection import LOCKED_S

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 3_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def fill(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    await ledger.commit(
        "p",
        delivered=[record(f"log_{n * 7919 % 99_991:05}", n / 1000) for n in range(RECORDS)],
        set_aside=[aside(f"aside_{n}", n) for n in range(50)],
        window=window(0, 1),
    )
    for start in range(1, 200):
        await ledger.commit("p", window=window(start, start + 1, due_ms=0))
    await ledger.close()


async def use(ledger: SqliteLedger) -> None:
    """Touch every page that matters."""
    await ledger.watermark_ms("p", Lane.LIVE)
    await ledger.known("p", [f"log_{n:05}" for n in range(0, 99_991, 10)])
    await ledger.windows("p", Lane.LIVE)
    await ledger.set_aside("p")
    await ledger.commit("p", delivered=[record("log_new")], set_aside=[aside("aside_new")])
    await ledger.prune("p", T0 + HOUR, T0 + HOUR)
    await ledger.status(["p"])


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def overwritten(content: bytes) -> bytes:
    """A good schema, and the first page of every table and index zeroed."""
    spoiled = bytearray(content)
    with closing(sqlite3.connect(":memory:")) as connection:
        # A database in memory knows no write-ahead log, which bytes 18 and 19 ask for.
        connection.deserialize(content[:18] + b"\x01\x01" + content[20:])
        roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1").fetchall()
    for (page,) in roots:
        spoiled[(page - 1) * 4096 : page * 4096] = bytes(4096)
    return bytes(spoiled)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"not a database at all\n" * 500,
        lambda _: b"{}",
        lambda _: bytes(8192),
        cut(0.5),
        cut(0.9),
        lambda content: content[:100],
        lambda content: content[:4096],
        overwritten,
        lambda content: content[:100] + bytes(3996) + content[4096:],
    ],
    ids=["garbage", "short", "zeros", "half", "most", "header", "page", "pages-zeroed", "schema-zeroed"],
)
async def test_a_damaged_file_is_set_aside_and_a_new_ledger_begins(
    path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    await fill(path)
    spoiled = spoil(path.read_bytes())
    path.write_bytes(spoiled)
    notices: list[str] = []
    ledger = SqliteLedger(path, SimulatedClock(), on_notice=notices.append)
    await ledger.open()
    moved = path.with_name("ledger.db.corrupt-20260417T100000Z")
    assert await ledger.watermark_ms("p", Lane.LIVE) is None
    await ledger.commit("p", delivered=[record("a")], window=window(0, 1))
    assert await ledger.known("p", ["a"]) == {"a"}
    await ledger.close()
    assert len(notices) == 1
    assert str(path) in notices[0]
    assert str(moved) in notices[0]
    assert "delivered a second time, with the same ids" in notices[0]
    assert moved.stat().st_size == len(spoiled)


async def test_an_empty_file_is_a_new_ledger(path: Path) -> None:
    path.touch()
    notices: list[str] = []
    ledger = SqliteLedger(path, SimulatedClock(), on_notice=notices.append)
    await ledger.open()
    await use(ledger)
    await ledger.close()
    assert notices == []


async def test_what_belongs_to_a_damaged_file_goes_with_it_and_no_other_is_overwritten(path: Path) -> None:
    for count in range(2):
        path.write_bytes(b"garbage" * 100)
        for companion in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + companion).write_text(f"{companion} {count}")
        ledger = SqliteLedger(path, SimulatedClock())
        await ledger.open()
        await ledger.close()
    for count, name in enumerate(("corrupt-20260417T100000Z", "corrupt-20260417T100000Z-2")):
        assert path.with_name(f"ledger.db.{name}").read_bytes() == b"garbage" * 100
        assert path.with_name(f"ledger.db.{name}-wal").read_text() == f"-wal {count}"
    assert sorted(file.name for file in path.parent.glob("ledger.db*") if "corrupt" not in file.name) == [
        "ledger.db",
        "ledger.db.lock",
    ]


@pytest.mark.parametrize("seed", range(15))
async def test_flipped_bytes_never_stop_the_service_for_good(path: Path, seed: int) -> None:
    await fill(path)
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 5, 50])):
        content[rng.randrange(100, len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    try:
        await use(ledger)
    except LedgerError:
        await use(ledger)
    await ledger.close()


async def test_without_anyone_to_tell_the_notice_goes_to_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"garbage" * 100)
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    await ledger.close()
    assert "was damaged (file is not a database)" in caplog.text


async def test_damage_found_in_use_voids_what_was_planned_and_begins_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    path.write_bytes(overwritten(path.read_bytes()))
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    notices: list[str] = []
    ledger = SqliteLedger(path, SimulatedClock(), on_notice=notices.append)
    await ledger.open()
    assert notices == []
    with pytest.raises(LedgerError, match="was damaged and is set aside"):
        await ledger.known("p", ["log_00000"])
    assert len(notices) == 1
    # Records that were in flight are facts; windows that were planned are not.
    await ledger.commit("p", delivered=[record("a")])
    for call in (
        ledger.commit("p", delivered=[record("b")], window=window(200, 201)),
        ledger.replace_windows([window(5, 7)], [window(5, 6), window(6, 7)]),
        ledger.add_windows([window(200, 201)]),
    ):
        with pytest.raises(LedgerError, match="what project 'p' had planned is void"):
            await call
    assert await ledger.known("p", ["a", "b"]) == {"a"}
    assert await ledger.watermark_ms("p", Lane.LIVE) is None
    await ledger.commit("p", window=window(0, 1))
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + HOUR
    second = SqliteLedger(path, SimulatedClock())
    with pytest.raises(LedgerError, match="in use"):
        await second.open()
    await ledger.close()


async def test_a_damaged_file_that_can_not_be_moved_is_an_error_each_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    path.write_bytes(overwritten(path.read_bytes()))
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        with pytest.raises(LedgerError, match="Read-only file system"):
            await ledger.known("p", ["log_00000"])
        monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 2**30)
        with pytest.raises(LedgerError, match="Read-only file system"):
            await ledger.status(["p"])
    assert await ledger.watermark_ms("p", Lane.LIVE) is None
    await ledger.close()


def refuse(*_: object, **__: object) -> None:
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize("access", ["read_only", "shared"])
async def test_only_the_service_sets_a_damaged_file_aside(path: Path, access: str) -> None:
    path.write_bytes(b"garbage" * 100)
    # Somebody else has the lock.
    lock = WriterLock(path.with_name("ledger.db.lock"))
    assert lock.take()
    guest = SqliteLedger(path, SimulatedClock(), read_only=access == "read_only", shared=access == "shared")
    with pytest.raises(LedgerError, match=r"is damaged .*start otel-bridge run, which sets it aside"):
        await guest.open()
    assert path.read_bytes() == b"garbage" * 100
    lock.release()


async def test_a_reader_that_meets_damage_leaves_it_alone(path: Path) -> None:
    await fill(path)
    path.write_bytes(overwritten(path.read_bytes()))
    reader = SqliteLedger(path, SimulatedClock(), read_only=True)
    await reader.open()
    with pytest.raises(LedgerError, match="is damaged"):
        await reader.status(["p"])
    await reader.close()
    assert list(path.parent.glob("*corrupt*")) == []


async def test_a_row_with_flipped_bits_is_still_listed(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    await ledger.commit("p", set_aside=[aside("a")])
    await ledger._write(
        lambda connection: connection.execute(
            "UPDATE set_aside SET log_id = x'ff61', reason = 'unheard of', message = CAST(x'ff62' AS TEXT)"
        ).fetchall()
    )
    [found] = await ledger.set_aside("p")
    assert (found.log_id, found.reason, found.message) == ("\ufffda", Reason.UNREADABLE, "\ufffdb")
    await ledger.close()


async def test_something_in_the_way_of_sqlites_own_files_is_named_and_nothing_is_moved(path: Path) -> None:
    await fill(path)
    path.with_name("ledger.db-wal").mkdir()
    with pytest.raises(LedgerError, match="can't be opened: make the file and its folder readable"):
        await SqliteLedger(path, SimulatedClock()).open()
    assert list(path.parent.glob("*corrupt*")) == []


async def test_a_full_disk_is_named_and_undoes_the_call_alone(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    await ledger.commit("p", delivered=[record("a")])
    await ledger._read(lambda connection: connection.execute("PRAGMA max_page_count = 14").fetchall())
    with pytest.raises(LedgerError) as error:
        await ledger.commit("p", delivered=[record(f"log_{n}") for n in range(5_000)], window=window(0, 1))
    assert str(error.value) == (
        f"The ledger {path} can't be written, the disk is full: "
        "free some space there, or set OTEL_BRIDGE_STATE to another place"
    )
    assert await ledger.windows("p", Lane.LIVE) == []
    await ledger._read(lambda connection: connection.execute("PRAGMA max_page_count = 9999").fetchall())
    assert await ledger.known("p", ["a", "log_0"]) == {"a"}
    await ledger.commit("p", window=window(0, 1))
    await ledger.close()


async def test_a_file_that_another_program_has_locked_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "LOCKED_S", 0.3)
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="is locked by another program"):
            await ledger.note_success("p", T0)
        assert (await ledger.status(["p"]))[0].last_success_ms is None
    await ledger.note_success("p", T0)
    await ledger.close()


async def test_a_lock_is_waited_for_and_does_not_hold_up_a_stop(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        noting = asyncio.create_task(ledger.note_success("p", T0))
        await asyncio.sleep(2 * sqlite_file.LOOK_MS / 1000)
        assert not noting.done(), "SQLite itself has given up by now, and is asked again"
        shell.execute("ROLLBACK")
        await noting
        shell.execute("BEGIN IMMEDIATE")
        noting = asyncio.create_task(ledger.note_success("p", T0 + 1))
        await asyncio.sleep(0.01)
        began_s = time.monotonic()
        await ledger.close()
        assert time.monotonic() - began_s < LOCKED_S / 2
        with pytest.raises(LedgerError, match="is locked by another program"):
            await noting
    await ledger.open()
    assert (await ledger.status(["p"]))[0].last_success_ms == T0
    await ledger.close()


async def test_a_number_beyond_64_bits_is_an_error_not_a_traceback(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    with pytest.raises(LedgerError, match="64 bits"):
        await ledger.commit("p", window=window(0, 2**70))
    await ledger.close()


async def test_a_file_that_can_not_be_written_is_named(path: Path) -> None:
    ledger = SqliteLedger(path, SimulatedClock())
    await ledger.open()
    await ledger._read(lambda connection: connection.execute("PRAGMA query_only = ON").fetchall())
    with pytest.raises(LedgerError, match="it is read-only here: make the file and its folder writable"):
        await ledger.note_success("p", T0)
    await ledger.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_CANTOPEN, "can't be opened: make the file and its folder readable"),
        (sqlite3.SQLITE_IOERR_FSYNC, "the disk fails (boom)"),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, "can't be used: boom"),
        (None, "can't be used: boom"),
    ],
)
def test_what_sqlite_says_becomes_one_line(code: int | None, words: str) -> None:
    error = sqlite3.OperationalError("boom")
    if code is not None:
        error.sqlite_errorcode = code
    line = str(faults.explain(error, Path("/var/ledger.db")))
    assert re.match(r"The ledger /var/ledger\.db [^\n]+$", line)
    assert words in line
