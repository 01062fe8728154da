from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time

import httpx
import pytest

from otel_bridge.emulator import EmulatorOptions, EmulatorServer, Fault, LogStore, serve
from otel_bridge.emulator.server import KEEP_ALIVE_S
from otel_bridge.errors import SettingsError
from otel_bridge.times import SystemClock

LIST = "/api/v3.1/logs/tool_execution"
KEY = {"x-api-key": "ak_test"}


async def test_it_begins_with_logs_of_the_last_50_minutes() -> None:
    before_ms = time.time_ns() // 1_000_000
    async with EmulatorServer(EmulatorOptions(logs=120)) as server:
        after_ms = time.time_ns() // 1_000_000
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
            newest = (await client.post(LIST, json={"limit": 1})).json()["logs"][0]["id"]
        times = [record.timestamp_ms for record in map(server.store.get, server.store.log_ids()) if record]
    assert len(times) == 120
    assert newest == server.store.log_ids()[-1]
    assert min(times) > before_ms - 50 * 60_000
    assert before_ms - 5 * 60_000 < max(times) <= after_ms


def test_idle_connections_stay_open_for_longer_than_a_client_keeps_them() -> None:
    kept_s = httpx.Limits().keepalive_expiry
    assert kept_s is not None
    assert kept_s < KEEP_ALIVE_S / 2


async def test_new_logs_appear_while_it_runs() -> None:
    async with EmulatorServer(EmulatorOptions(logs=0, rate=200, late_share=0)) as server:
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
            counts = []
            for _ in range(3):
                await asyncio.sleep(0.25)
                counts.append((await client.get("/emulator/stats")).json()["records"])
        assert 0 < counts[0] < counts[1] < counts[2]
    stopped = len(server.store)
    await asyncio.sleep(0.15)
    assert len(server.store) == stopped


@pytest.mark.parametrize("fault", [Fault(reset=True), Fault(truncate=True)])
async def test_a_connection_can_be_broken(fault: Fault) -> None:
    options = EmulatorOptions(fault=lambda _, n: fault if n == 0 else None)
    async with (
        EmulatorServer(options) as server,
        httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError if fault.truncate else httpx.ReadError):
            await client.post(LIST, json={"limit": 100})
        assert (await client.post(LIST)).status_code == 200
        assert (await client.get("/emulator/stats")).json()["requests"]["list"] == 2


async def test_a_request_can_hang_and_stopping_does_not_wait_for_it(caplog: pytest.LogCaptureFixture) -> None:
    async with httpx.AsyncClient(headers=KEY) as client:
        async with EmulatorServer(EmulatorOptions(logs=1, fault=lambda *_: Fault(hang=True))) as server:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(server.base_url + LIST, timeout=0.1)
            hanging = asyncio.create_task(client.post(server.base_url + LIST, timeout=60))
            await asyncio.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        with pytest.raises(httpx.RemoteProtocolError):
            await hanging
    assert caplog.records == []


async def test_a_port_in_use_is_one_clear_line() -> None:
    async with EmulatorServer(EmulatorOptions(logs=1)) as server:
        port = int(server.base_url.rpartition(":")[2])
        with pytest.raises(
            SettingsError, match=rf"^the emulator can't listen on 127\.0\.0\.1 port {port}: .*--port"
        ):
            await EmulatorServer(EmulatorOptions(port=port), LogStore()).__aenter__()


@pytest.mark.parametrize("port", [-1, 70_000])
async def test_a_port_that_is_none_is_one_clear_line(port: int) -> None:
    with pytest.raises(SettingsError, match="port"):
        await EmulatorServer(EmulatorOptions(port=port), LogStore()).__aenter__()


async def test_it_leaves_signal_handlers_and_output_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with EmulatorServer(EmulatorOptions(logs=1)) as server:
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        async with httpx.AsyncClient(base_url=server.base_url) as client:
            await client.post(LIST)
    assert capfd.readouterr() == ("", "")


async def test_serve_runs_until_it_is_cancelled() -> None:
    ready: asyncio.Queue[EmulatorServer] = asyncio.Queue()
    serving = asyncio.create_task(serve(EmulatorOptions(logs=5), ready.put_nowait))
    server = await asyncio.wait_for(ready.get(), 5)
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.base_url}/emulator/ids")
        assert len(json.loads(answer.content)["ids"]) == 5
    assert not serving.done()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{server.base_url}/emulator/ids")


async def test_an_error_of_the_live_source_ends_serve() -> None:
    class BrokenClock(SystemClock):
        answers = 8

        def now_ms(self) -> int:
            self.answers -= 1
            if self.answers < 0:
                raise OSError("no time")
            return super().now_ms()

    with pytest.raises(OSError, match="no time"):
        await asyncio.wait_for(
            serve(EmulatorOptions(logs=1, rate=1, clock=BrokenClock()), lambda _: None), timeout=5
        )


async def test_stopping_twice_does_no_harm() -> None:
    server = EmulatorServer(EmulatorOptions(logs=1))
    async with server:
        pass
    await server.__aexit__(None, None, None)


async def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    async with (
        EmulatorServer(EmulatorOptions(logs=1)) as server,
        httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client,
    ):
        path = f"{LIST}/{server.store.log_ids()[0]}"
        began = time.monotonic()
        for _ in range(20):
            await client.get(path)
        # With it, each of them takes 40 ms.
        assert time.monotonic() - began < 0.6


async def test_an_ipv6_address_stands_in_brackets() -> None:
    server = EmulatorServer(EmulatorOptions(host="::1", logs=1))
    with contextlib.suppress(SettingsError):  # a machine without IPv6
        async with server:
            assert server.base_url.startswith("http://[::1]:")
