"""What ``OTEL_BRIDGE_STATE`` takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from simulated_clock import SimulatedClock

from otel_bridge.errors import SettingsError
from otel_bridge.ledger import SqliteLedger, default_state_url, open_ledger
from otel_bridge.ledger.place import check_state_url, masked_url, sqlite_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///ledger.db", "ledger.db"),
        ("sqlite:///state/ledger.db", "state/ledger.db"),
        ("sqlite:////var/lib/otel-bridge/ledger.db", "/var/lib/otel-bridge/ledger.db"),
        ("sqlite:///with space & 100% ?#.db", "with space & 100% ?#.db"),
    ],
)
def test_a_path_follows_three_slashes_so_an_absolute_one_makes_four(url: str, path: str) -> None:
    assert sqlite_path(url) == Path(path)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/var/me")
    assert sqlite_path("sqlite:///~/ledger.db") == Path("/var/me/ledger.db")
    with pytest.raises(SettingsError, match="no such home folder"):
        sqlite_path("sqlite:///~nobody-of-this-name/ledger.db")


def test_the_default_is_in_the_platforms_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_url() == f"sqlite:///{tmp_path}/otel-bridge/ledger.db"
    assert sqlite_path(default_state_url()) == tmp_path / "otel-bridge" / "ledger.db"


async def test_a_ledger_opens_at_its_url_whatever_the_path_holds(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/with space & 100% ?#é.db", SimulatedClock())
    assert isinstance(ledger, SqliteLedger)
    await ledger.open()
    await ledger.note_success("p", 0)
    await ledger.close()
    assert (tmp_path / "with space & 100% ?#é.db").is_file()
    reader = open_ledger(f"sqlite:///{tmp_path}/with space & 100% ?#é.db", SimulatedClock(), read_only=True)
    await reader.open()
    assert [each.project for each in await reader.status([])] == ["p"]
    await reader.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://me@db/x", "postgres://db/x", "postgresql+psycopg://me:secret@db:5433/x?sslmode=require"],
)
def test_a_postgresql_url_names_a_database(url: str) -> None:
    pytest.importorskip("psycopg")
    check_state_url(url)
    assert type(open_ledger(url, SimulatedClock())).__name__ == "PostgresLedger"


def test_without_its_packages_postgresql_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "otel_bridge.ledger.postgres", None)
    with pytest.raises(SettingsError, match=r"pip install 'otel-bridge\[postgres\]'") as error:
        check_state_url("postgresql://me:s3cret@db/x")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["", "ledger.db", "sqlite:ledger.db", "sqlite://ledger.db", "sqlite:///", "sqlite:///:memory:", "a:///b"],
)
def test_anything_else_is_refused_with_what_it_takes(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        open_ledger(url, SimulatedClock())
    assert str(error.value).startswith(f"OTEL_BRIDGE_STATE is {url!r}: it takes sqlite:///PATH, such as ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://me:s3cret@host/db", "mysql://***@host/db"),
        ("mysql://me:s3@cr/et@host/db?sslkey=x", "mysql://***@host/db?***"),
        ("mysql://host/db", "mysql://host/db"),
        ("sqlite:///a?b", "sqlite:///a?b"),
    ],
)
def test_what_may_be_a_password_is_never_shown(url: str, shown: str) -> None:
    assert masked_url(url) == shown
