"""A source of many projects with as many records as are asked for, in little memory; prints its address.

Usage: python endless_source.py PROJECTS RECORDS RATE, both of all projects together; keys are ``ak_0``, …
"""

from __future__ import annotations

import asyncio
import sys
import time

from endless_store import EndlessStore

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore

MADE_UP = 10_000
LEAST_BLOCK = 100


async def main(projects: int, records: int, rate: float) -> None:
    """Serve until killed."""
    now_ms = time.time_ns() // 1_000_000
    block = max(MADE_UP // projects, LEAST_BLOCK)
    stores: dict[str, LogStore] = {
        f"ak_{number}": EndlessStore(records // projects, rate / projects, now_ms, block=block, series=number)
        for number in range(projects)
    }
    # Each project is of an organisation of its own: no quota is what is measured here.
    options = EmulatorOptions(logs=0, projects=stores, organisations={key: key for key in stores})
    async with EmulatorServer(options) as server:
        print(server.base_url, flush=True)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
