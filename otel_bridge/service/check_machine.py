"""``check``, this machine: the ledger and the address of the endpoints."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import tempfile
from typing import TYPE_CHECKING, Final

import httpx

from otel_bridge.counting import counted
from otel_bridge.errors import BridgeError
from otel_bridge.ledger.place import is_postgres, masked_url, sqlite_path
from otel_bridge.listening import listener
from otel_bridge.service.finding import Finding, failed, note, ok
from otel_bridge.service.status import read_status
from otel_bridge.settings.kinds import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

_LITTLE_BYTES: Final = 100_000_000
_LIVEZ_S: Final = 2.0


async def check_ledger(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """See that the ledger can be read, and written. A file is not made, and nothing is left behind."""
    url = settings.ledger.state.get_secret_value()
    try:
        statuses = await read_status(settings, clock)
    except BridgeError as error:
        yield failed("ledger", f"ledger: {error}")
        return
    delivered = counted(sum(status.delivered for status in statuses), "record")
    if is_postgres(url):
        yield ok("ledger", f"ledger {masked_url(url)}: reachable, {delivered} delivered so far")
        return
    path = sqlite_path(url)
    place = await asyncio.to_thread(_nearest, path)
    why = await asyncio.to_thread(_why_not_written, path, place)
    if why is not None:
        todo = "give the user that runs otel-bridge the right to write there, or set OTEL_BRIDGE_STATE"
        yield failed("ledger", f"ledger {path}: {why}", todo)
        return
    held = await asyncio.to_thread(_holder, path)
    use = "" if held is None else f"; `otel-bridge run` has it now ({held}), which is well"
    yield ok("ledger", f"ledger {path}: can be written, {delivered} delivered so far{use}")
    room = os.statvfs(place if place.is_dir() else place.parent)
    free = room.f_bavail * room.f_frsize
    if free < _LITTLE_BYTES:
        yield note("ledger", f"ledger {path}: {free // 1_000_000} MB are left on its disk", "make room")


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there and may be looked into."""
    return next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110 - raises nothing


def _why_not_written(path: Path, place: Path) -> str | None:
    """Why the file can't be written, or made in the nearest folder that is there; None where it can."""
    try:
        if place == path:
            os.close(os.open(path, os.O_RDWR))
            place = path.parent
        if not place.is_dir():
            return f"{place} is no folder"
        # SQLite writes files beside its own. This one has no name, and goes when it is closed.
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place} can't be written ({error.strerror})"


def _holder(path: Path) -> str | None:
    """Who collects with this ledger; None where nobody does."""
    try:
        with path.with_name(path.name + ".lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = lock.read(32).decode("ascii", "replace").strip()
                return f"pid {pid}" if pid.isdecimal() else "pid unknown"
    except OSError:
        return None
    return None


async def check_listen(settings: Settings) -> AsyncIterator[Finding]:
    """See that the endpoints of ``run`` can have their address; a run that has it already is no failure."""
    listen = settings.http.listen
    if not listen:
        yield note("listen", "endpoints: turned off (OTEL_BRIDGE_LISTEN is empty)")
        return
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    error = await asyncio.to_thread(_why_not_bound, host, int(port))
    if error is None:
        yield ok("listen", f"endpoints: {listen} is free")
    elif error.errno == errno.EADDRINUSE and await _is_a_bridge(host, int(port)):
        yield note("listen", f"endpoints: {listen} is held by an otel-bridge that runs, which is well")
    elif error.errno == errno.EADDRINUSE:
        todo = "set OTEL_BRIDGE_LISTEN to another address, or to nothing for no endpoints"
        yield failed("listen", f"endpoints: {listen} is in use by another program", todo)
    else:
        todo = "set OTEL_BRIDGE_LISTEN to an address of this machine, such as 127.0.0.1:8790"
        yield failed("listen", f"endpoints: {listen} can't be had ({error.strerror})", todo)
    if not is_loopback(host) and settings.http.token is None:
        yield note(
            "listen",
            f"endpoints: {listen} is open to whoever reaches it (of a container: its network and "
            "its published port), and POST answers on loopback only",
            "set OTEL_BRIDGE_TOKEN where applications on other machines report correlations",
        )


def _why_not_bound(host: str, port: int) -> OSError | None:
    try:
        listener(host, port, 1).close()
    except UnicodeError:
        return OSError(0, "no host name")
    except OSError as error:
        return error
    return None


async def _is_a_bridge(host: str, port: int) -> bool:
    """Whether what listens there answers as the endpoints do."""
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    shown = f"[{host}]" if ":" in host else host
    try:
        async with httpx.AsyncClient(timeout=_LIVEZ_S, trust_env=False) as client:
            said = (await client.get(f"http://{shown}:{port}/livez")).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(said, dict) and {"status", "reasons"} <= said.keys()
