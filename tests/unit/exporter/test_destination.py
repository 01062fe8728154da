"""The standard OTEL_EXPORTER_OTLP_* variables, as the specification says."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Destination, Protocol, Signal, destination_from, public_url

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates

BASE = "OTEL_EXPORTER_OTLP_"


def _read(signal: Signal = Signal.TRACES, /, **variables: str) -> Destination:
    return destination_from(signal, {BASE + name: value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("signal", "variables", "endpoint"),
    [
        (Signal.TRACES, {}, "http://localhost:4318/v1/traces"),
        (Signal.LOGS, {}, "http://localhost:4318/v1/logs"),
        (Signal.METRICS, {"ENDPOINT": " "}, "http://localhost:4318/v1/metrics"),
        (Signal.TRACES, {"ENDPOINT": "https://collector"}, "https://collector/v1/traces"),
        (Signal.TRACES, {"ENDPOINT": "http://c:1/otlp/"}, "http://c:1/otlp/v1/traces"),
        (Signal.LOGS, {"ENDPOINT": "http://c/otlp?tenant=a"}, "http://c/otlp/v1/logs?tenant=a"),
        (Signal.TRACES, {"TRACES_ENDPOINT": "http://c/intake"}, "http://c/intake"),
        (Signal.TRACES, {"TRACES_ENDPOINT": "http://c:9"}, "http://c:9/"),
        (Signal.LOGS, {"TRACES_ENDPOINT": "http://c/intake"}, "http://localhost:4318/v1/logs"),
        (Signal.LOGS, {"ENDPOINT": "http://a", "LOGS_ENDPOINT": "http://b/x"}, "http://b/x"),
        (Signal.TRACES, {"ENDPOINT": "http://[::1]:4318"}, "http://[::1]:4318/v1/traces"),
        (Signal.TRACES, {"PROTOCOL": "grpc"}, "http://localhost:4317"),
        (Signal.TRACES, {"PROTOCOL": "grpc", "ENDPOINT": "collector:1234"}, "collector:1234"),
        (Signal.TRACES, {"PROTOCOL": "grpc", "ENDPOINT": "collector"}, "collector:4317"),
        (Signal.TRACES, {"PROTOCOL": "grpc", "ENDPOINT": "http://collector"}, "http://collector:4317"),
        (Signal.TRACES, {"PROTOCOL": "grpc", "ENDPOINT": "https://collector/x"}, "https://collector"),
    ],
)
def test_where_a_signal_goes(signal: Signal, variables: dict[str, str], endpoint: str) -> None:
    assert _read(signal, **variables).endpoint == endpoint


def test_what_is_not_set_has_the_documented_default() -> None:
    read = _read()

    assert (read.protocol, read.headers, read.gzip, read.timeout_ms) == (Protocol.HTTP, (), True, 10_000)
    assert (read.certificate, read.client_key, read.client_certificate) == (None, None, None)


def test_a_signal_s_own_variable_stands_above_the_general_one() -> None:
    variables = {
        "PROTOCOL": "grpc",
        "LOGS_PROTOCOL": "http/protobuf",
        "TIMEOUT": "5000",
        "LOGS_TIMEOUT": "250",
        "COMPRESSION": "gzip",
        "LOGS_COMPRESSION": "none",
        "HEADERS": "a=1,b=2",
        "LOGS_HEADERS": "c=3",
    }
    traces, logs = _read(Signal.TRACES, **variables), _read(Signal.LOGS, **variables)

    assert (traces.protocol, traces.timeout_ms, traces.gzip) == (Protocol.GRPC, 5000, True)
    assert (logs.protocol, logs.timeout_ms, logs.gzip) == (Protocol.HTTP, 250, False)
    assert traces.headers == (("a", "1"), ("b", "2"))
    assert logs.headers == (("c", "3"),)


def test_headers_are_percent_decoded() -> None:
    read = _read(HEADERS="Authorization=Basic%20YTpi%3D, x-scope = team%2Ca ,,k=a=b")

    assert read.headers == (("Authorization", "Basic YTpi="), ("x-scope", "team,a"), ("k", "a=b"))


@pytest.mark.parametrize(
    ("variables", "encrypted"),
    [
        ({"ENDPOINT": "http://c:1", "INSECURE": "false"}, False),
        ({"ENDPOINT": "https://c:1", "INSECURE": "true"}, True),
        ({"ENDPOINT": "c:1"}, True),
        ({"ENDPOINT": "c:1", "INSECURE": "TRUE"}, False),
        ({"ENDPOINT": "c:1", "INSECURE": "true", "TRACES_INSECURE": "false"}, True),
    ],
)
def test_the_scheme_decides_on_tls_and_the_variable_only_without_one(
    variables: dict[str, str], *, encrypted: bool
) -> None:
    assert _read(Signal.TRACES, PROTOCOL="grpc", **variables).tls is encrypted


def test_user_and_password_in_the_url_become_a_header_and_are_never_shown() -> None:
    read = _read(ENDPOINT="https://me:s%40cret@c/otlp?api-key=k3y", HEADERS="x-token=t0ken")

    assert read.endpoint == "https://c/otlp/v1/traces?api-key=k3y"
    basic = base64.b64encode(b"me:s@cret").decode()
    assert read.headers == (("x-token", "t0ken"), ("authorization", f"Basic {basic}"))
    shown = f"{read!r} {read} {read.where}"
    for secret in ("me:", "cret", "k3y", "t0ken", basic):
        assert secret not in shown
    assert read.where == "https://c/otlp/v1/traces"
    assert "x-token=***" in shown


def test_a_destination_made_by_hand_does_not_show_its_password_either() -> None:
    made = Destination(Signal.LOGS, Protocol.GRPC, "me:secret@c:1", gzip=False)

    assert "secret" not in repr(made)
    assert made.where == "c:1"


def test_an_authorization_header_stands_above_the_url_s_user() -> None:
    assert _read(ENDPOINT="http://me:pw@c", HEADERS="Authorization=Bearer x").headers == (
        ("Authorization", "Bearer x"),
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PROTOCOL": "http/json"}, "PROTOCOL is 'http/json': takes grpc or http/protobuf"),
        ({"TRACES_PROTOCOL": "x"}, "TRACES_PROTOCOL is 'x': takes grpc or http/protobuf"),
        ({"COMPRESSION": "zstd"}, "COMPRESSION is 'zstd': takes gzip or none"),
        ({"INSECURE": "yes"}, "INSECURE is 'yes': takes true or false"),
        ({"TIMEOUT": "10s"}, "TIMEOUT is '10s': takes a whole number of milliseconds, 1 or more"),
        ({"TIMEOUT": "0"}, "TIMEOUT is '0': takes a whole number of milliseconds, 1 or more"),
        ({"TIMEOUT": "\u0661"}, "TIMEOUT is '\u0661': takes a whole number of milliseconds, 1 or more"),
        (
            {"ENDPOINT": "localhost:4318"},
            "ENDPOINT is 'localhost:4318': takes a URL such as http://localhost:4318",
        ),
        (
            {"TRACES_ENDPOINT": "ftp://me:secret@c/x?k=secret"},
            "TRACES_ENDPOINT is 'ftp://c/x': takes a URL such as http://localhost:4318",
        ),
        (
            {"ENDPOINT": "http://c:99999"},
            "ENDPOINT is 'http://c:99999': takes a URL such as http://localhost:4318",
        ),
        ({"ENDPOINT": "http://"}, "ENDPOINT is 'http://': takes a URL such as http://localhost:4318"),
        ({"ENDPOINT": "http://a b"}, "ENDPOINT is 'http://a b': takes a URL such as http://localhost:4318"),
        ({"ENDPOINT": "http://[::1"}, "ENDPOINT is 'http://[::1': takes a URL such as http://localhost:4318"),
        (
            {"ENDPOINT": "unix:///tmp/x", "PROTOCOL": "grpc"},
            "ENDPOINT is 'unix:///tmp/x': takes a URL such as http://localhost:4317, or host:port",
        ),
        (
            {"HEADERS": "a=1,secret"},
            (
                "HEADERS can't be read at its item 2: "
                "takes name=value pairs, separated by commas, values percent-encoded"
            ),
        ),
        (
            {"HEADERS": "a b=secret"},
            (
                "HEADERS can't be read at its item 1: "
                "takes name=value pairs, separated by commas, values percent-encoded"
            ),
        ),
        (
            {"HEADERS": "a=secret%0D%0Ax: y"},
            (
                "HEADERS can't be read at its item 1: "
                "takes name=value pairs, separated by commas, values percent-encoded"
            ),
        ),
        (
            {"CERTIFICATE": "/no/such/file"},
            "CERTIFICATE is '/no/such/file': takes a readable PEM file (no such file or directory)",
        ),
        (
            {"CERTIFICATE": "a\0b"},
            r"CERTIFICATE is 'a\x00b': takes a readable PEM file (no path)",
        ),
        (
            {"CLIENT_KEY": "/k.pem"},
            (
                "CLIENT_KEY is '/k.pem': takes a file together with "
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, which is not set"
            ),
        ),
        (
            {"CLIENT_CERTIFICATE": "/c.pem"},
            (
                "CLIENT_CERTIFICATE is '/c.pem': takes a file together with "
                "OTEL_EXPORTER_OTLP_CLIENT_KEY, which is not set"
            ),
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_it_takes_and_no_secret(
    variables: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        _read(Signal.TRACES, **variables)

    assert str(caught.value) == BASE + message


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")

    with pytest.raises(SettingsError, match=r"CERTIFICATE is .*ca\.pem'.* \(no certificate in it is PEM\)"):
        _read(CERTIFICATE=str(tmp_path / "ca.pem"))


def test_a_key_that_is_not_the_certificate_s_is_named(certificates: Certificates) -> None:
    with pytest.raises(SettingsError, match=r"CLIENT_KEY is .*server\.key'.* no pair"):
        _read(CLIENT_KEY=str(certificates.server_key), CLIENT_CERTIFICATE=str(certificates.client))


def test_an_encrypted_key_is_an_error_and_not_a_question_at_the_terminal(certificates: Certificates) -> None:
    with pytest.raises(SettingsError, match="the key is encrypted"):
        _read(CLIENT_KEY=str(certificates.encrypted_key), CLIENT_CERTIFICATE=str(certificates.client))


def test_usable_files_are_taken(certificates: Certificates) -> None:
    read = _read(
        CERTIFICATE=str(certificates.authority),
        CLIENT_KEY=str(certificates.client_key),
        CLIENT_CERTIFICATE=str(certificates.client),
    )

    assert read.certificate == str(certificates.authority)
    assert read.client_key == str(certificates.client_key)
    assert read.client_certificate == str(certificates.client)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/a@b?q#f", "http://h:1/a@b"),
        ("h:1", "h:1"),
        ("u@h", "h"),
        ("/path?k=secret", "/path"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_credential(url: str, shown: str) -> None:
    assert public_url(url) == shown
