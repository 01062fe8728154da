"""The recipe for MCP, as the documentation has it, with the official client of both its lines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from bridge_process import KEY, emulator, environment, run
from correlated_traces import backend_of, log_ids_at, run_app
from recording_sink import RecordingSink
from vendor_sdk import ROOT, VERSIONS, sdk_python

pytestmark = [pytest.mark.backend, pytest.mark.slow]
PAGE = ROOT / "docs" / "correlation.md"


def recipe(imported: str) -> str:
    """The hook, and the connection for the client whose line imports this."""
    section = PAGE.read_text().split("## MCP\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (hook,) = (block for block in blocks if "def identify" in block)
    (connection,) = (block for block in blocks if f"from mcp import {imported}\n" in block)
    return str(hook + connection)


def program(folder: Path, imported: str) -> Path:
    """The application, beside the recipe for one line of the client."""
    folder.mkdir()
    (folder / "recipe.py").write_text(recipe(imported))
    return Path(shutil.copy(ROOT / "tests" / "sdk" / "mcp_calls.py", folder))


async def test_calls_over_one_connection_stand_each_under_its_own_request(tmp_path: Path) -> None:
    # The environment of SDK 0.30 has line 2.x of the MCP client, that of 0.20 has 1.x.
    for version in VERSIONS:
        sdk_python(version)
    async with RecordingSink() as sink, emulator("--logs", "0", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_BRIDGE_SIGNALS="traces",
        )
        made: dict[str, tuple[str, str]] = {}
        # Line 2.x makes a span for each message, line 1.x makes none.
        for version, imported, parent in (
            ("0.30", "Client", "tools/call SLACK_SEND_MESSAGE"),
            ("0.20", "ClientSession", "POST /chat"),
        ):
            done = await run_app(version, program(tmp_path / version, imported), env)
            made |= {
                line["log_id"]: (line["trace_id"], parent) for line in map(json.loads, done.out.splitlines())
            }
        assert sorted(made) == sorted(await log_ids_at(base_url))
        assert len(set(made.values())) == len(made) == 12
        delivered = await run("run", "--once", env=env)
        assert delivered.status == 0, delivered.err
        backend = backend_of(sink)
    spans = {span.span_id: span for span in backend.others}
    for log_id, (trace_id, name) in made.items():
        call = backend.tool_calls[log_id]
        above = spans[call.parent_span_id]
        assert call.trace_id.hex() == above.trace_id.hex() == trace_id
        assert above.name.endswith(name)
