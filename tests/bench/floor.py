"""The floor: a bare httpx loop that fetches the same pages and details and throws the bodies away.

Usage: python floor.py BASE_URL FROM_MS TO_MS CONCURRENCY
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx

HEADERS = {"x-api-key": "ak_bench"}
LIST = "/api/v3.1/logs/tool_execution"


async def drain(base_url: str, from_ms: int, to_ms: int, concurrency: int) -> int:
    """Fetch everything; returns how many details there were."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS, limits=limits, timeout=30) as client:
        ids: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1000)

        async def list_pages() -> None:
            cursor = None
            while True:
                body = {"limit": 100, "cursor": cursor, "time_range": {"from": from_ms, "to": to_ms}}
                page = (await client.post(LIST, json=body)).json()
                for entry in page["logs"]:
                    await ids.put(entry["id"])
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            for _ in range(concurrency):
                await ids.put(None)

        async def fetch() -> int:
            count = 0
            while (log_id := await ids.get()) is not None:
                answer = await client.get(f"{LIST}/{log_id}")
                answer.raise_for_status()
                count += 1
            return count

        listing = asyncio.create_task(list_pages())
        counts = await asyncio.gather(*(fetch() for _ in range(concurrency)))
        await listing
        return sum(counts)


if __name__ == "__main__":
    url, start, end, in_flight = sys.argv[1], *map(int, sys.argv[2:5])
    began = time.perf_counter()
    records = asyncio.run(drain(url, start, end, in_flight))
    seconds = time.perf_counter() - began
    print(json.dumps({"records": records, "seconds": seconds}))
