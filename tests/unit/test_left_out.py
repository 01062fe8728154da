"""What a running bridge does not load."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from otel_bridge.left_out import left_out

HEAVY = {"rich", "pygments", "requests", "charset_normalizer", "chardet", "grpc", "uvicorn", "starlette"}
RUN = """
import asyncio
import sys
import otel_bridge.cli
from otel_bridge.service.own_telemetry import own_telemetry
from otel_bridge.settings import load

async def main():
    values = {"COMPOSIO_API_KEY": "ak_made_up", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with own_telemetry(load(None, values)):
        print(*sorted(sys.modules))

asyncio.run(main())
"""


def test_a_bridge_holds_no_packages_that_only_other_commands_need() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "httpx" in loaded
    assert loaded & HEAVY == set()


def test_what_was_left_out_can_be_imported_later_and_what_was_there_stays() -> None:
    with left_out("sys", "this_does_not_exist"), pytest.raises(ImportError, match=r"None in sys\.modules"):
        importlib.import_module("this_does_not_exist")
    with pytest.raises(ImportError, match="No module named"):
        importlib.import_module("this_does_not_exist")
    assert "sys" in sys.modules
