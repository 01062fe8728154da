"""Which addresses are asked directly, although a proxy is set: what ``no_proxy`` lists.

There is no standard. What curl, Go, Python and Java take is taken here, each entry in its most common
meaning:

* ``*`` is every address;
* ``example.com`` and ``.example.com`` are that name and every name below it, ``*.example.com`` as well;
* ``10.0.0.1`` and ``[fd00::1]`` are one address, ``10.0.0.0/8`` and ``fd00::/8`` all of a range;
* each of them may end in a port, ``localhost:4318``: it is then that port alone.

Names are compared as they are written and never looked up: a range excepts addresses, not the names that
lead to them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_BETWEEN: Final = re.compile(r"[\s,;|]+")
_WITH_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>\d{1,5})")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_excepted(entries: str, host: str, port: int) -> bool:
    """Whether an address is asked directly.

    Example:
        >>> is_excepted("10.0.0.0/8, .example.com", "otlp.example.com", 4318)
        True

    Args:
        entries: The value of ``no_proxy``. What can't be read in it excepts nothing.
        host: A name, or an address, with or without brackets.
        port: The port that is asked.
    """
    name = host.strip("[]").rstrip(".").lower()
    address = _address(name)
    return any(
        _matches(entry.lower(), name, address, port) for entry in _BETWEEN.split(entries.strip()) if entry
    )


def _matches(entry: str, name: str, address: _Address | None, port: int) -> bool:
    if entry == "*":
        return True
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port is not None:
        if int(with_port["port"]) != port:
            return False
        entry = with_port["host"]
        if entry in {"", "*"}:
            return entry == "*"
    entry = entry.replace("[", "").replace("]", "").removeprefix("*").rstrip(".")
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    entry = entry.lstrip(".")
    return bool(entry) and (name == entry or name.endswith(f".{entry}"))


def _address(host: str) -> _Address | None:
    """An address; one of IPv4 that is written as IPv6 (``::ffff:10.0.0.1``) is the former."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
