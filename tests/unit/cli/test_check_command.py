"""``check``: what a person reads when all is well, and what to do when something is not."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from emulator_thread import surroundings
from recording_sink import HttpAnswer

from otel_bridge import __version__
from otel_bridge.cli.main import run
from otel_bridge.service.check_machine import check_listen
from otel_bridge.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulator_thread import Surroundings

    from otel_bridge.service.finding import Finding

KEY = "ak_test_secret"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OTEL_", "COMPOSIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BRIDGE_STATE", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("OTEL_BRIDGE_LISTEN", "127.0.0.1:0")


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    with surroundings(logs=5) as made:
        monkeypatch.setenv("COMPOSIO_API_KEY", KEY)
        monkeypatch.setenv("COMPOSIO_BASE_URL", made.base_url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.sink.http_endpoint)
        yield made


class Checked:
    """What ``check --json`` said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.status = run(["check", "--json", *arguments])
        self.document = json.loads(capsys.readouterr().out)
        self.findings: list[dict[str, Any]] = self.document["checks"]

    def of(self, check: str) -> list[dict[str, Any]]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding["check"] == check]

    @property
    def failed(self) -> list[str]:
        """What failed, each with what to do."""
        return [f"{each['text']}; {each['todo']}" for each in self.findings if each["state"] == "fail"]


def test_all_well(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "note"}
    for words in (
        "settings are valid: 1 project (default)",
        "can be written, 0 records delivered",
        "the key is accepted and may read logs",
        "1,000,000 requests a minute",
        "50% of it ours",
        "clock agrees",
        "usage summary",
        "traces to",
        "metrics to",
        "acknowledged",
        "127.0.0.1:0 is free",
    ):
        assert words in shown
    assert KEY not in shown
    # It is said before it is sent, and a person can find it by what was said.
    said = next(line for line in lines if "now sending a span and a log record" in line)
    ((resource, scope, span),) = around.sink.spans()
    ((_, _, log),) = around.sink.logs()
    assert (scope.name, span.name, log.event_name) == ("otel_bridge.check",) * 3
    assert span.trace_id.hex() in said
    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    assert {each.key: each.value.string_value for each in resource.attributes} == {
        "service.name": "otel-bridge",
        "service.version": __version__,
    }


def test_the_ids_of_the_test_record_are_a_function_of_its_time(
    around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check"]) == 0
    ((_, _, span),) = around.sink.spans()
    digest = sha256(f"otel_bridge.check:{span.end_time_unix_nano // 1_000_000}".encode()).digest()
    assert (span.trace_id, span.span_id) == (digest[:16], digest[16:24])
    del capsys


def test_nothing_is_sent_where_a_person_said_so(
    around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Checked(capsys, "--no-send").of("record") == []
    assert {request.body for request in around.sink.received} == {b""}


def test_the_ledger_is_left_as_it_was(
    around: Surroundings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Checked(capsys).status == 0
    assert list(tmp_path.iterdir()) == []
    del around


def test_what_fails_says_what_to_do(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPOSIO_API_KEY", "")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/datadoghq")
    monkeypatch.setenv("OTEL_BRIDGE_START", "36h")
    monkeypatch.setenv("OTEL_BRIDGE_STATE", "sqlite:////dev/null/ledger.db")
    monkeypatch.setenv("OTEL_BRIDGE_LISTEN", "nowhere.invalid:8790")
    checked = Checked(capsys)
    assert (checked.status, checked.document["ok"]) == (1, False)
    for words in (
        ("ledger", "OTEL_BRIDGE_STATE"),
        ("COMPOSIO_API_KEY is not set", "dashboard"),
        ("Datadog takes nothing older than 18 h", "set OTEL_BRIDGE_START (start) to 18h or less"),
        ("127.0.0.1:9", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("nowhere.invalid:8790 can't be had", "set OTEL_BRIDGE_LISTEN"),
    ):
        assert any(all(word in line for word in words) for line in checked.failed), words
    assert "no test record is sent" in checked.of("record")[0]["text"]
    del around


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("ak_invalid", ("is not accepted", "take a project API key")),
        ("ak_forbidden", ('needs the permission "Observability: Read"', "give the key that permission")),
    ],
)
def test_a_key_that_is_refused(
    around: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    words: tuple[str, str],
) -> None:
    monkeypatch.setenv("COMPOSIO_API_KEY", key)
    checked = Checked(capsys)
    assert checked.status == 1
    assert all(each in checked.failed[0] for each in words)
    assert key not in json.dumps(checked.document)
    del around


def test_a_refused_key_of_the_settings_file_is_named_by_its_place(
    around: Surroundings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "bridge.yaml"
    settings.write_text("projects: [{name: shop, api_key: ak_invalid}]")
    (line,) = Checked(capsys, "--no-send", "--config", str(settings)).failed
    assert f"401: the key from {settings}: projects.0.api_key is not accepted" in line
    assert "COMPOSIO_API_KEY" not in line
    assert run(["run", "--once", "--config", str(settings)]) == 1
    logged = capsys.readouterr()
    assert f"the key from {settings}: projects.0.api_key is not accepted" in logged.out + logged.err
    assert "ak_invalid" not in logged.out + logged.err
    del around


def test_a_source_that_is_not_there(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPOSIO_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("otel_bridge.service.check_source._SOURCE_S", 0.5)
    (line,) = Checked(capsys, "--no-send").failed
    assert "127.0.0.1:9: no answer within" in line
    assert "HTTPS_PROXY" in line
    del around


def test_an_address_that_is_another_service(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPOSIO_BASE_URL", around.sink.http_endpoint + "/x")
    around.sink.http_answers.append(HttpAnswer(status=404))
    (line,) = Checked(capsys, "--no-send").failed
    assert "COMPOSIO_BASE_URL" in line


def test_a_variable_that_is_no_setting_is_noted(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_POL_INTERVAL", "1h")
    checked = Checked(capsys, "--no-send")
    assert checked.status == 0
    assert "did you mean OTEL_BRIDGE_POLL_INTERVAL?" in checked.of("settings")[1]["text"]
    del around


def test_a_destination_for_spans_only(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    around.sink.http_answers.extend((HttpAnswer(), HttpAnswer(status=404), HttpAnswer()))
    checked = Checked(capsys, "--no-send")
    assert checked.status == 0
    assert "spans go alone" in checked.of("destination")[1]["text"]
    monkeypatch.setenv("OTEL_BRIDGE_SIGNALS", "traces,logs")
    around.sink.http_answers.extend((HttpAnswer(), HttpAnswer(status=404)))
    (line,) = Checked(capsys, "--no-send").failed
    assert "leave logs out of OTEL_BRIDGE_SIGNALS" in line
    assert run(["run", "--once"]) == 0
    around.sink.http_answers.extend(HttpAnswer(status=404) for _ in range(2))
    capsys.readouterr()


def test_a_run_into_a_destination_that_lacks_a_signal_names_the_setting(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_SIGNALS", "logs")
    around.sink.http_answers.extend(HttpAnswer(status=404) for _ in range(20))
    assert run(["run", "--once"]) == 1
    assert "OTEL_BRIDGE_SIGNALS asks for logs: leave it out there" in capsys.readouterr().err


def test_an_http_server_that_is_asked_by_grpc(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_BRIDGE_SIGNALS", "traces")
    # By its address: of a name with several the last one's words are told, which may be another's.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{around.sink.http_port}")
    assert "it speaks no gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in Checked(capsys).failed[0]


def test_a_test_record_that_is_not_taken(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_SIGNALS", "traces")
    around.sink.http_answers.extend((HttpAnswer(), HttpAnswer(status=400, body=b"no such tenant")))
    (line,) = Checked(capsys).failed
    assert "it refuses every record: 400" in line
    assert "see its own log for what it takes" in line
    around.sink.http_answers.extend((HttpAnswer(), HttpAnswer(status=401)))
    assert "OTEL_EXPORTER_OTLP_HEADERS" in Checked(capsys).failed[0]


def test_beside_a_service_that_runs(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An emulator stands in for the endpoints; the lock is what `run` holds.
    address = around.sink.http_endpoint.rpartition(":")[2]
    monkeypatch.setenv("OTEL_BRIDGE_LISTEN", f"127.0.0.1:{address}")
    assert run(["run", "--once"]) == 0
    capsys.readouterr()
    with (tmp_path / "ledger.db.lock").open("r+b") as lock:
        lock.truncate()
        lock.write(b"4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        checked = Checked(capsys, "--no-send")
    assert "pid 4711" in checked.of("ledger")[0]["text"]
    # What has the address is a recorder of OTLP and no bridge.
    (line,) = checked.failed
    assert "in use by another program" in line


async def listen_at(address: str) -> list[Finding]:
    return [each async for each in check_listen(load(environ={"OTEL_BRIDGE_LISTEN": address}))]


async def _livez(reader: Any, writer: Any) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b'{"status": "alive", "reasons": []}'
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
    writer.close()


async def test_endpoints_that_answer_are_those_of_a_service_that_runs() -> None:
    async with await asyncio.start_server(_livez, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await listen_at(f"127.0.0.1:{port}")
    assert [each.state for each in found] == ["note"]
    assert "which is well" in found[0].text
    (off,) = await listen_at("")
    assert "turned off" in off.text
    free, open_to_others = await listen_at("0.0.0.0:0")
    assert free.state == "ok"
    assert "OTEL_BRIDGE_TOKEN" in open_to_others.todo


def test_a_port_is_given_back(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert Checked(capsys, "--no-send").status == 0
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))
    del around
