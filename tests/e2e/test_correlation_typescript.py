"""The recipe for TypeScript, as the documentation has it, with the vendor's own SDK."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish
from correlated_traces import log_ids_at
from vendor_sdk import ROOT, sdk_node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.backend, pytest.mark.slow]


async def test_the_recipe_puts_the_span_into_the_request_id(tmp_path: Path) -> None:
    node, installed = sdk_node()
    (recipe,) = re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "correlation.md").read_text(), re.DOTALL)
    (tmp_path / "recipe.mjs").write_text(recipe)
    shutil.copy(ROOT / "tests" / "sdk" / "calls.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(installed / "node_modules")
    async with emulator("--logs", "0", folder=tmp_path) as base_url:
        process = await asyncio.create_subprocess_exec(
            node,
            "calls.mjs",
            cwd=tmp_path,
            env=environment(tmp_path, COMPOSIO_API_KEY=KEY, COMPOSIO_BASE_URL=base_url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        done = await finish(process, 60)
        assert done.status == 0, done.err
        said = json.loads(done.out.splitlines()[-1])
        log_ids = await log_ids_at(base_url)
        async with httpx.AsyncClient(base_url=base_url, headers={"x-api-key": KEY}) as client:
            url = "/api/v3.1/logs/tool_execution"
            logs = [(await client.get(f"{url}/{log_id}")).json() for log_id in log_ids]
    spans = {call["log_id"]: call for call in said["calls"]}
    assert len(spans) == 5
    assert len(logs) == 6
    for log in logs:
        made_by = spans[log["parent"]["log_id"] if log["parent"] else log["id"]]
        assert log["context"]["request_id"] == f"00-{said['trace_id']}-{made_by['span_id']}-01"
    assert sorted(call["error"] for call in said["calls"]) == ["", "", "", "", "_OTHER"]
