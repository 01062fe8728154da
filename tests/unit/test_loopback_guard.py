from __future__ import annotations

import asyncio
import socket

import httpx
import pytest


async def test_nothing_beyond_loopback_is_connected_to(loopback_only: list[str]) -> None:
    with socket.socket() as plain:
        with pytest.raises(AssertionError, match="loopback only"):
            plain.connect(("192.0.2.1", 80))
        with pytest.raises(AssertionError, match="loopback only"):
            plain.connect_ex(("192.0.2.1", 80))
    with socket.socket(type=socket.SOCK_DGRAM) as plain, pytest.raises(AssertionError, match="loopback only"):
        plain.sendto(b"x", ("192.0.2.1", 53))
    with pytest.raises(AssertionError, match="loopback only"):
        await asyncio.open_connection("backend.composio.dev", 443)
    async with httpx.AsyncClient() as client:
        with pytest.raises(AssertionError, match="loopback only"):
            await client.get("https://backend.composio.dev")
    assert len(loopback_only) == 5
    # Else the guard fails this test too.
    loopback_only.clear()


def test_names_that_never_resolve_are_a_usual_error() -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://nobody.invalid")
