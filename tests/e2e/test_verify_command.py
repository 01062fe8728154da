"""``verify`` as a person runs it, and the daily check of the running service."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from bridge_process import KEY, environment, finish, run, start
from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, Fault, record_of
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from pathlib import Path


def add_behind(server: EmulatorServer, log_id: str, age_s: float) -> None:
    """Make a record visible long after its time: no re-check will see it."""
    at_ms = int((time.time() - age_s) * 1000)
    detail: dict[str, Any] = {
        "id": log_id,
        "timestamp": format_time(at_ms),
        "type": "tool.execution",
        "status": "success",
        "level": "info",
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
        "metrics": {"duration_ms": 12},
        "parent": None,
        "context": {},
        "data": {},
    }
    server.store.add(record_of(detail, at_ms))


def settings(folder: Path, server: EmulatorServer, sink: RecordingSink, **more: str) -> dict[str, str]:
    return environment(
        folder,
        **{
            "COMPOSIO_API_KEY": KEY,
            "COMPOSIO_BASE_URL": server.base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
            "OTEL_BRIDGE_SIGNALS": "logs",
            "OTEL_BRIDGE_RECHECK": "1s",
            **more,
        },
    )


def delivered(sink: RecordingSink) -> list[str]:
    return [
        next(pair.value.string_value for pair in log.attributes if pair.key == "log.record.uid")
        for _, _, log in sink.logs()
    ]


async def collect_and_seal(env: dict[str, str]) -> None:
    """Everything up to now, and its one re-check."""
    assert (await run("run", "--once", env=env)).status == 0
    await asyncio.sleep(1.1)
    assert (await run("run", "--once", env=env)).status == 0


RANGE = ("--from", "55m", "--to", "1m")


async def test_equal_missing_and_repaired_beside_a_running_service(tmp_path: Path) -> None:
    async with RecordingSink() as sink, EmulatorServer(EmulatorOptions(logs=300)) as server:
        env = settings(tmp_path, server, sink, OTEL_BRIDGE_VERIFY_EVERY="0s")
        await collect_and_seal(env)
        equal = await run("verify", *RANGE, env=env)
        assert equal.status == 0, equal
        assert equal.out.strip().endswith(": equal")

        add_behind(server, "log_behind", 1200)
        missing = await run("verify", *RANGE, env=env)
        assert missing.status == 1, missing
        verdict, named = missing.out.splitlines()
        assert verdict.startswith("default: ")
        assert verdict.endswith("1 missing")
        assert named.strip() == "log_behind"
        assert "log_behind" not in delivered(sink)

        service = await start("run", env=env)
        try:
            assert service.stderr is not None
            await service.stderr.readline()
            repaired = await run("verify", *RANGE, "--repair", env=env)
        finally:
            service.terminate()
            await finish(service, 15)
        assert repaired.status == 0, repaired
        assert "1 missing, 1 repaired" in repaired.out
        assert sorted(delivered(sink)) == sorted(server.store.log_ids())
        assert (await run("verify", *RANGE, env=env)).status == 0
        assert KEY not in missing.out + missing.err + repaired.out + repaired.err


async def test_what_was_never_collected_is_left_to_a_backfill(tmp_path: Path) -> None:
    async with RecordingSink() as sink, EmulatorServer(EmulatorOptions(logs=30)) as server:
        env = settings(tmp_path, server, sink)
        empty = await run("verify", *RANGE, env=env)
        assert empty.status == 1
        assert "never collected: " in empty.out
        assert (await run("run", "--once", env=env)).status == 0
        add_behind(server, "log_before", 5 * 3600)
        found = await run("verify", "--from", "6h", "--to", "1m", "--repair", env=env)
        assert found.status == 1
        command = found.out.split("`")[1].split()
        assert command[:2] == ["otel-bridge", "backfill"]
        assert (await run(*command[1:], env=env)).status == 0
        assert "log_before" in delivered(sink)
        again = await run("verify", "--from", "6h", "--to", "1m", env=env)
        assert (again.status, again.out.strip()[-5:]) == (0, "equal")


async def test_the_service_finds_and_repairs_by_itself_and_status_says_so(tmp_path: Path) -> None:
    async with RecordingSink() as sink, EmulatorServer(EmulatorOptions(logs=50)) as server:
        env = settings(tmp_path, server, sink, OTEL_BRIDGE_VERIFY_EVERY="59m")
        await collect_and_seal(env)
        before = await run("status", env=env)
        assert "not yet" in before.out
        add_behind(server, "log_behind", 1200)
        service = await start("run", env=env)
        try:
            await sink.wait_for(logs=51)
            async with asyncio.timeout(20):
                while True:
                    (status,) = json.loads((await run("status", "--json", env=env)).out)
                    if status["verification"]:
                        break
        finally:
            service.terminate()
            ended = await finish(service, 15)
        result = status["verification"]
        assert (result["missing"], result["repaired"]) == (1, 1)
        assert result["source"] == result["ledger"] + 1
        assert delivered(sink).count("log_behind") == 1
        (line,) = [line for line in ended.err.splitlines() if "verify_missing" in line]
        assert json.loads(line)["missing_ids"] == ["log_behind"]
        said = " ".join((await run("status", env=env)).out.split())
        assert f"nothing missing (1 repaired) from {format_time(result['from_ms'])} to" in said


async def test_an_interrupted_comparison_stops_soon_and_claims_nothing(tmp_path: Path) -> None:
    options = EmulatorOptions(
        logs=3000, latency_ms=200, fault=lambda path, _: Fault(status=403) if "usage" in path else None
    )
    async with RecordingSink() as sink, EmulatorServer(options) as server:
        process = await start("verify", *RANGE, env=settings(tmp_path, server, sink))
        async with asyncio.timeout(20):
            while not server.api.stats()["requests"]["list"]:  # noqa: ASYNC110 - the emulator tells nobody
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            ended = await finish(process)
        assert ended.status == 1
        assert (ended.out, "stopped before the end" in ended.err) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "1h", "--to", "2h"), ("--to", "2h", "before")),
        (("--from", "1h", "--to", "1h"), ("--to", "1h", "no length")),
        (("--from", "1h", "--to", "2999-01-01"), ("--to", "2999-01-01", "future")),
        (("--from", "yesterday", "--to", "now"), ("--from", "yesterday", "36h")),
        (("--from", "2h", "--to", "1h", "--again"), ("--again", "--repair")),
    ],
)
async def test_wrong_ranges(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = await run("verify", *arguments, env=environment(tmp_path, COMPOSIO_API_KEY=KEY))
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert all(word in line for word in words)


async def test_a_project_that_can_not_be_asked_is_named(tmp_path: Path) -> None:
    env = environment(tmp_path, COMPOSIO_API_KEY=KEY, COMPOSIO_BASE_URL="http://127.0.0.1:9")
    done = await run("verify", *RANGE, env=env)
    assert done.status == 1
    (line,) = [each for each in done.err.splitlines() if each.startswith("otel-bridge: ")]
    assert "default: could not be compared" in line
    assert "127.0.0.1:9" in line
