"""No test leaves this machine: a connection, or a name looked up, beyond loopback fails the test."""

from __future__ import annotations

import faulthandler
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# Machines are shared: how long an example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
_attempts: list[str] = []
_stderr = pytest.StashKey[int]()
_LONGER_S = 60


class OutsideConnectionError(AssertionError):
    """A test tried to reach something that is not on this machine."""


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if not isinstance(host, str):
        return host is None
    host = host.partition("%")[0].lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost") or host.endswith(".localhost")


def _refuse(what: str) -> None:
    _attempts.append(what)
    raise OutsideConnectionError(f"tests connect to loopback only, not to {what}")


def _check_address(connection: socket.socket, address: Any) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        _refuse(repr(address))


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command sets the log up for its process; here the next test gets it as it was."""
    loggers = [logging.getLogger(name) for name in ("otel_bridge", "opentelemetry")]
    before = [(each.handlers[:], each.filters[:], each.propagate, each.level) for each in loggers]
    yield
    for each, (handlers, filters, propagate, level) in zip(loggers, before, strict=True):
        each.handlers[:], each.filters[:], each.propagate = handlers, filters, propagate
        each.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[list[str]]:
    """Guards what Python code connects to, asyncio's connections too; not C extensions or other processes.

    Yields:
        What was refused during a test: more than nothing fails it.
    """
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check_address(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check_address(self, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        _check_address(self, rest[-1])
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.lower().endswith(".invalid"):
            # RFC 6761: these never resolve, so nobody needs to be asked.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # The unspecified addresses are for listening.
        if not _is_loopback(host) and name not in ("0.0.0.0", "::"):  # noqa: S104 - not bound here
            _refuse(repr(host))
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield _attempts


def pytest_configure(config: pytest.Config) -> None:
    """Keep the way to the terminal, which is not captured yet."""
    config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """End the process that a test's timeout does not end, and say where each of its threads stands.

    The timeout fails the test by an exception, once. Hypothesis takes that for a finding and tries the
    example again, without a timeout; code that holds the interpreter's lock never sees it. With several
    workers the others go on.
    """
    marker = item.get_closest_marker("timeout")
    timeout_s = marker.args[0] if marker else float(item.config.getini("timeout"))
    faulthandler.dump_traceback_later(timeout_s + _LONGER_S, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, so that with several workers (``-n``) none of them is left over at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Fail a test whose attempt was swallowed by a broad except."""
    _attempts.clear()
    result = yield
    if _attempts:
        attempts, _attempts[:] = list(_attempts), []
        raise OutsideConnectionError(f"tests connect to loopback only, not to {', '.join(attempts)}")
    return result
