"""Floors: a bare loop that fetches the same pages and details and throws the bodies away.

Usage: python floor.py BASE_URL FROM_MS TO_MS IN_FLIGHT KIND, where KIND is

* ``httpx``: plain httpx;
* ``httpx-own``: httpx's client over the bridge's transport;
* ``own``: the bridge's transport alone, as the bridge uses it;
* ``httpx-aiohttp``: httpx's client over the transport of that name;
* ``aiohttp``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Fetch = Callable[[str, str, bytes | None], Awaitable[bytes]]

from contextlib import asynccontextmanager

HEADERS = {"x-api-key": "ak_bench", "content-type": "application/json"}
LIST = "/api/v3.1/logs/tool_execution"


async def drain(fetch: Fetch, from_ms: int, to_ms: int, concurrency: int) -> int:
    """Fetch everything; returns how many details there were."""
    ids: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1000)

    async def list_pages() -> None:
        cursor = None
        while True:
            wanted = {"limit": 100, "cursor": cursor, "time_range": {"from": from_ms, "to": to_ms}}
            page = json.loads(await fetch("POST", LIST, json.dumps(wanted).encode()))
            for entry in page["logs"]:
                await ids.put(entry["id"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        for _ in range(concurrency):
            await ids.put(None)

    async def take() -> int:
        count = 0
        while (log_id := await ids.get()) is not None:
            await fetch("GET", f"{LIST}/{log_id}", None)
            count += 1
        return count

    listing = asyncio.create_task(list_pages())
    counts = await asyncio.gather(*(take() for _ in range(concurrency)))
    await listing
    return sum(counts)


@asynccontextmanager
async def by_httpx(base_url: str, concurrency: int, kind: str) -> AsyncIterator[Fetch]:
    """Fetch by httpx's client, over whichever transport."""
    import httpx  # noqa: PLC0415 - each floor pays for what it uses, and no more

    transport: httpx.AsyncBaseTransport | None = None
    if kind == "httpx-aiohttp":
        from httpx_aiohttp import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - as above
            AiohttpTransport,
        )

        transport = AiohttpTransport()
    elif kind != "httpx":
        from otel_bridge.http1.transport import FreeListTransport  # noqa: PLC0415 - as above

        transport = FreeListTransport(concurrency)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(
        base_url=base_url, headers=HEADERS, limits=limits, timeout=30, transport=transport
    ) as client:
        host = httpx.URL(base_url).netloc.decode()
        headers = httpx.Headers(HEADERS | {"host": host})
        url = httpx.URL(base_url)

        async def fetch(method: str, path: str, content: bytes | None) -> bytes:
            answer = await client.request(method, path, content=content)
            answer.raise_for_status()
            return answer.content

        async def bare(method: str, path: str, content: bytes | None) -> bytes:
            extensions: dict[str, Any] = {"target": path.encode()}
            request = httpx.Request(method, url, headers=headers, content=content, extensions=extensions)
            answer = await transport.handle_async_request(request) if transport else None
            assert answer is not None
            assert answer.status_code == 200
            assert isinstance(answer.stream, httpx.AsyncByteStream)
            body = b"".join([part async for part in answer.stream])
            await answer.stream.aclose()
            return body

        yield bare if kind == "own" else fetch


@asynccontextmanager
async def by_aiohttp(base_url: str, concurrency: int) -> AsyncIterator[Fetch]:
    """Fetch by aiohttp."""
    import aiohttp  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - in its own environment

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(base_url, headers=HEADERS, connector=connector) as session:

        async def fetch(method: str, path: str, content: bytes | None) -> bytes:
            async with session.request(method, path, data=content) as answer:
                answer.raise_for_status()
                body: bytes = await answer.read()
                return body

        yield fetch


async def main(base_url: str, from_ms: int, to_ms: int, concurrency: int, kind: str) -> None:
    """Measure from the first request on, and print."""
    way = by_aiohttp(base_url, concurrency) if kind == "aiohttp" else by_httpx(base_url, concurrency, kind)
    async with way as fetch:
        began, used = time.perf_counter(), time.process_time()
        records = await drain(fetch, from_ms, to_ms, concurrency)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"records": records, "seconds": seconds, "cpu_s": cpu_s}))


if __name__ == "__main__":
    start, end, in_flight = map(int, sys.argv[2:5])
    asyncio.run(main(sys.argv[1], start, end, in_flight, sys.argv[5]))
