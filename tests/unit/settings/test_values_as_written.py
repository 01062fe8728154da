"""Values as tools write them: what is around a value is taken off, what is wrong within it is said."""

from __future__ import annotations

import codecs
import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.environment import clean_environment, cleaned, decoded, prepare
from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Signal
from otel_bridge.instrumentation.instrumentor import _reporter_from_environment
from otel_bridge.settings import SettingsModel, load, variables

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ak_written"
# A value of each setting that has a variable, as far as there is one that is not its default's.
WRITTEN = {
    "COMPOSIO_API_KEY": KEY,
    "COMPOSIO_BASE_URL": "https://composio.example",
    "OTEL_BRIDGE_START": "36h",
    "OTEL_BRIDGE_POLL_INTERVAL": "7s",
    "OTEL_BRIDGE_RECHECK": "30s,1h",
    "OTEL_BRIDGE_DETAIL": "failed",
    "OTEL_BRIDGE_RATE_SHARE": "0.25",
    "OTEL_BRIDGE_CONCURRENCY": "7",
    "OTEL_BRIDGE_PARENT_WAIT": "1m",
    "OTEL_BRIDGE_CORRELATION_WAIT": "1s",
    "OTEL_BRIDGE_VERIFY_EVERY": "0s",
    "OTEL_BRIDGE_SOURCE_TIMEOUT": "9s",
    "OTEL_BRIDGE_SIGNALS": "traces,logs",
    "OTEL_BRIDGE_MAX_BATCH_RECORDS": "100",
    "OTEL_BRIDGE_MAX_BATCH_BYTES": "50000",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "OTEL_BRIDGE_AGE_LIMIT": "18h",
    "OTEL_BRIDGE_CONNECTION_AGE": "5m",
    "OTEL_BRIDGE_SERVICE_NAME": "calls-{toolkit}",
    "OTEL_BRIDGE_SPAN_KIND": "client",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    "OTEL_BRIDGE_REDACT": "iban,pin",
    "OTEL_BRIDGE_GROUP_BY": "session",
    "OTEL_BRIDGE_UNSAMPLED": "drop",
    "OTEL_BRIDGE_LINK_RETRIES": "false",
    "OTEL_BRIDGE_SAMPLE": "0.5",
    "OTEL_BRIDGE_ATTRIBUTE_BYTES": "100",
    "OTEL_BRIDGE_SPAN_BYTES": "5000",
    "OTEL_BRIDGE_STATE": "sqlite:////var/lib/otel-bridge/ledger.db",
    "OTEL_BRIDGE_LEASE": "20s",
    "OTEL_BRIDGE_KEEP": "3d",
    "OTEL_BRIDGE_KEEP_CORRELATIONS": "2d",
    "OTEL_BRIDGE_LISTEN": "[::]:8790",
    "OTEL_BRIDGE_TOKEN": "a-token",
    "OTEL_BRIDGE_HOSTS": "localhost,bridge",
    "OTEL_BRIDGE_LAG_LIMIT": "6m",
    "OTEL_BRIDGE_START_GRACE": "2m",
    "OTEL_BRIDGE_TRACE_LINKS": "Jaeger=http://127.0.0.1:16686/trace/{trace_id}",
    "OTEL_BRIDGE_LOG_LEVEL": "debug",
    "OTEL_BRIDGE_LOG_FORMAT": "text",
    "OTEL_BRIDGE_TELEMETRY": "traces,logs",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "OTEL_EXPORTER_OTLP_HEADERS": 'api-key=secret,x-note="kept"',
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
    "OTEL_RESOURCE_ATTRIBUTES": "team=a b,region=eu",
}
AROUND = [
    "{}\r",
    " {}\t",
    '"{}"',
    "'{}'",
    '"{}"\r',
    "\ufeff{}",
    "\u00ef\u00bb\u00bf{}\r\n",
    "\udcef\udcbb\udcbf{}",
    "{}\u200b",
]


@pytest.mark.parametrize("around", AROUND)
def test_every_variable_means_the_same_whatever_a_tool_puts_around_it(around: str) -> None:
    plain = load(environ=WRITTEN)
    # Quotes of a kind that a value has within it do not enclose it.
    quote = around[0] if around[0] in "\"'" else "\0"
    written = {name: value if quote in value else around.format(value) for name, value in WRITTEN.items()}
    settings = load(environ=written)
    assert SettingsModel.model_dump(settings) == SettingsModel.model_dump(plain)
    for signal in Signal:
        assert settings.destination(signal) == plain.destination(signal)


def test_no_setting_is_left_out_above() -> None:
    by_variable = {variable.name for _, variable, _ in variables() if variable.name}
    assert by_variable - WRITTEN.keys() <= {"OTEL_BRIDGE_PROJECTS"}


@pytest.mark.parametrize("empty", ["", " ", '""', "''\r", "\ufeff"])
def test_a_value_of_nothing_is_none(empty: str) -> None:
    settings = load(
        environ={"COMPOSIO_API_KEY": empty, "COMPOSIO_BASE_URL": empty, "OTEL_BRIDGE_LISTEN": empty}
    )
    assert settings.projects[0].api_key is None
    assert settings.projects[0].base_url == "https://backend.composio.dev"
    assert settings.http.listen == ""


@given(st.text(st.sampled_from("ab \r\n\t\"'\ufeff\u200b"), max_size=12))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert once in text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('"a","b"', '"a","b"'),
        ('name="a b"', 'name="a b"'),
        ('"', '"'),
        ("'it''s'", "'it''s'"),
        ("\"'a'\"", "a"),
        ('"a\'b"', "a'b"),
        ('{"a": 1}', '{"a": 1}'),
    ],
)
def test_quotes_come_off_where_one_pair_encloses_it_all(text: str, meant: str) -> None:
    assert cleaned(text) == meant


def test_a_name_loses_the_mark_of_its_file_and_gives_way_to_one_that_has_none() -> None:
    assert clean_environment({"\ufeffOTEL_BRIDGE_START": "1h"}) == {"OTEL_BRIDGE_START": "1h"}
    both = {"\ufeffOTEL_BRIDGE_START": "1h", "OTEL_BRIDGE_START": "2h"}
    assert clean_environment(both) == {"OTEL_BRIDGE_START": "2h"}


def test_what_libraries_read_is_cleaned_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", '"http://proxy.example:3128"\r')
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem\r")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    prepare(os.environ)
    assert os.environ["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert os.environ["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" not in os.environ


def test_no_setting_is_taken_out_of_the_process_s_environment() -> None:
    environ = dict(WRITTEN)
    prepare(environ)
    assert environ == WRITTEN


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "raw",
    [
        KEY.encode() + b"\r\n",
        b"\xef\xbb\xbf" + KEY.encode() + b"\n",
        b'"' + KEY.encode() + b'"\n',
        codecs.BOM_UTF16_LE + f"{KEY}\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + f"{KEY}\r\n".encode("utf-16-be"),
    ],
)
def test_a_secret_in_a_file_is_read_as_it_was_meant(tmp_path: Path, raw: bytes) -> None:
    secret = tmp_path / "key"
    secret.write_bytes(raw)
    path = tmp_path / "bridge.yaml"
    path.write_text(f"projects: [{{api_key: '${{file:{secret}}}'}}]\nhttp: {{token: '${{file:{secret}}}'}}")
    by_file = load(path, {})
    by_variable = load(environ={"COMPOSIO_API_KEY_FILE": f'"{secret}"\r'})
    for settings in (by_file, by_variable):
        key = settings.projects[0].api_key
        assert key is not None
        assert key.get_secret_value() == KEY
    assert by_file.http.token is not None
    assert by_file.http.token.get_secret_value() == KEY


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_settings_file_as_windows_saves_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "bridge.yaml"
    text = "projects:\n- name: shop\n  api_key: ${env:KEY}\nledger:\n  state: |\n    sqlite:////tmp/x.db\n"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    settings = load(path, {"KEY": f"'{KEY}'\r"})
    (project,) = settings.projects
    assert project.name == "shop"
    assert project.api_key is not None
    assert project.api_key.get_secret_value() == KEY
    assert settings.ledger.state.get_secret_value() == "sqlite:////tmp/x.db"


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_no_text(raw: bytes) -> None:
    with contextlib.suppress(UnicodeDecodeError):
        assert isinstance(decoded(raw), str)


# ── what no cleaning mends ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("within", ["\x00", "\x1b", "\x7f", "\x85", "\udcff"])
@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_control_character_within_is_one_line_that_shows_nothing_of_it(name: str, within: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={name: f"hid{within}den"})
    line = str(caught.value)
    assert line.startswith(f"{name} holds ")
    assert "den" not in line
    assert line.isprintable()


@pytest.mark.parametrize("within", ["\n", "\r", "\t", "\x0b"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPOSIO_API_KEY", "ak_{}b"),
        ("COMPOSIO_BASE_URL", "https://compo{}sio.example"),
        ("OTEL_BRIDGE_STATE", "sqlite:////tmp/a{}b.db"),
        ("OTEL_BRIDGE_TOKEN", "a{}b"),
        ("OTEL_BRIDGE_LISTEN", "127.0.0.1{}:8790"),
        ("OTEL_BRIDGE_REDACT", "a{}b"),
        ("OTEL_BRIDGE_SERVICE_NAME", "a{}b"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.{}0.1:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b{}c"),
    ],
)
def test_a_line_break_within_a_value_of_one_line_is_refused(name: str, value: str, within: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={name: value.format(within)})
    assert str(caught.value).startswith(name)


def test_a_control_character_in_the_file_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text('projects: [{name: "a\\eb"}]')
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}: projects.0.name holds the control character \\x1b")


# ── the application's side ───────────────────────────────────────────────────────────────────────────────
def test_the_application_reads_its_variables_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", '"http://127.0.0.1:8790"\r')
    monkeypatch.setenv("OTEL_BRIDGE_TOKEN", "'a-token'\r")
    reporter = _reporter_from_environment()
    assert reporter is not None
    assert reporter._url == "http://127.0.0.1:8790/v1/correlations"
    assert reporter._headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BRIDGE_TOKEN", "a\nb"),
        ("OTEL_BRIDGE_CORRELATION_ENDPOINT", "http://brid\nge:8790"),
        ("OTEL_BRIDGE_CORRELATION_ENDPOINT", "http://bridge:port"),
    ],
)
def test_an_application_with_a_variable_that_cant_be_used_is_told_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", "http://127.0.0.1:8790")
    monkeypatch.setenv(name, value)
    assert _reporter_from_environment() is None
    assert name in caplog.text
    assert value not in caplog.text
