"""Every code block of the README and the docs does what it says: run, read or validated."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from documentation import DOCS, PICTURES, REASONS, ROOT, Block, blocks, blocks_in, pages
from emulator_thread import Surroundings, surroundings

from otel_bridge.settings import SettingsModel, load

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("sh", "bash", "console")
KNOWN = {
    *PICTURES,
    *SHELLS,
    "yaml",
    "json",
    "python",
    "promql",
    "ts",
    "js",
    "dockerfile",
    "ini",
    "toml",
    "sql",
}


def named(found: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in found]


def runs(block: Block) -> bool:
    return block.mark != "not run"


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    with surroundings() as made:
        yield made


def environment(folder: Path, around: Surroundings) -> dict[str, str]:
    """What a person has set who reads the page: a key, a source, a destination, and the program on PATH."""
    program = folder / "bin" / "otel-bridge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m otel_bridge "$@"\n')
    program.chmod(0o755)
    inherited = {"LANG", "LC_ALL", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}
    kept = {name: value for name, value in os.environ.items() if name in inherited}
    return {
        **kept,
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LOG_ID": around.ids[0],
        "COLUMNS": "100",
        "COMPOSIO_API_KEY": "ak_docs",
        "COMPOSIO_BASE_URL": around.base_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": around.sink.http_endpoint,
        "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
        "OTEL_BRIDGE_LISTEN": "127.0.0.1:0",
    }


def test_every_block_says_what_language_it_is_in_or_is_a_picture() -> None:
    unknown = {block.name: block.language for page in pages() for block in blocks_in(page)}
    assert set(unknown.values()) <= KNOWN, {name for name, of in unknown.items() if of not in KNOWN}


def test_a_block_that_is_not_run_has_a_reason_that_holds() -> None:
    for page in pages():
        for block in blocks_in(page):
            if block.mark == "not run":
                assert block.text in REASONS, f"{block.name}: takes one of {sorted(REASONS)}"
                assert re.search(REASONS[block.text], block.code), block.name
            else:
                assert block.mark in {None, "exit", "help"}, f"{block.name}: {block.mark}"


SHELL_PAGES = sorted({block.page for block in blocks(*SHELLS) if runs(block)})


@pytest.mark.parametrize("page", SHELL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shell_blocks_run(page: Path, tmp_path: Path, around: Surroundings) -> None:
    """A page's blocks run in their order in one folder; each must leave with the status it says."""
    env = environment(tmp_path, around)
    for block in blocks_in(page):
        if block.language not in SHELLS or not runs(block):
            continue
        expected = int(block.text) if block.mark == "exit" else 0
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code],  # noqa: S607 - the shell of the reader
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == expected, f"{block.name}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, block.name


@pytest.mark.parametrize("block", named(blocks("yaml")))
def test_yaml_blocks_are_settings_that_are_taken(block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.code)
    if not runs(block):
        assert set(document) - set(SettingsModel.model_fields), "a file of settings needs no mark"
        return
    secret = tmp_path / "secret"
    secret.write_text("ak_secret")
    path = tmp_path / "bridge.yaml"
    path.write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", block.code))
    environ = dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", block.code), "x")
    assert load(path, environ).projects


@pytest.mark.parametrize("block", named(blocks("json")))
def test_json_blocks_are_json(block: Block) -> None:
    assert json.loads(block.code)


def test_python_blocks_run(tmp_path: Path) -> None:
    for block in blocks("python"):
        compile(block.code, block.name, "exec")
        if not runs(block):
            continue
        script = tmp_path / "block.py"
        script.write_text(block.code)
        command = [sys.executable, str(script)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{block.name}\n{done.stderr}"


def test_the_settings_file_of_the_documentation_says_what_it_seems_to(tmp_path: Path) -> None:
    (example,) = (block for block in blocks("yaml") if block.page == DOCS / "settings.md")
    key = tmp_path / "desk_key"
    key.write_text("ak_desk")
    path = tmp_path / "bridge.yaml"
    path.write_text(example.code.replace("/run/secrets/desk_key", str(key)))
    settings = load(path, {"SHOP_COMPOSIO_KEY": "ak_shop", "OTLP_KEY": "x"})
    assert [project.name for project in settings.projects] == ["shop", "desk"]
