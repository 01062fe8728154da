"""A socket that listens, on machines and clusters of either address family and of both."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY_IPV6: Final = "::"
_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL})


def listener(host: str, port: int, backlog: int) -> socket.socket:
    """Listen at the first of a host's addresses that this machine has.

    ``::`` takes IPv4 as well, and is IPv4 alone on a machine without IPv6.

    Args:
        host: A name, or an address without brackets.
        port: 0 takes a free one.
        backlog: Connections that may wait.

    Raises:
        OSError: There is no such address, or another program has it.
        OverflowError: It is no port.
        UnicodeError: It is no host name.
    """
    missing: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            return _listening(family, address, backlog)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            missing = missing or error
    raise missing or OSError(errno.EADDRNOTAVAIL, "no address")


def _addresses(host: str, port: int) -> Iterator[tuple[int, tuple[object, ...]]]:
    if host == _ANY_IPV6:
        yield socket.AF_INET6, (host, port)
        yield socket.AF_INET, ("0.0.0.0", port)  # noqa: S104 - who says :: asks for all addresses
        return
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        name = host.encode("idna")
        for family, _, _, _, address in socket.getaddrinfo(
            name, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            yield family, (address[0], port, *address[2:])
    else:
        yield socket.AF_INET if version == 4 else socket.AF_INET6, (host, port)  # noqa: PLR2004 - IPv4


def _listening(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the socket says that it is TCP.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == _ANY_IPV6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made
