"""The processes of a benchmark: servers, and the bridge with its endpoints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator

HERE = Path(__file__).parent
_URL = re.compile(r"http://[0-9.]+:\d+")
_URL_ACTION = "endpoints"
_STOP_S = 30


@contextmanager
def server(*command: str) -> Iterator[str]:
    """A server that prints its address; stopped at the end."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = _URL.search(process.stdout.readline())
        if found is None:
            sys.exit(f"{command} did not start")
        yield found.group()
    finally:
        process.terminate()
        process.wait(10)


def environment(base_url: str, sink: str, folder: str, **settings: str) -> dict[str, str]:
    """The environment of a bridge that collects from a source into a sink, with a ledger of its own.

    Args:
        base_url: The source.
        sink: The destination.
        folder: Where the ledger is.
        **settings: More of it.
    """
    others = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "COMPOSIO_"))}
    return others | {
        "COMPOSIO_API_KEY": "ak_bench",
        "COMPOSIO_BASE_URL": base_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
        "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
        **settings,
    }


@contextmanager
def bridge(environ: dict[str, str], folder: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running bridge and the address of its endpoints; stopped at the end. Its log is in the folder."""
    log = Path(folder, "log")
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_bridge", "run"],
            env=environ | {"OTEL_BRIDGE_LISTEN": "127.0.0.1:0"},
            stdout=stream,
            stderr=stream,
        )
    try:
        yield process, _bridge_url(log)
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _bridge_url(log: Path) -> str:
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("{") and json.loads(line).get("action") == _URL_ACTION:
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    sys.exit(f"the bridge did not start: {log.read_text()}")


def delivered(connection: http.client.HTTPConnection) -> int:
    """How many records the bridge says are delivered."""
    connection.request("GET", "/api/status")
    status = json.load(connection.getresponse())
    return sum(project["delivered"] or 0 for project in status["projects"])
