"""The gRPC channel to a destination: how it is made, and how it is replaced while calls are in flight.

A channel keeps one connection for as long as it lives. It is replaced when the connection has gone silent and
when it is older than the settings allow.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from otel_bridge._version import __version__
from otel_bridge.errors import SettingsError
from otel_bridge.exporter.grpc_tls import credentials
from otel_bridge.network.proxy import proxy_for, unusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.exporter.destination import Destination
    from otel_bridge.network.proxy import Proxy

_Options = tuple[tuple[str, int | str], ...]

_OPTIONS: Final[_Options] = (
    ("grpc.enable_retries", 0),  # retries have one owner, and it is not the library
    ("grpc.max_send_message_length", -1),  # batches are bounded by their maker
    ("grpc.primary_user_agent", f"otel-bridge/{__version__}"),
    # By default a channel waits up to two minutes before it connects again, and fails calls until then.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # By default channels to one address share their connections, so that a new channel would go on with the
    # silent connection of the one before it.
    ("grpc.use_local_subchannel_pool", 1),
    # A call that waits on a connection which no longer carries anything fails after 30 s at most. Servers end
    # a connection with GOAWAY "too_many_pings" after the third ping that comes without data, or at once when
    # pings come while no call is open. So at most two are sent, and only during a call: none to measure how
    # fast the connection is, which would also be the one that is waited for, for a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.http2.bdp_probe", 0),
    # Firewalls forget idle connections. The HTTP transport keeps them as long.
    ("grpc.client_idle_timeout_ms", 30_000),
    # Which proxy is used is decided by `network.proxy`, as for HTTP: the library reads lower-case names
    # alone, and https_proxy also for destinations in plain text.
    ("grpc.enable_http_proxy", 0),
)

_LOST_LOOKS: Final = 20
_LOST_LOOK_S: Final = 0.005


@dataclass(slots=True, eq=False)
class Opened:
    """A channel that is open.

    Attributes:
        channel: The library's.
        since_s: When it was opened, on the loop's clock.
        calls: How many are in flight.
        heard_s: When the last answer came, on the loop's clock; ``since_s`` before the first.
        lost_s: When a connection was last found to be lost, on the loop's clock; ``since_s`` before that.
    """

    channel: grpc.aio.Channel
    since_s: float
    calls: int = 0
    heard_s: float = field(init=False)
    lost_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.heard_s = self.lost_s = self.since_s

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    async def lost(self, began_s: float) -> bool:
        """Whether the connection was lost on which a call has failed.

        The library notes the loss in a thread of its own, at times some milliseconds after the call failed.
        Where several calls fail together, the first to be repeated brings a new connection.

        Args:
            began_s: When the call began, on the loop's clock.
        """
        for _ in range(_LOST_LOOKS):
            if not self.connected:
                self.lost_s = asyncio.get_running_loop().time()
            if self.lost_s > began_s:
                return True
            await asyncio.sleep(_LOST_LOOK_S)
        return False


class Channel:
    """A destination's channel. It is opened by the first call, and can be replaced at any moment.

    Example:
        async with channel.lent() as opened:
            await opened.channel.unary_unary(method)(body)
            ...
            await channel.renew(opened)  # it was silent: the next call opens a new one

    Args:
        destination: Where to.

    Attributes:
        proxy: The proxy that calls go through; None for none.

    Raises:
        SettingsError: The environment names a proxy that gRPC can't use, or no usable authorities.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._address = destination.endpoint.rpartition("://")[2]
        self._age_s = destination.connection_age_s
        self._current: Opened | None = None
        self.proxy = proxy_for(destination.url)
        if self.proxy is not None and self.proxy.scheme != "http":
            why = f"gRPC goes through no {self.proxy.scheme}:// proxy"
            line = unusable(self.proxy.variable, why, socks=False)
            raise SettingsError(f"{line}; or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
        # Read now: what can't be used is told of before anything is sent, and files may change later.
        files = (destination.certificate, destination.client_certificate, destination.client_key)
        self._credentials = credentials(*files) if destination.tls else None

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Opened]:
        """The open channel, for one call."""
        await self._renew_old()
        if self._current is None:
            self._current = self._open()
        opened = self._current
        opened.calls += 1
        try:
            yield opened
        finally:
            opened.calls -= 1
            if opened is not self._current:
                await _close_unused(opened)

    async def renew(self, old: Opened) -> None:
        """Let the next call open a new channel; calls in flight end on the one that they have.

        Args:
            old: The channel that is to be replaced; where it has been already, nothing happens.
        """
        if old is self._current:
            self._current = None
            await _close_unused(old)

    async def _renew_old(self) -> None:
        opened = self._current
        if opened is None or self._age_s is None:
            return
        if asyncio.get_running_loop().time() - opened.since_s >= self._age_s:
            await self.renew(opened)

    async def aclose(self) -> None:
        """Close it at once; twice does no harm."""
        opened, self._current = self._current, None
        if opened is not None:
            await opened.channel.close(None)

    def _open(self) -> Opened:
        to = self._destination
        target, options = self._address, _OPTIONS
        if self.proxy is not None:
            target, options = self.proxy.where, _OPTIONS + _tunnel(self.proxy, self._address)
        compression = grpc.Compression.Gzip if to.gzip else grpc.Compression.NoCompression
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(target, options=options, compression=compression)
        else:
            channel = grpc.aio.secure_channel(
                target, self._credentials, options=options, compression=compression
            )
        return Opened(channel, asyncio.get_running_loop().time())


async def _close_unused(opened: Opened) -> None:
    if not opened.calls:
        await opened.channel.close(None)


def _tunnel(proxy: Proxy, address: str) -> _Options:
    """What makes a channel to a proxy one through it.

    The library's own option for a proxy, ``grpc.http_proxy``, is no use: beside it the library still reads
    ``no_proxy``, in its own way.
    """
    bare = address.rpartition("]")[2]
    server = address if ":" in bare else f"{address}:443"
    options: _Options = (("grpc.http_connect_server", server), ("grpc.default_authority", address))
    if proxy.authorization is None:
        return options
    return (*options, ("grpc.http_connect_headers", f"Proxy-Authorization:{proxy.authorization}"))
