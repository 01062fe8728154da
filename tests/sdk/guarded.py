"""Runs a Python program with the vendor's usage telemetry off and with loopback as its only network.

    python guarded.py PROGRAM [ARGUMENT…]

The SDK's own switch, ``allow_tracking``, is a context variable and does not reach worker threads. A
connection beyond loopback ends the process with status 70, whatever the program makes of the exception.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

BEYOND_LOOPBACK = 70


def is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return name is None or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("", "localhost")


def refuse(what: object) -> NoReturn:
    sys.stderr.write(f"a connection beyond loopback: {what!r}\n")
    sys.stderr.flush()
    os._exit(BEYOND_LOOPBACK)


def guard() -> None:
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            refuse(address)
        connect(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_loopback(host) and host not in ("0.0.0.0", "::"):  # noqa: S104 - for listening, not bound
            refuse(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign, assignment] # that is what a guard is
    socket.getaddrinfo = guarded_getaddrinfo


def silence_telemetry() -> None:
    for name in ("composio.core.models._telemetry", "composio.core.models.base"):
        module: Any = importlib.import_module(name)
        module.push_event = lambda event: None  # noqa: ARG005 - the SDK gives it by this name


if __name__ == "__main__":
    guard()
    silence_telemetry()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
