"""A user without a home folder and a folder that is gone: one line, or no need of either."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any

import pytest

from otel_bridge.cli.main import run
from otel_bridge.cli.program import program
from otel_bridge.cli.streams import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user of any number: no HOME, and no entry among the system's users."""

    def unknown(_user: Any) -> None:
        raise KeyError

    for name in [
        name for name in os.environ if name.startswith(("OTEL_", "COMPOSIO_", "XDG_")) or name == "HOME"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("COMPOSIO_API_KEY", "ak_1")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("command", [["run"], ["status"], ["config"], ["check", "--no-send"]])
def test_a_ledger_that_has_no_place_is_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 2
    assert capsys.readouterr().err.startswith(
        "otel-bridge: OTEL_BRIDGE_STATE is not set, and this user has no home folder (HOME) for the ledger: "
        "it takes sqlite:///PATH"
    )


@pytest.mark.usefixtures("homeless")
def test_no_home_folder_is_needed_where_the_ledger_has_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_STATE", f"sqlite:///{tmp_path}/ledger.db")
    assert run(["config"]) == 0
    assert run(["status"]) == 0
    monkeypatch.setenv("OTEL_BRIDGE_STATE", "sqlite:///~/ledger.db")
    assert run(["config"]) == 2
    assert "no such home folder" in capsys.readouterr().err


@pytest.mark.usefixtures("homeless")
def test_completion_says_that_it_has_no_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    assert run(["--install-completion"]) == 1
    assert "there is no home folder" in capsys.readouterr().err


def test_a_hint_needs_no_folder_to_be_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert program()


def test_the_process_has_its_own_streams_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python has None for a stream that was closed when it started.
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
    prepare()
    import sys  # noqa: PLC0415 - as it is now

    assert sys.stdin.read() == ""
    sys.stdin.close()
    sys.stdout.write("x" * 100_000)
    sys.stderr.write("é\udcff")
    sys.stdout.flush()


LONG = "a" * 300


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (["status"], {"OTEL_BRIDGE_STATE": f"sqlite:///{LONG}"}),
        (
            ["check", "--no-send"],
            {"OTEL_BRIDGE_STATE": f"sqlite:///{LONG}", "COMPOSIO_BASE_URL": "http://127.0.0.1:1"},
        ),
        (["ledger", "copy", f"sqlite:///{LONG}", "postgresql://127.0.0.1:1/x"], {}),
        (["status"], {"OTEL_BRIDGE_PROJECTS": LONG}),
        (["status", "--config", LONG], {}),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(
    command: list[str],
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"HOME": str(tmp_path), "COMPOSIO_API_KEY": "ak_1", **variables}.items():
        monkeypatch.setenv(name, value)
    assert run(command) in {1, 2}
    said = capsys.readouterr()
    assert LONG[:200] in said.out + said.err
    assert "unforeseen" not in said.out + said.err
