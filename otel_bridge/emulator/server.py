"""The emulator as a server inside of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otel_bridge.emulator.app import CLOSE, RESET, create_app
from otel_bridge.emulator.generation import generate
from otel_bridge.emulator.live import LiveSource
from otel_bridge.emulator.store import LogStore
from otel_bridge.errors import SettingsError
from otel_bridge.listening import listener

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from otel_bridge.emulator.options import EmulatorOptions

# How often new entries are made visible.
_TICK_S: Final = 0.05
_BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
"""How long an idle connection stays open. It is longer than clients keep one (httpx: 5 s), as with any API
behind a load balancer: else a client sends a request on a connection that is closed at that moment.
"""


class _Protocol(HttpToolsProtocol):
    """Lets the app end a connection without an answer; ASGI has no word for that."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment] # "extensions" is free by the ASGI text
        scope["extensions"] = {RESET: self._reset, CLOSE: self.transport.close}

    def _reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        # Lingering for 0 s sends RST in place of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the command's business."""
        yield


class EmulatorServer:
    """Serves while its context is open.

    Args:
        options: What can be set.
        store: What to serve; by default ``options.logs`` synthetic entries that end just before now.
    """

    def __init__(self, options: EmulatorOptions, store: LogStore | None = None) -> None:
        self._options = options
        self.store = store if store is not None else _synthetic(options)
        self.api = create_app(self.store, options)
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            SettingsError: The address can't be listened on.
        """
        self._socket = _listen(self._options.host, self._options.port)
        host, port = self._socket.getsockname()[:2]
        self.base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            self.api,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = _Server(config)
        self._tasks = [asyncio.create_task(self._server.serve(sockets=[self._socket]))]
        while not self._server.started:  # noqa: ASYNC110 - uvicorn sets a flag, not an event
            await asyncio.sleep(0.001)
        if self._options.rate > 0:
            source = _live(self._options)
            # The first time takes longest: the sessions that are under way are made up.
            self._make_visible(source)
            self._tasks.append(asyncio.create_task(self._go_live(source)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        serving, *others = self._tasks
        for task in others:
            task.cancel()
        self.api.close()
        server.should_exit = True
        await asyncio.gather(serving, *others, return_exceptions=True)

    async def wait(self) -> None:
        """Serve until cancelled.

        Raises:
            Exception: Whatever ended the server or its source of new entries.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _go_live(self, source: LiveSource) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._make_visible(source)

    def _make_visible(self, source: LiveSource) -> None:
        for record in source.advance(self._options.clock.now_ms()):
            self.store.add(record)


async def serve(options: EmulatorOptions, on_ready: Callable[[EmulatorServer], None]) -> None:
    """Serve until cancelled.

    Args:
        options: What can be set.
        on_ready: Called once, when the server listens.

    Raises:
        SettingsError: The address can't be listened on.
    """
    async with EmulatorServer(options) as server:
        on_ready(server)
        await server.wait()


def _synthetic(options: EmulatorOptions) -> LogStore:
    now_ms = options.clock.now_ms()
    records = generate(options.logs, options.seed, now_ms - options.span_ms, now_ms)
    return LogStore(records, to_inclusive=options.to_inclusive, order=options.order)


def _live(options: EmulatorOptions) -> LiveSource:
    return LiveSource(
        options.rate,
        options.seed,
        options.clock.now_ms(),
        late_share=options.late_share,
        late_ms=options.late_ms,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Bind here and not in uvicorn, which ends the process where the address can't be had."""
    try:
        return listener(host, port, _BACKLOG)
    except (OSError, OverflowError, ValueError) as error:  # ValueError: no host name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingsError(
            f"the emulator can't listen on {host} port {port}: {reason}; "
            "give another --host or --port (0 takes a free one)"
        ) from None
