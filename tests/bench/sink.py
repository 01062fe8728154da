"""A destination that accepts everything and keeps nothing: prints its address, counts requests and bytes."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

EMPTY = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/x-protobuf")],
}


async def accept(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # ASGI's own shape  # noqa: ANN001
    """Read the body to its end and answer with an empty, valid OTLP answer."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(EMPTY)
    await send({"type": "http.response.body", "body": b""})


async def main() -> None:
    """Serve until killed."""
    # Made with its protocol named: asyncio turns Nagle's delay off only for such sockets.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(accept, log_level="warning", access_log=False, lifespan="off")
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
