"""What a person sees of each command, in the test's own process."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from emulator_thread import surroundings

from otel_bridge import __version__
from otel_bridge.cli.commands import commands
from otel_bridge.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulator_thread import Surroundings

FILE_COMMANDS = [
    ["run"],
    ["check"],
    ["worker", "--projects", "a"],
    ["backfill", "--from", "2h", "--to", "now"],
    ["retry"],
    ["verify", "--from", "2h", "--to", "now"],
    ["show", "log_1"],
    ["status"],
    ["config"],
]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OTEL_", "COMPOSIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BRIDGE_STATE", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("COLUMNS", "90")


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    with surroundings() as made:
        monkeypatch.setenv("COMPOSIO_API_KEY", "ak_test_secret")
        monkeypatch.setenv("COMPOSIO_BASE_URL", made.base_url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.sink.http_endpoint)
        yield made


def test_the_demo_draws_traces_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\d+ tool calls in \d+ traces, \d+ failed\.", shown)
    assert "└─" in shown
    assert "━" in shown
    assert "✗" in shown


def test_the_demo_delivers_too_where_an_endpoint_is_set(
    around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo"]) == 0
    shown = capsys.readouterr().out
    assert around.sink.http_endpoint in shown
    calls = re.search(r"(\d+) tool calls", shown)
    assert calls is not None
    assert sum(1 for _ in around.sink.spans()) == int(calls[1])


def test_once_with_measurements(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "--once"]) == 0
    assert capsys.readouterr().out == "30 records delivered\n"
    assert {request.signal for request in around.sink.received} == {"traces", "logs", "metrics"}


@pytest.mark.parametrize("words", [["status"], ["status", "--json"]])
def test_status_names_a_ledger_that_is_not_there(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    told = capsys.readouterr()
    assert f"there is no ledger {tmp_path}/ledger.db yet" in told.err
    assert "no ledger" not in told.out


def test_status_before_and_after(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"]) == 0
    assert "nothing yet" in capsys.readouterr().out
    assert run(["run", "--once"]) == 0
    capsys.readouterr()
    assert run(["status"]) == 0
    table = capsys.readouterr().out
    assert "default" in table
    assert "30 records delivered, nothing set aside" in table
    assert run(["status", "--json"]) == 0
    (project,) = json.loads(capsys.readouterr().out)
    assert project["delivered"] == 30
    assert project["lag_ms"] >= 0
    del around


def test_show_explains_the_trace(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", around.ids[0]]) == 0
    shown = capsys.readouterr().out
    assert "trace chosen by" in shown
    assert around.ids[0] in shown
    assert run(["show", around.ids[0], "--as", "otlp-json"]) == 0
    assert json.loads(capsys.readouterr().out)["resourceLogs"]
    assert run(["show", "log_unknown"]) == 1
    assert "log_unknown" in capsys.readouterr().err
    for command in (["show", around.ids[0]], ["retry"]):
        assert run([*command, "--project", "other"]) == 2
        assert "'other'" in (line := capsys.readouterr().err)
        assert line.endswith("in the settings: default\n")


def test_config_can_be_used_as_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    assert document["collect"]["poll_interval"] == "auto"
    assert run(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_an_unknown_variable_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_POL_INTERVAL", "1h")
    assert run(["status"]) == 0
    assert capsys.readouterr().err.count("OTEL_BRIDGE_POLL_INTERVAL") == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"otel-bridge {__version__}\n"
    assert run(["--help"]) == 0
    assert "emulate" in capsys.readouterr().out


def test_no_command_takes_a_secret_where_other_users_see_it() -> None:
    group: Any = commands
    # The emulator's keys are made up.
    several = [command for name, command in group.commands.items() if name != "emulate"]
    several += [each for command in several for each in getattr(command, "commands", {}).values()]
    names = {name for command in several for parameter in command.params for name in parameter.opts}
    assert {"--config", "--project", "--once"} <= names
    assert not {name for name in names if re.search("key|token|password|secret|header", name)}


@pytest.mark.parametrize(("arguments", "command"), [([], "verify"), (["ledger"], "copy")])
def test_no_words_are_answered_with_help(
    capsys: pytest.CaptureFixture[str], arguments: list[str], command: str
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len([line for line in err.splitlines() if line.strip().startswith(command)]) == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nonsense"], "(otel-bridge --help)"),
        (["backfill"], "(otel-bridge backfill --help)"),
        (["ledger", "copy", "x"], "(otel-bridge ledger copy --help)"),
    ],
)
def test_wrong_words_are_answered_with_where_the_right_ones_are(
    capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(hint)


@pytest.mark.parametrize("name", ["", " ", "\x00"])
def test_an_empty_config_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--config", name]) == 2
    assert "--config is empty: takes the name of a YAML file" in capsys.readouterr().err


def test_one_is_said_as_one(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_START", "0s")
    assert run(["run", "--once"]) == 0
    assert run(["retry"]) == 0
    assert run(["retry", around.ids[0]]) == 1
    out, err = capsys.readouterr()
    again = "0 records are tried again by the service, or by the next `otel-bridge run --once`"
    assert out.splitlines() == ["0 records delivered", again, again]
    assert err == "otel-bridge: 1 of 1 id is not set aside\n"


def test_a_surprise_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a payload")

    monkeypatch.setattr("otel_bridge.cli.options.load", broken)
    assert run(["status"]) == 1
    shown = capsys.readouterr().err
    assert "KeyError" in shown
    assert "payload" not in shown


def test_interrupting_is_no_error_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("otel_bridge.cli.options.load", interrupted)
    assert run(["status"]) == 130
    assert capsys.readouterr().err == ""


def test_measurements_that_are_not_taken_are_said(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:9/v1/metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    assert run(["run", "--once"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "30 records delivered\n"
    assert "metrics" in shown.err
    assert "127.0.0.1:9" in shown.err
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "abc")
    assert run(["config"]) == 2
    assert "OTEL_METRIC_EXPORT_INTERVAL" in capsys.readouterr().err
    del around


@pytest.mark.parametrize("words", [["config"], ["config", "--config", "{other}"]], ids=["variable", "option"])
def test_a_variable_names_the_settings_file_of_commands_that_are_given_none(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named, other = tmp_path / "named.yaml", tmp_path / "other.yaml"
    named.write_text("projects: [{name: named, api_key: x}]")
    other.write_text("projects: [{name: other, api_key: x}]")
    monkeypatch.setenv("OTEL_BRIDGE_CONFIG", f" {named} ")
    assert run([word.format(other=other) for word in words]) == 0
    shown, wanted = capsys.readouterr(), other if "--config" in words else named
    assert shown.out.startswith(f"# {wanted}, and the environment\n")
    assert yaml.safe_load(shown.out)["projects"][0]["name"] == wanted.stem
    assert not shown.err  # it is no unknown variable


@pytest.mark.parametrize("words", FILE_COMMANDS, ids=" ".join)
def test_a_settings_file_of_the_variable_that_is_not_there_is_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_CONFIG", "/nowhere/bridge.yaml")
    run(words)
    told = capsys.readouterr()
    line = "OTEL_BRIDGE_CONFIG is '/nowhere/bridge.yaml': the settings file can't be read: No such file"
    assert line in told.out + told.err


def test_an_empty_variable_names_no_settings_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_CONFIG", " ")
    assert run(["config"]) == 0
    assert capsys.readouterr().out.startswith("projects:")
