"""Serves the endpoints beside the work, on the same event loop.

Contract: ``endpoints`` listens before anything else is begun, so that a port that can't be had costs
nothing, and leaves within `STOP_S`. It handles no signal: that is the runner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

from otel_bridge.errors import EndpointsUnavailable
from otel_bridge.listening import listener
from otel_bridge.service.logs import event
from otel_bridge.settings.kinds import is_loopback
from otel_bridge.web.app import create_app
from otel_bridge.web.protocol import BoundedProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Generator

    from otel_bridge.service.running import Running

STOP_S: Final = 1.0
"""In which the server ends, whatever its clients do."""
_GRACE_S: Final = 1
_KEEP_ALIVE_S: Final = 5
_BACKLOG: Final = 128


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the runner's."""
        yield


@asynccontextmanager
async def endpoints(running: Running) -> AsyncIterator[None]:
    """Serve for as long as the block runs; nothing where ``OTEL_BRIDGE_LISTEN`` is empty.

    An address that a person has set is served or nothing is. The default one may belong to another bridge on
    the same machine: then this one works without.

    Raises:
        EndpointsUnavailable: The address that was set can't be listened on.
    """
    http = running.settings.http
    if not http.listen:
        yield
        return
    host, port = _address(http.listen)
    try:
        listening = _listen(host, port)
    except EndpointsUnavailable as error:
        if "listen" in http.model_fields_set:
            raise
        event(logging.WARNING, "endpoints_off", str(error), listen=http.listen)
        yield
        return
    async with _served(running, listening, host):
        yield


@asynccontextmanager
async def _served(running: Running, listening: socket.socket, host: str) -> AsyncIterator[None]:
    config = uvicorn.Config(
        create_app(running, host),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        # What it would say is a client's doing; what goes wrong in an endpoint is an event of its own.
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="endpoints")
    where, port = listening.getsockname()[:2]
    url = f"http://[{where}]:{port}" if ":" in where else f"http://{where}:{port}"
    running.url = url
    event(logging.INFO, "endpoints", f"status and metrics at {url}/", url=url)
    if not is_loopback(where):
        event(
            logging.INFO,
            "endpoints_open",
            "everyone who reaches this address can read the page, the status and the metrics "
            "(of a container: its network, and whoever reaches the port it is published on)",
            listen=running.settings.http.listen,
        )
    try:
        yield
    finally:
        server.should_exit = True
        _, late = await asyncio.wait({serving}, timeout=STOP_S)
        if late:
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listening.close()


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(host: str, port: int) -> socket.socket:
    """Listen here and not in uvicorn, which ends the process where the address can't be had."""
    try:
        made = listener(host, port, _BACKLOG)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is no host name
        shown = f"[{host}]" if ":" in host else host
        raise EndpointsUnavailable(
            f"OTEL_BRIDGE_LISTEN is '{shown}:{port}': {_why(error)}; set it to another address "
            "(port 0 takes a free one), or to nothing for no endpoints"
        ) from None
    made.setblocking(False)  # noqa: FBT003 - the name says what it takes
    return made


def _why(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.EADDRINUSE:
            return "another program listens there"
        if error.errno == errno.EACCES:
            return "this user may not listen there"
        if error.errno == errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        if error.strerror:
            return error.strerror
    return "it is no address of this machine"
