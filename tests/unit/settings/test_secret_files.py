"""Secrets and certificates in files: named by a variable or in the settings file, and read again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from certificates import make_certificates

from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Signal
from otel_bridge.settings import Settings, load, unknown_variables


def put(folder: Path, text: str, name: str = "secret") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def headers(settings: Settings, signal: Signal = Signal.TRACES) -> dict[str, str]:
    return dict(settings.destination(signal).headers)


def token(settings: Settings) -> str | None:
    return settings.http.token.get_secret_value() if settings.http.token else None


def key(settings: Settings) -> str | None:
    found = settings.projects[0].api_key
    return found.get_secret_value() if found else None


def test_a_file_holds_the_value_of_each_secret(tmp_path: Path) -> None:
    environ = {
        "COMPOSIO_API_KEY_FILE": put(tmp_path, "ak_1\n", "key"),
        "OTEL_BRIDGE_TOKEN_FILE": put(tmp_path, "t0ken\r\n", "token"),
        "OTEL_BRIDGE_STATE_FILE": put(tmp_path, "sqlite:////tmp/of-a-file.db\n", "state"),
        "OTEL_EXPORTER_OTLP_HEADERS_FILE": put(tmp_path, "api-key=1\n\nx=2\n", "headers"),
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS_FILE": put(tmp_path, "api-key=3", "logs"),
    }
    settings = load(environ=environ)
    assert (key(settings), token(settings)) == ("ak_1", "t0ken")
    assert settings.ledger.state.get_secret_value() == "sqlite:////tmp/of-a-file.db"
    assert headers(settings) == {"api-key": "1", "x": "2"}
    assert headers(settings, Signal.LOGS) == {"api-key": "3"}
    assert unknown_variables(environ) == []


def test_a_value_stands_above_its_file_which_is_then_not_read() -> None:
    settings = load(
        environ={
            "OTEL_BRIDGE_TOKEN": "t",
            "OTEL_BRIDGE_TOKEN_FILE": "/nowhere",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_HEADERS_FILE": "/nowhere",
        }
    )
    assert token(settings) == "t"
    assert headers(settings) == {"a": "1"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COMPOSIO_API_KEY_FILE", ""),
        ("COMPOSIO_API_KEY_FILE", "two words"),
        ("OTEL_BRIDGE_TOKEN_FILE", " \n"),
        ("OTEL_BRIDGE_STATE_FILE", "mysql://user:hidden@host/"),
        ("OTEL_EXPORTER_OTLP_HEADERS_FILE", ""),
        ("OTEL_EXPORTER_OTLP_HEADERS_FILE", "hidden"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE", "hidden"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_and_what_it_holds_is_not_shown(
    tmp_path: Path, name: str, text: str
) -> None:
    path = put(tmp_path, text)
    with pytest.raises(SettingsError) as failed:
        load(environ={name: path})
    assert name in str(failed.value)
    assert path in str(failed.value)
    assert "hidden" not in str(failed.value)


@pytest.mark.parametrize("in_file", [False, True], ids=["by a variable", "in the settings file"])
def test_what_is_in_a_file_now_is_the_present_value(tmp_path: Path, in_file: bool) -> None:
    names = {name: put(tmp_path, "ak=old", name) for name in ("key", "token", "headers")}
    environ = {
        "COMPOSIO_API_KEY_FILE": names["key"],
        "OTEL_BRIDGE_TOKEN_FILE": names["token"],
        "OTEL_EXPORTER_OTLP_HEADERS_FILE": names["headers"],
    }
    written = put(
        tmp_path,
        f"projects: [{{name: shop, api_key: '${{file:{names['key']}}}'}}]\n"
        f"http: {{token: '${{file:{names['token']}}}'}}\n"
        f"export: {{headers: '${{file:{names['headers']}}}'}}\n",
        "bridge.yaml",
    )
    settings = load(Path(written)) if in_file else load(environ=environ)
    for path in names.values():
        Path(path).write_text("ak=newer")
    now = settings.present.look()
    assert (key(now), token(now), headers(now)) == ("ak=newer", "ak=newer", {"ak": "newer"})
    Path(names["token"]).write_text("")
    assert token(settings.present.look()) == "ak=newer"
    assert token(settings) == "ak=old", "what was loaded is a value of its own"


def test_a_settings_file_that_is_edited_while_it_runs_changes_nothing(tmp_path: Path) -> None:
    secret = put(tmp_path, "old")
    path = tmp_path / "bridge.yaml"
    path.write_text(f"http: {{token: '${{file:{secret}}}', listen: '127.0.0.1:1'}}")
    settings = load(path, {})
    path.write_text("http: {listen: '127.0.0.1:2'}")
    Path(secret).write_text("newer")
    now = settings.present.look()
    assert (token(now), now.http.listen) == ("newer", "127.0.0.1:1")


def test_a_certificate_whose_key_comes_later_is_used_with_its_key_only(tmp_path: Path) -> None:
    for name in ("old", "new", "live"):
        (tmp_path / name).mkdir()
    old, new = make_certificates(tmp_path / "old"), make_certificates(tmp_path / "new")
    certificate, client_key = tmp_path / "live" / "tls.crt", tmp_path / "live" / "tls.key"
    shutil.copy(old.client, certificate)
    shutil.copy(old.client_key, client_key)
    settings = load(
        environ={
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(client_key),
        }
    )
    said: list[str] = []
    settings.on_files(lambda: said.append("renewed"), said.append)
    shutil.copy(new.client, certificate)
    assert settings.present.look() is settings.present.get()
    assert len(said) == 1
    assert "OTEL_EXPORTER_OTLP_CLIENT_KEY" in said[0]
    assert "no pair" in said[0]
    shutil.copy(new.client_key, client_key)
    before = settings.present.get()
    assert settings.present.look() is not before
    assert said[1:] == ["renewed"]


def test_settings_without_files_have_none_to_look_at() -> None:
    assert not load(environ={"COMPOSIO_API_KEY": "ak"}).reads_files
