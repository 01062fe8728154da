"""Benchmarks come to an end whatever the programs that they measure do, and say what happened."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from drain import BRIDGE, CONTENDERS, chosen, enough
from emulator_thread import surroundings
from freshness_real import NotingStore
from gzip_source import Compressing
from processes import run_to_end

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, record_of

BENCH = Path(__file__).parents[2] / "bench"
LIST = "/api/v3.1/logs/tool_execution"
FETCHES = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/api/v3.1/logs/tool_execution')"


def ended(program: str, base_url: str, *, most_s: float = 60, stall_s: float = 60) -> str:
    """What a benchmark says of a program that does not come to a good end."""
    command = [sys.executable, "-c", program, base_url]
    with pytest.raises(SystemExit) as end:
        run_to_end("a contender", command, os.environ, base_url=base_url, most_s=most_s, stall_s=stall_s)
    return str(end.value.code)


def test_a_program_that_asks_for_nothing_is_ended() -> None:
    with surroundings() as around:
        told = ended("import time; print('I wait'); time.sleep(600)", around.base_url, stall_s=1.5)
    assert told.startswith("a contender asked for nothing for 1.5 s, after 0 requests.")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with surroundings() as around:
        told = ended("import time; time.sleep(600)", around.base_url, most_s=0.2)
    assert told.startswith("a contender took longer than 0.2 s, after 0 requests.")


def test_a_program_that_fails_is_named_with_the_last_that_it_printed() -> None:
    with surroundings() as around:
        told = ended(FETCHES, around.base_url)
    assert told.startswith("a contender ended with status 1, after 1 requests.")
    assert "HTTPError" in told


def test_a_contender_goes_by_how_its_name_begins() -> None:
    assert chosen("aiohttp,otel-bridge") == ["aiohttp", BRIDGE]
    assert chosen("httpx,dlt,airbyte-cdk,composio-client") == [
        "httpx",
        *(each for each in CONTENDERS if each.startswith("dlt")),
        *(each for each in CONTENDERS if each.startswith("airbyte")),
        *(each for each in CONTENDERS if each.startswith("composio")),
    ]
    with pytest.raises(ValueError, match="aiohttpx"):
        chosen("aiohttpx")


def test_a_cell_takes_enough_records_for_its_start_not_to_decide() -> None:
    assert enough(100, 64) == 10_000
    assert all(enough(ms, flight) * ms / flight / 1000 >= 9 for ms in (20, 100) for flight in (16, 64))


def test_the_path_of_a_record_is_seen_from_the_list_to_the_commit() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "path.py")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    passed = re.findall(r"^ *\d+ (\S+)", done.stdout, re.MULTILINE)
    assert {"receiver/client.py", "mapping/mapper.py", "exporter/otlp.py", "ledger/sqlite.py"} <= set(passed)


async def test_a_source_that_compresses_does_so_where_the_client_takes_it() -> None:
    server = EmulatorServer(EmulatorOptions(logs=20))
    compressing: Any = Compressing(server.api)
    server.api = compressing
    key = {"x-api-key": "ak_test"}
    async with server, httpx.AsyncClient(base_url=server.base_url, headers=key) as client:
        packed = await client.post(LIST, json={})
        plain = await client.post(LIST, json={}, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


def test_a_child_is_ready_for_delivery_when_its_parent_is_visible_too() -> None:
    store = NotingStore()
    parent = detail_of("log_parent", None)
    child = detail_of("log_child", {"log_id": "log_parent", "tool_slug": "COMPOSIO_MULTI_EXECUTE_TOOL"})
    store.add(record_of(child, 1_000))
    alone_s = store.ready_s("log_child")
    store.add(record_of(parent, 2_000))
    assert store.ready_s("log_child") == store.ready_s("log_parent") > alone_s


def detail_of(log_id: str, parent: dict[str, str] | None) -> dict[str, Any]:
    return {
        "id": log_id,
        "timestamp": "2026-04-17T10:00:00Z",
        "type": "tool.execution",
        "status": "success",
        "metadata": {},
        "metrics": {},
        "parent": parent,
        "context": {},
        "data": {},
    }
