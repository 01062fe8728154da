"""SIGTERM ends the service at once where nothing is with a destination, whatever the source does."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from bridge_process import KEY, environment, finish, start

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

PROMISED_S = 10


@pytest.mark.parametrize("arguments", [("run",), ("run", "--once")])
async def test_a_source_that_hangs_does_not_hold_up_a_stop(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    asked = asyncio.Event()

    def hang(_path: str, _number: int) -> Fault:
        asked.set()
        return Fault(hang=True)

    async with EmulatorServer(EmulatorOptions(logs=3, fault=hang)) as server:
        env = environment(tmp_path, COMPOSIO_API_KEY=KEY, COMPOSIO_BASE_URL=server.base_url)
        process = await start(*arguments, env=env)
        async with asyncio.timeout(60):
            await asked.wait()
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        done = await finish(process, 30)
    seconds = time.monotonic() - began_s
    assert seconds < PROMISED_S / 2
    assert done.status == (0 if arguments == ("run",) else 1)
    assert "Traceback" not in done.err


async def test_a_destination_that_hangs_holds_up_a_stop_for_no_longer_than_is_promised(
    tmp_path: Path,
) -> None:
    offered = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(1 << 16):
                offered.set()
        writer.close()

    sink = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with sink, EmulatorServer(EmulatorOptions(logs=3)) as server:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=server.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{sink.sockets[0].getsockname()[1]}",
            OTEL_BRIDGE_SIGNALS="traces,logs,metrics",  # the last of which are sent at the very end
        )
        process = await start("run", env=env)
        async with asyncio.timeout(60):
            await offered.wait()
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        done = await finish(process, 30)
    assert time.monotonic() - began_s < PROMISED_S
    assert done.status == 0
    assert "Traceback" not in done.err
