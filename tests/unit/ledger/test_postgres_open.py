"""A PostgreSQL ledger that can't be opened, or stops answering: one clear line, and no password in it."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from postgres_cluster import PASSWORD, cluster, emptied_database, new_database
from relays import Relay
from simulated_clock import SimulatedClock
from unit.ledger.ledger_samples import HOUR, T0, record, window

from otel_bridge.errors import LedgerError, SettingsError
from otel_bridge.ledger import Lane, Ledger, open_ledger, postgres_database, postgres_migrate
from otel_bridge.ledger.log_ids import from_bytes
from otel_bridge.ledger.postgres_address import read_address
from otel_bridge.settings import load
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.backend


@asynccontextmanager
async def opened(url: str, *, read_only: bool = False) -> AsyncIterator[Ledger]:
    ledger = open_ledger(url, SystemClock(), read_only=read_only)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


async def refusal(url: str) -> str:
    """What opening it says; the clock is simulated, so that no test waits between tries."""
    with pytest.raises(LedgerError) as error:
        await open_ledger(url, SimulatedClock()).open()
    line = str(error.value)
    assert "\n" not in line
    assert not any(part in line for part in (PASSWORD, quote(PASSWORD, safe=""), "s3cret"))
    return line


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_a_wrong_password_or_user_is_told_without_either() -> None:
    made = cluster()
    for url in (
        made.url().replace(quote(PASSWORD, safe=""), "s3cret-wrong"),
        made.url(user="nobody-here"),
        f"postgresql://bridge@127.0.0.1:{made.port}/bridge",
    ):
        assert await refusal(url) == (
            f"The ledger postgresql://127.0.0.1:{made.port}/bridge refuses the user: check user and password "
            "in OTEL_BRIDGE_STATE, and the server's pg_hba.conf"
        )


async def test_the_next_connection_takes_the_address_as_its_file_has_it_now(tmp_path: Path) -> None:
    """The password is renewed, and all connections are ended, as by a failover."""
    made, url = cluster(), emptied_database()
    made.sql("CREATE ROLE renewed LOGIN PASSWORD 'old'; GRANT bridge TO renewed")
    made.sql("ALTER ROLE renewed SET role = 'bridge'")
    with_password = url.replace(f"bridge:{quote(PASSWORD, safe='')}@", "renewed:{}@")
    assert with_password != url
    file = tmp_path / "state"
    file.write_text(with_password.format("old"))
    settings = load(environ={"OTEL_BRIDGE_STATE_FILE": str(file)})
    ledger = open_ledger(settings.present_state, SystemClock())
    await ledger.open()
    try:
        made.sql("ALTER ROLE renewed PASSWORD 'newer'")
        file.write_text(with_password.format("newer"))
        settings.present.look()
        made.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'renewed'")
        await ledger.commit("shop", delivered=[record("log_1")])
        file.write_text("postgresql://elsewhere.invalid/other")
        settings.present.look()
        made.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'renewed'")
        assert await ledger.known("shop", ["log_1"]) == {"log_1"}
    finally:
        await ledger.close()
        made.sql("DROP ROLE renewed")


async def test_a_database_that_is_not_there_is_named() -> None:
    line = await refusal(cluster().url("no_such_database"))
    assert line.endswith(
        "/no_such_database is not there: create the database, or correct its name in OTEL_BRIDGE_STATE"
    )


async def test_a_server_that_is_down_or_unknown_is_named() -> None:
    port = free_port()
    line = await refusal(cluster().url(port=port))
    assert line.startswith(f"The ledger postgresql://127.0.0.1:{port}/bridge can't be reached (")
    assert "refused" in line
    line = await refusal("postgresql://u:s3cret@database.invalid/x")
    assert line.startswith("The ledger postgresql://database.invalid:5432/x can't be reached (")


async def test_a_server_that_is_just_starting_is_waited_for() -> None:
    clock = SimulatedClock()
    with pytest.raises(LedgerError):
        await open_ledger(cluster().url(port=free_port()), clock).open()
    assert 3 < sum(clock.naps) < 10
    reader = SimulatedClock()
    with pytest.raises(LedgerError):
        await open_ledger(cluster().url(port=free_port()), reader, read_only=True).open()
    assert reader.naps == [], "a person waits for the answer"


async def test_a_user_that_may_not_make_the_tables_is_told_what_to_grant() -> None:
    url = new_database("forbidden")
    cluster().sql("ALTER DATABASE forbidden OWNER TO admin")
    assert "CREATE SCHEMA otel_bridge AUTHORIZATION" in await refusal(url)
    cluster().sql("CREATE SCHEMA otel_bridge AUTHORIZATION bridge", "forbidden")
    async with opened(url) as ledger:
        await ledger.note_success("p", T0)


async def test_too_few_connections_are_told() -> None:
    url = new_database("crowded")
    cluster().sql("ALTER DATABASE crowded CONNECTION LIMIT 0")
    assert "has no connection left: raise its max_connections" in await refusal(url)
    # With a single one everything works, one call after the other.
    cluster().sql("ALTER DATABASE crowded CONNECTION LIMIT 1")
    async with opened(url) as ledger:
        await asyncio.gather(*(ledger.note_success(f"p{n}", T0) for n in range(6)))
        assert len(await ledger.status([])) == 6


async def test_a_database_that_is_read_only_is_told() -> None:
    url = new_database("standby")
    async with opened(url) as ledger:
        await ledger.note_success("p", T0)
    cluster().sql("ALTER DATABASE standby SET default_transaction_read_only = on")
    async with opened(url) as ledger:
        with pytest.raises(LedgerError, match="is read-only, a standby perhaps"):
            await ledger.note_success("p", T0)
        assert [each.project for each in await ledger.status([])] == ["p"]


async def test_a_newer_schema_is_refused_unless_it_says_that_older_programs_work() -> None:
    url = new_database("newer")
    async with opened(url):
        pass
    newest = postgres_migrate.steps()[-1].version
    insert = "INSERT INTO otel_bridge.schema_versions (version, works_from) VALUES"
    cluster().sql(f"{insert} (98, 1)", "newer")
    async with opened(url) as ledger:
        await ledger.commit("p", window=window(0, 1))
    cluster().sql(f"{insert} (99, 99)", "newer")
    line = await refusal(url)
    assert "has schema version 99, which takes an otel-bridge that knows version 99" in line
    assert f"this one knows up to {newest}: run the newer otel-bridge" in line


async def test_replicas_that_start_together_make_the_tables_once() -> None:
    url = new_database("together")
    ledgers = [open_ledger(url, SystemClock()) for _ in range(5)]
    await asyncio.gather(*(each.open() for each in ledgers))
    await asyncio.gather(*(each.commit("p", delivered=[record("a")]) for each in ledgers))
    assert (await ledgers[0].status(["p"]))[0].delivered == 1
    for each in ledgers:
        await each.close()


async def test_a_step_that_fails_leaves_the_schema_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_database("halfway")
    async with opened(url):
        pass
    good = postgres_migrate.steps()
    bad = postgres_migrate.Step(90, 1, "CREATE TABLE otel_bridge.half (a int); SELECT nonsense;")
    monkeypatch.setattr(postgres_database, "steps", lambda: [*good, bad])
    assert "can't be used: column" in await refusal(url)
    assert cluster().sql("SELECT to_regclass('otel_bridge.half') IS NULL", "halfway") == "t"
    worse = postgres_migrate.Step(90, 1, "CREATE TABLE otel_bridge.half (a int);")
    monkeypatch.setattr(postgres_database, "steps", lambda: [*good, worse])
    async with opened(url):
        assert cluster().sql("SELECT max(version) FROM otel_bridge.schema_versions", "halfway") == "90"


async def test_a_reader_makes_the_tables_where_there_are_none_and_writes_nothing_else() -> None:
    url = new_database("readers")
    async with opened(url, read_only=True) as ledger:
        assert [each.delivered for each in await ledger.status(["p"])] == [0]
        with pytest.raises(LedgerError, match="was opened for reading only"):
            await ledger.note_success("p", T0)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@x@db/name",
        "postgresql://u:s3/cret@db/name",
        "postgresql://u:1234/s3cret@db/name",
        "postgresql://u:s3%cret@db/name",
        "postgresql://u:s3cret@db:port/name",
        "postgresql://u:s3cret@db/name?nonsense=s3cret",
        "postgresql:u:s3cret@db",
        "postgres+asyncpg://u:s3cret@db/x",
    ],
)
def test_a_url_that_can_not_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"no PostgreSQL URL that can be read: it takes postgresql://"
    ) as error:
        read_address(url)
    assert "s3" not in str(error.value)
    assert error.value.__cause__ is None


def test_an_address_shows_neither_user_nor_password() -> None:
    address = read_address(
        "postgresql://someone:s3cret@db.example:6432/ledger?sslmode=require&connect_timeout=9"
    )
    assert address.where == "postgresql://db.example:6432/ledger"
    assert "s3cret" not in repr(address)
    assert "someone" not in repr(address)
    assert "connect_timeout=9" in address.conninfo
    assert (
        read_address("postgresql:///ledger?host=/run/postgresql").where
        == "postgresql:///run/postgresql:5432/ledger"
    )


async def test_connections_that_were_ended_are_replaced_unnoticed() -> None:
    async with opened(emptied_database()) as ledger:
        await asyncio.gather(*(ledger.note_success(f"p{n}", T0) for n in range(20)))
        for number in range(5):
            cluster().sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'bridge'"
            )
            await ledger.commit("p", delivered=[record(f"log_{number}")], window=window(number, number + 1))
        assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + 5 * HOUR
        assert (await ledger.status(["p"]))[0].delivered == 5


async def test_a_database_that_goes_down_and_comes_back_is_used_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(emptied_database()) as ledger:
        await ledger.commit("p", delivered=[record("a")], window=window(0, 1))
        cluster().stop(at_once=True)
        try:
            for _ in range(2):
                with pytest.raises(
                    LedgerError, match=r"can't be reached \(.*refused.*\): start it, or check"
                ):
                    await ledger.commit("p", delivered=[record("b")], window=window(1, 2))
        finally:
            cluster().start()
        await ledger.commit("p", delivered=[record("b")], window=window(1, 2))
        assert await ledger.known("p", ["a", "b"]) == {"a", "b"}
    assert PASSWORD not in caplog.text


async def test_a_network_that_goes_silent_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_database, "CALL_S", 1.0)
    emptied_database()
    async with Relay(cluster().port) as proxy, opened(cluster().url(port=proxy.port)) as ledger:
        await ledger.commit("p", delivered=[record("a")])
        proxy.silent = True
        with pytest.raises(LedgerError, match="did not answer within 1 s"):
            await ledger.commit("p", delivered=[record("b")])
        proxy.silent = False
        await ledger.commit("p", delivered=[record("b")])
        assert await ledger.known("p", ["a", "b"]) == {"a", "b"}


async def test_a_cancelled_commit_is_whole_or_not_there() -> None:
    async with opened(emptied_database()) as ledger:
        for number in range(30):
            records = [record(f"log_{number}_{n}", number) for n in range(200)]
            task = asyncio.create_task(
                ledger.commit("p", delivered=records, window=window(number, number + 1))
            )
            await asyncio.sleep(number % 10 / 1000)
            task.cancel()
            await asyncio.wait([task])
            there = await ledger.windows("p", Lane.LIVE, from_ms=T0 + number * HOUR)
            known = await ledger.known("p", [f"log_{number}_{n}" for n in range(200)])
            assert len(known) == 200 * len(there)


async def test_replicas_that_write_the_same_records_at_once_count_them_once() -> None:
    url = emptied_database()
    async with opened(url) as a, opened(url) as b:

        async def work(ledger: Ledger, number: int) -> None:
            ids = [f"log_{n}" for n in range(number, number + 40)]
            await ledger.commit(f"p{number % 3}", delivered=[record(log_id) for log_id in reversed(ids)])

        await asyncio.gather(*(work(each, number) for number in range(30) for each in (a, b)))
        totals = {each.project: each.delivered for each in await a.status([])}
        assert totals == {f"p{n}": 67 for n in range(3)}
        plans = [window(n, n + 1, passes=0, due_ms=0, project=f"p{n % 2}") for n in range(8)]
        await asyncio.gather(*(each.add_windows(plans) for each in (a, b)), b.add_windows(plans[::-1]))
        assert len(await a.windows("p0", Lane.LIVE)) + len(await b.windows("p1", Lane.LIVE)) == 8


def test_a_damaged_id_is_still_an_id() -> None:
    assert from_bytes(b"log_\xff") == "log_\N{REPLACEMENT CHARACTER}"
