"""How fast the endpoints answer while a backlog is delivered: each asked in turn until all of it is there.

Prints a table of milliseconds. An endpoint of an idle bridge is asked as well, in the same run: machines
differ and are shared, so compare the two.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PATHS = ("/metrics", "/readyz", "/")
FLOOR = "(floor)"
"""The sink's own answer: what the machine alone costs, for it takes part in the work and does little."""
_URL_ACTION = "endpoints"


@contextmanager
def server(*command: str) -> Iterator[str]:
    """A server that prints its address; stopped at the end."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://[0-9.]+:\d+", process.stdout.readline())
        if found is None:
            sys.exit(f"{command} did not start")
        yield found.group()
    finally:
        process.terminate()
        process.wait(10)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, int]:
    """Milliseconds until the whole answer is there, and its size."""
    began = time.perf_counter()
    connection.request("GET", path)
    body = connection.getresponse().read()
    return (time.perf_counter() - began) * 1000, len(body)


def delivered(connection: http.client.HTTPConnection) -> int:
    """How many records the bridge says are delivered."""
    connection.request("GET", "/api/status")
    status = json.load(connection.getresponse())
    return sum(project["delivered"] or 0 for project in status["projects"])


def bridge_url(log: Path) -> str:
    """Where the bridge says that its endpoints are."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("{") and json.loads(line).get("action") == _URL_ACTION:
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    sys.exit(f"the bridge did not start: {log.read_text()}")


def rounds(
    bridge: http.client.HTTPConnection, sink: http.client.HTTPConnection, pause_s: float
) -> Iterator[dict[str, tuple[float, int]]]:
    """Ask each path, and a server that does nothing, again and again."""
    while True:
        yield {path: ask(bridge, path) for path in PATHS} | {FLOOR: ask(sink, "/")}
        time.sleep(pause_s)


def table(title: str, taken: list[dict[str, tuple[float, int]]]) -> None:
    """Print what the rounds took."""
    for path in (*PATHS, FLOOR):
        ms = sorted(each[path][0] for each in taken)
        size = max(each[path][1] for each in taken)
        cut = statistics.quantiles(ms, n=100)
        print(
            f"{title:12} {path:10} {len(ms):5} asked",
            f"p50 {cut[49]:7.1f}  p90 {cut[89]:7.1f}  p99 {cut[98]:7.1f}  most {ms[-1]:7.1f} ms",
            f"{size:,} bytes",
            sep="  ",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two rounds")
    options = parser.parse_args()
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(options.records))
    with (
        server(*emulate) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "COMPOSIO_"))
        }
        environ |= {
            "COMPOSIO_API_KEY": "ak_bench",
            "COMPOSIO_BASE_URL": base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
            "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
            "OTEL_BRIDGE_RATE_SHARE": "1",
            "OTEL_BRIDGE_START": "2h",
            "OTEL_BRIDGE_LISTEN": "127.0.0.1:0",
        }
        log = Path(folder, "log")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "otel_bridge", "run"], env=environ, stdout=stream, stderr=stream
            )
        try:
            url = urlsplit(bridge_url(log))
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
            floor = http.client.HTTPConnection(urlsplit(sink).netloc, timeout=60)
            began = time.perf_counter()
            busy = []
            for each in rounds(connection, floor, options.pause):
                busy.append(each)
                if len(busy) % 50 == 0 and delivered(connection) >= options.records * 0.99:
                    break
            seconds = time.perf_counter() - began
            print(
                f"{options.records:,} records in {seconds:.1f} s, {options.records / seconds:,.0f} a second"
            )
            time.sleep(3)
            idle = list(islice(rounds(connection, floor, options.pause), 200))
        finally:
            process.terminate()
            process.wait(20)
    table("delivering", busy)
    table("idle", idle)


if __name__ == "__main__":
    main()
