"""Other machines than a developer's: IPv6 alone, an empty environment, a folder that is gone."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, environment, finish, run, start
from emulator_thread import surroundings
from ipv6 import needs_ipv6

if TYPE_CHECKING:
    from pathlib import Path


@needs_ipv6
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_source_and_destination_may_be_on_ipv6_alone(tmp_path: Path, protocol: str) -> None:
    with surroundings(logs=5, host="::1") as around:
        endpoint = around.sink.grpc_endpoint if protocol == "grpc" else around.sink.http_endpoint
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=around.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_BRIDGE_START="36h",
        )
        done = await run("run", "--once", env=env)
        assert (done.status, done.out) == (0, "5 records delivered\n"), done.err
        assert len(list(around.sink.spans())) == 5
        checked = await run("check", env=env)
    assert "FAIL" not in checked.out
    assert "[::1]" in endpoint


@needs_ipv6
async def test_the_endpoints_of_an_image_answer_over_either_family(tmp_path: Path) -> None:
    with surroundings(logs=0) as around:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=around.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=around.sink.http_endpoint,
            OTEL_BRIDGE_LISTEN="[::]:0",
        )
        process = await start("run", env=env)
        try:
            assert process.stderr is not None
            found = None
            while found is None:
                found = re.search(r"http://\[::\]:(\d+)/", (await process.stderr.readline()).decode())
            async with httpx.AsyncClient(trust_env=False) as client:
                for host in ("127.0.0.1", "[::1]"):
                    address = f"http://{host}:{found[1]}"
                    assert (await client.get(f"{address}/livez")).status_code == 200
                    # Without a token only this machine may post, over either family.
                    posted = await client.post(f"{address}/v1/correlations", json=[])
                    assert posted.status_code not in {401, 403}
        finally:
            process.terminate()
            done = await finish(process, 20)
    assert done.status == 0


LEAVE = """
import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
os.execv(sys.executable, [sys.executable, "-m", "otel_bridge", *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("words", "said"), [(["run", "--once"], "5 records delivered"), (["demo"], "tool calls")]
)
def test_a_process_with_no_variables_and_no_folder_needs_what_it_is_told_and_no_more(
    tmp_path: Path, words: list[str], said: str
) -> None:
    with surroundings(logs=5) as around:
        env = {
            "COMPOSIO_API_KEY": KEY,
            "COMPOSIO_BASE_URL": around.base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": around.sink.http_endpoint,
            "OTEL_BRIDGE_STATE": f"sqlite:///{tmp_path}/ledger.db",
            "OTEL_BRIDGE_START": "36h",
        }
        done = subprocess.run(
            [sys.executable, "-c", LEAVE, str(tmp_path / "gone"), *words],
            env=env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
