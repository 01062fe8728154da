"""A service is reached on a machine of either address family, and of both."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from ipv6 import needs_ipv6

from otel_bridge.listening import listener


def reached(host: str, made: socket.socket) -> bool:
    try:
        socket.create_connection((host, made.getsockname()[1]), 2).close()
    except OSError:
        return False
    return True


@needs_ipv6
def test_all_addresses_are_those_of_both_families() -> None:
    with listener("::", 0, 8) as made:
        assert reached("::1", made)
        assert reached("127.0.0.1", made)


@needs_ipv6
def test_an_address_of_ipv6_is_that_alone() -> None:
    with listener("::1", 0, 8) as made:
        assert reached("::1", made)
        assert not reached("127.0.0.1", made)


@pytest.mark.parametrize("lacks", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_all_addresses_of_a_machine_without_ipv6_are_those_it_has(
    monkeypatch: pytest.MonkeyPatch, lacks: int
) -> None:
    real = socket.socket

    def without_ipv6(family: int, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(lacks, "not here")
        return real(family, *rest)

    monkeypatch.setattr("otel_bridge.listening.socket.socket", without_ipv6)
    with listener("::", 0, 8) as made:
        assert made.family == socket.AF_INET


def test_a_name_is_listened_on_at_an_address_that_the_machine_has() -> None:
    with listener("localhost", 0, 8) as made:
        assert reached("localhost", made)


def test_an_address_in_use_is_not_looked_for_elsewhere() -> None:
    with listener("127.0.0.1", 0, 8) as first, pytest.raises(OSError, match="in use"):
        listener("127.0.0.1", first.getsockname()[1], 8)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the machine's families
        listener(host, 0, 8)
