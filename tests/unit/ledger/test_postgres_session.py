"""A PostgreSQL that is set up otherwise than usual: another encoding, other formats of times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_cluster import cluster, new_database
from unit.ledger.ledger_samples import HOUR, T0, aside, record, window

from otel_bridge.ledger import Lane, SqliteLedger, open_ledger
from otel_bridge.ledger.copying import copy_ledger
from otel_bridge.ledger.postgres_address import read_address
from otel_bridge.ledger.postgres_session import escaped, unescaped
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

ENCODINGS: Final = ("SQL_ASCII", "LATIN1", "EUC_JP")
PROJECT: Final = "Łódź \\u0141 漢字 😀"
MESSAGE: Final = 'the destination says: "größer als 64 KiB abgelehnt" \\ ✂'


@pytest.mark.backend
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_text_is_kept_whatever_the_database_is_in(encoding: str) -> None:
    ledger = open_ledger(new_database("encoded", encoding), SystemClock())
    await ledger.open()
    try:
        collected = window(0, 1, project=PROJECT)
        await ledger.commit(
            PROJECT,
            delivered=[record("log_ł")],
            set_aside=[aside("log_ü", message=MESSAGE)],
            window=collected,
        )
        await ledger.note_error(PROJECT, MESSAGE, T0)
        (status,) = await ledger.status([PROJECT])
        assert (status.project, status.delivered, status.last_error) == (PROJECT, 1, MESSAGE)
        assert await ledger.known(PROJECT, ["log_ł", "log_ü", "log_u"]) == {"log_ł", "log_ü"}
        assert await ledger.watermark_ms(PROJECT, Lane.LIVE) == T0 + HOUR
        (open_aside,) = await ledger.set_aside(PROJECT)
        assert open_aside.message == MESSAGE
    finally:
        await ledger.close()


@pytest.mark.backend
async def test_a_ledger_is_copied_into_a_database_that_is_not_in_utf_8(tmp_path: Path) -> None:
    file = SqliteLedger(tmp_path / "ledger.db", SystemClock())
    await file.open()
    await file.commit(
        PROJECT, delivered=[record("log_ł")], set_aside=[], window=window(0, 1, project=PROJECT)
    )
    await file.close()
    url = new_database("encoded", "LATIN1")
    await copy_ledger(tmp_path / "ledger.db", read_address(url), SystemClock())
    ledger = open_ledger(url, SystemClock(), read_only=True)
    await ledger.open()
    try:
        assert [(each.project, each.delivered) for each in await ledger.status([])] == [(PROJECT, 1)]
    finally:
        await ledger.close()


@pytest.mark.backend
@pytest.mark.parametrize("by", ["DATABASE formats", "ROLE bridge IN DATABASE formats"])
async def test_formats_of_a_role_or_a_database_change_nothing(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    url = new_database("formats")
    for setting in (
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "timezone = 'Pacific/Chatham'",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "search_path = 'nowhere'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "statement_timeout = '1min'",
    ):
        cluster().sql(f"ALTER {by} SET {setting}")
    ledger = open_ledger(url, SystemClock())
    await ledger.open()
    try:
        await ledger.commit(
            PROJECT,
            delivered=[record("log_\\x00")],
            set_aside=[aside("log_b")],
            window=window(0, 1, project=PROJECT),
        )
        await ledger.note_error(PROJECT, MESSAGE, T0)
        (status,) = await ledger.status([])
        assert (status.project, status.last_error) == (PROJECT, MESSAGE)
        assert await ledger.known(PROJECT, ["log_\\x00", "log_b"]) == {"log_\\x00", "log_b"}
    finally:
        await ledger.close()


@given(st.text(st.characters(codec="utf-8")) | st.text("\\xuU0149abcé😀"))
def test_any_text_comes_back_from_its_escapes(text: str) -> None:
    assert escaped(text).isascii()
    assert unescaped(escaped(text)) == text


@pytest.mark.parametrize("text", ["C:\\users", "\\u12", "\\U00110000", "\\xZZ", "plain"])
def test_text_that_holds_no_escapes_is_left_as_it_is(text: str) -> None:
    assert unescaped(text) == text
