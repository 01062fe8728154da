"""Whatever is wrong, a person gets one line that says what, where and what it takes; never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bridge_process import KEY, Finished, emulator, environment, run

if TYPE_CHECKING:
    from pathlib import Path


def assert_one_line(done: Finished, status: int, *words: str) -> None:
    assert done.status == status, done
    lines = [line for line in done.err.splitlines() if line.startswith("otel-bridge: ")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.out + done.err
    assert KEY not in done.out + done.err
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--bogus"), ("--bogus",)),
        (("nonsense",), ("nonsense",)),
        (("show",), ("LOG_ID",)),
        (("show", "log_1", "--as", "picture"), ("picture", "otlp-json")),
        (("emulate", "--port", "99999"), ("99999", "65,535")),
        (("run", "--config", "/nowhere/bridge.yaml"), ("/nowhere/bridge.yaml", "No such file")),
    ],
)
async def test_wrong_words(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_one_line(await run(*arguments, env=environment(tmp_path, COMPOSIO_API_KEY=KEY)), 2, *words)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"COMPOSIO_API_KEY": ""}, ("COMPOSIO_API_KEY", "not set")),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team"}, ("OTEL_RESOURCE_ATTRIBUTES", "team", "key=value")),
        ({"COMPOSIO_API_KEY": "ak_\x01"}, ("COMPOSIO_API_KEY", "control character", "as its character 4")),
        ({"COMPOSIO_API_KEY": "ak_ b"}, ("COMPOSIO_API_KEY", "not shown", "without spaces")),
        ({"OTEL_BRIDGE_START": "tomorrow"}, ("OTEL_BRIDGE_START", "tomorrow", "36h")),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")),
        ({"OTEL_BRIDGE_STATE": "mysql://x"}, ("OTEL_BRIDGE_STATE", "sqlite:///")),
        ({"COMPOSIO_BASE_URL": "http://example.com"}, ("COMPOSIO_BASE_URL", "https")),
    ],
)
async def test_wrong_settings(tmp_path: Path, variables: dict[str, str], words: tuple[str, ...]) -> None:
    env = environment(tmp_path, **{"COMPOSIO_API_KEY": KEY, **variables})
    done = await run("run", "--once", env=env)
    assert_one_line(done, 2, *words)
    assert len(done.err.splitlines()) == 1, "what is wrong is said before anything begins"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("excepted", ["127.0.0.0/8", ""], ids=["the destination", "both sides"])
async def test_a_proxy_that_can_not_be_used(tmp_path: Path, protocol: str, excepted: str) -> None:
    async with emulator("--logs", "3", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT="http://otlp.example:4317",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            ALL_PROXY="http://me:hunter2#@proxy.example:3128",
            NO_PROXY=excepted,
        )
        wrong = ("ALL_PROXY in the environment can't be used", "%23 for #")
        spans = ("--from", "2h", "--to", "1m")
        for arguments in (("run",), ("run", "--once"), ("backfill", *spans), ("verify", *spans)):
            done = await run(*arguments, env=env)
            assert_one_line(done, 2, *wrong)
            assert "hunter2" not in done.out + done.err
        checked = await run("check", "--no-send", env=env)
    assert checked.status == 1
    failed = [line for line in checked.out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == (3 if excepted else 4), checked.out
    assert all(word in line for line in failed for word in wrong)
    assert "endpoints: " in checked.out, "it goes on to the end"
    assert "hunter2" not in checked.out + checked.err


@pytest.mark.parametrize(
    ("key", "word"), [("ak_invalid", "API key"), ("ak_forbidden", "Observability: Read")]
)
async def test_a_refused_key(tmp_path: Path, key: str, word: str) -> None:
    async with emulator("--logs", "3", folder=tmp_path) as base_url:
        env = environment(tmp_path, COMPOSIO_API_KEY=key, COMPOSIO_BASE_URL=base_url)
        done = await run("run", "--once", env=env)
    assert_one_line(done, 1, word)
    assert key not in done.err


async def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    env = environment(tmp_path, COMPOSIO_API_KEY=KEY, COMPOSIO_BASE_URL="http://127.0.0.1:9")
    assert_one_line(await run("run", "--once", env=env), 1, "127.0.0.1:9")


async def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    async with emulator("--logs", "3", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        )
        done = await run("run", "--once", env=env)
    assert_one_line(done, 1, "127.0.0.1:9")
    assert done.out.strip() == "0 records delivered"


async def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    env = environment(
        tmp_path, COMPOSIO_API_KEY=KEY, OTEL_BRIDGE_STATE="sqlite:////proc/self/bridge/ledger.db"
    )
    assert_one_line(await run("run", "--once", env=env), 1, "/bridge/ledger.db", "OTEL_BRIDGE_STATE")


async def test_a_ledger_that_is_in_use(tmp_path: Path) -> None:
    async with emulator("--logs", "3", folder=tmp_path) as base_url:
        from bridge_process import finish, start  # noqa: PLC0415 - only here

        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
            OTEL_BRIDGE_LOG_FORMAT="text",
        )
        service = await start("run", env=env)
        try:
            assert service.stderr is not None
            await service.stderr.readline()
            assert_one_line(await run("run", "--once", env=env), 1, "ledger.db", str(service.pid))
        finally:
            service.terminate()
            await finish(service, 15)


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with emulator("--logs", "1", folder=tmp_path) as base_url:
        port = base_url.rpartition(":")[2]
        assert_one_line(await run("emulate", "--port", port, env=environment(tmp_path)), 2, port)
