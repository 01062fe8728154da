"""The emulator in a thread, and the vendor's generated client connected to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from composio_client import Composio, ProjectAuth

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore

# 2026-04-17T10:25:00Z, the moment of the official page's example.
END_MS = 1_776_421_500_000
START_MS = END_MS - 50 * 60_000
COUNT = 260

Start = Callable[..., EmulatorServer]


@contextmanager
def running(options: EmulatorOptions, store: LogStore) -> Iterator[EmulatorServer]:
    """The emulator in a thread of its own, because the vendor's client blocks."""
    loop = asyncio.new_event_loop()
    server = EmulatorServer(options, store)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def connect(server: EmulatorServer, key: str = "ak_contract", max_retries: int = 0) -> Composio:
    """The vendor's client; it refuses answers that do not fit its generated models."""
    return Composio(
        auth=ProjectAuth(key),
        base_url=server.base_url,
        max_retries=max_retries,
        _strict_response_validation=True,
    )
