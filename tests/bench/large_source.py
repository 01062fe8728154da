"""A source whose details are large; prints its address.

Usage: python large_source.py RECORDS MEGABYTES SHAPE, where SHAPE is what a result is made of

* ``text``: one long text, as a file's content is;
* ``rows``: a list of small objects, as a query's result is.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore
from otel_bridge.emulator.generation import generate
from otel_bridge.emulator.records import to_json

SHAPES = ("text", "rows")
_ROW = {"id": 0, "name": "Ada", "mail": "ada@example.com", "active": True, "note": "as it was agreed"}
_SPAN_MS = 50 * 60_000


def result(size: int, shape: str) -> object:
    """A result that takes about so many bytes as JSON."""
    return "x" * size if shape == "text" else [_ROW] * (size // (len(to_json(_ROW)) + 1))


async def main(records: int, megabytes: float, shape: str) -> None:
    """Serve until killed."""
    now_ms = time.time_ns() // 1_000_000
    body = {"context": {}, "source": {}, "data": {"result": result(round(megabytes * 1_000_000), shape)}}
    # All share one text, so that the source itself stays small.
    rest = to_json(body)[1:-1]
    made = generate(records, 1, now_ms - _SPAN_MS, now_ms)
    store = LogStore([replace(each, rest=rest) for each in made])
    async with EmulatorServer(EmulatorOptions(), store) as server:
        print(server.base_url, flush=True)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
