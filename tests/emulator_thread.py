"""The emulator and an OTLP recorder in a thread of their own, for commands that run in the test's process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recording_sink import RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Surroundings:
    """What a bridge talks to."""

    base_url: str
    ids: list[str]
    sink: RecordingSink


@contextmanager
def surroundings(logs: int = 30, host: str = "127.0.0.1") -> Iterator[Surroundings]:
    """Serve for as long as the block runs."""
    ready: list[Surroundings] = []
    started = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(EmulatorServer(EmulatorOptions(logs=logs, host=host)))
            sink = await stack.enter_async_context(RecordingSink(host=host))
            ready.append(Surroundings(server.base_url, server.store.log_ids(), sink))
            ending = asyncio.Event()
            stop.append((asyncio.get_running_loop(), ending))
            started.set()
            await ending.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        yield ready[0]
    finally:
        loop, ending = stop[0]
        loop.call_soon_threadsafe(ending.set)
        thread.join(30)
