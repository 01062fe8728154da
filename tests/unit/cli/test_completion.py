"""Shell completion: what it offers, and that it writes only what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_bridge.cli.program import program

if TYPE_CHECKING:
    from pathlib import Path

RUN = [sys.executable, "-m", "otel_bridge"]


def environment(home: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COMPOSIO_"))}
    return {**kept, "HOME": str(home), "SHELL": "/bin/bash", **variables}


def said(home: Path, *arguments: str, **variables: str) -> str:
    env = environment(home, **variables)
    done = subprocess.run(
        [*RUN, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("otel-bridge sta", {"status"}),
        ("otel-bridge check --", {"--config", "--no-send", "--json", "--help"}),
        ("otel-bridge show log_1 --as otlp", {"otlp-json"}),
    ],
)
def test_commands_options_and_values_are_offered(tmp_path: Path, words: str, offered: set[str]) -> None:
    last = str(len(words.split(" ")) - 1)
    out = said(tmp_path, _OTEL_BRIDGE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=last)
    assert set(out.split()) == offered
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed_and_written_nowhere(tmp_path: Path, shell: str) -> None:
    assert "_OTEL_BRIDGE_COMPLETE" in said(tmp_path, _OTEL_BRIDGE_COMPLETE=f"source_{shell}")
    assert list(tmp_path.iterdir()) == []


ASK = {
    "bash": """eval "$(_OTEL_BRIDGE_COMPLETE=source_bash otel-bridge)"
COMP_WORDS=(otel-bridge sta) COMP_CWORD=1
"$(complete -p otel-bridge | sed 's/.*-F \\([^ ]*\\).*/\\1/')" otel-bridge
printf '%s\\n' "${COMPREPLY[@]}" """,
    "zsh": """autoload -U compinit && compinit -u -d "$HOME/.zcompdump"
eval "$(_OTEL_BRIDGE_COMPLETE=source_zsh otel-bridge)"
_arguments() { print -r -- "$@" }
words=(otel-bridge sta) CURRENT=2
$_comps[otel-bridge]""",
    "fish": """_OTEL_BRIDGE_COMPLETE=source_fish otel-bridge | source
complete -C 'otel-bridge sta'""",
}
"""What a shell does when somebody types `otel-bridge sta` and Tab. zsh's own drawing of it is left out."""


@pytest.mark.backend
@pytest.mark.parametrize("shell", ASK)
def test_a_shell_itself_completes_what_is_typed(tmp_path: Path, shell: str) -> None:
    found = shutil.which(shell)
    if found is None:
        reason = f"{shell} is not installed: apt-get install {shell}"
        if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    script = tmp_path / "bin" / "otel-bridge"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m otel_bridge "$@"\n')
    script.chmod(0o755)
    env = environment(tmp_path, PATH=f"{script.parent}:{os.environ['PATH']}")
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [found, *bare, "-c", ASK[shell]], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "status" in done.stdout, done.stderr
    assert "backfill" not in done.stdout
    assert done.stderr == ""


def test_what_is_installed_is_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("# mine\n")
    # The shell is found by the program that started this one.
    command = " ".join([*RUN, "--install-completion"])
    subprocess.run(["bash", "-c", f"{command}; true"], env=environment(tmp_path), check=True, timeout=60)  # noqa: S607 - the shell of a reader
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert written == {".bashrc", ".bash_completions/otel-bridge.sh"}
    assert (tmp_path / ".bashrc").read_text().startswith("# mine\n")


def test_hints_call_the_program_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "otel-bridge"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == "bin/otel-bridge"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "otel-bridge"
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == str(script).removeprefix("/")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    assert program().endswith("-m otel_bridge")
