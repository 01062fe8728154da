"""The emulator behind a server that compresses its answers, as API gateways do; prints its address.

Usage: python gzip_source.py RECORDS LATENCY_MS
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from starlette.middleware.gzip import GZipMiddleware

from otel_bridge.emulator import EmulatorOptions, EmulatorServer

if TYPE_CHECKING:
    from otel_bridge.emulator.app import LogsApi

LEAST_BYTES = 256
LEVEL = 1
"""The cheapest: the server shares the machine with what is measured. Unpacking takes as long for any."""


class Compressing(GZipMiddleware):
    """The same API; answers of 256 bytes or more are compressed where the client takes gzip."""

    def __init__(self, api: LogsApi) -> None:
        super().__init__(api, minimum_size=LEAST_BYTES, compresslevel=LEVEL)
        self.close = api.close


async def main(records: int, latency_ms: int) -> None:
    """Serve until killed."""
    server = EmulatorServer(EmulatorOptions(logs=records, latency_ms=latency_ms))
    compressing: Any = Compressing(server.api)
    server.api = compressing
    async with server:
        print(server.base_url, flush=True)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
