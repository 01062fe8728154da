"""How fast the endpoints answer while a backlog is delivered: each asked in turn until all of it is there.

Prints a table of milliseconds. An endpoint of an idle bridge is asked as well, in the same run: machines
differ and are shared, so compare the two.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from processes import HERE, at_most, bridge, delivered, environment, server

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = ("/metrics", "/readyz", "/")
FLOOR = "(floor)"
"""The sink's own answer: what the machine alone costs, for it takes part in the work and does little."""


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, int]:
    """Milliseconds until the whole answer is there, and its size."""
    began = time.perf_counter()
    connection.request("GET", path)
    body = connection.getresponse().read()
    return (time.perf_counter() - began) * 1000, len(body)


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
    at_most(15)
    emulate = ("-m", "otel_bridge", "emulate", "--port", "0", "--logs", str(options.records))
    with (
        server(*emulate) as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        environ = environment(base_url, sink, folder, OTEL_BRIDGE_RATE_SHARE="1", OTEL_BRIDGE_START="2h")
        with bridge(environ, folder) as (_, url):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            floor = http.client.HTTPConnection(urlsplit(sink).netloc, timeout=60)
            began = time.perf_counter()
            busy = []
            for each in rounds(connection, floor, options.pause):
                busy.append(each)
                if len(busy) % 50 == 0 and delivered(url) >= options.records * 0.99:
                    break
            seconds = time.perf_counter() - began
            print(
                f"{options.records:,} records in {seconds:.1f} s, {options.records / seconds:,.0f} a second"
            )
            time.sleep(3)
            idle = list(islice(rounds(connection, floor, options.pause), 200))
    table("delivering", busy)
    table("idle", idle)


if __name__ == "__main__":
    main()
