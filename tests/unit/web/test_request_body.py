"""A refused body is read to its end, within bounds, so that the refusal is read as well."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from otel_bridge.web import request_body
from otel_bridge.web.guard import Guard
from otel_bridge.web.request_body import RequestBody, TooLargeError

CHUNK = b"x" * 65_536


class Caller:
    """Sends so many chunks, and counts what was taken of them."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.taken = 0

    async def receive(self) -> dict[str, Any]:
        if self.taken == self.chunks:
            # Whoever asks after the end waits for the caller to hang up.
            await asyncio.sleep(60)
        self.taken += 1
        return {"type": "http.request", "body": CHUNK, "more_body": self.taken < self.chunks}


def body_of(caller: Caller, **headers: str) -> RequestBody:
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    return RequestBody({"type": "http", "headers": named}, caller.receive)


async def test_what_is_left_is_read_and_no_more_is_asked_for() -> None:
    caller = Caller(200)
    body = body_of(caller)
    for _ in range(16):
        await body.receive()
    with pytest.raises(TooLargeError):
        await body.receive()
    await body.drain()
    assert caller.taken == 200
    await body.drain()


async def test_a_body_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "MOST_DRAINED_BYTES", 10 * len(CHUNK))
    caller = Caller(1_000_000)
    await body_of(caller).drain()
    assert caller.taken == 11


async def test_a_body_that_does_not_come_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "DRAIN_S", 0.01)
    await body_of(Caller(0)).drain()


async def test_who_waits_for_a_word_before_the_body_is_not_given_it() -> None:
    caller = Caller(5)
    await body_of(caller, expect="100-continue").drain()
    assert caller.taken == 0
    body = body_of(caller, expect="100-continue")
    await body.receive()
    await body.drain()
    assert caller.taken == 5


async def test_a_caller_that_hangs_up_ends_it() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    await RequestBody({"type": "http", "headers": []}, receive).drain()


@pytest.mark.parametrize(("status", "taken"), [(200, 0), (401, 5), (408, 0), (413, 5), (503, 0)])
async def test_a_refusal_waits_for_the_end_of_the_body(status: int, taken: int) -> None:
    caller = Caller(5)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        assert caller.taken == taken
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1")],
    }
    await Guard(app, "127.0.0.1")(scope, caller.receive, send)
    assert sent[0]["status"] == status


async def test_a_length_that_is_too_much_is_refused_and_read_to_its_end() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("not asked")

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Guard(app, "127.0.0.1")), base_url="http://127.0.0.1"
    ) as client:
        answer = await client.post("/", content=b"x" * 10_485_760)
    assert answer.status_code == 413
    assert answer.json() == {"error": "a body has at most 1048576 bytes"}
