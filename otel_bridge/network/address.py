"""Addresses that requests can be sent to, told from those that only look like some."""

from __future__ import annotations

import re
from typing import Final

import httpx

_HOST: Final = re.compile(rb"[A-Za-z0-9._:-]+")  # httpx takes almost anything for a host
_PORTS: Final = 65_536


def read_url(text: str) -> httpx.URL | None:
    """The address, where it has a host, and a port that there can be; None for others.

    Example:
        >>> read_url("https://otlp.example:99999")
        >>> read_url("https://xn--a")
    """
    try:
        url = httpx.URL(text)
        named = url.host  # read from its encoded form, which may be none
    except (httpx.InvalidURL, ValueError):
        return None
    port = 443 if url.port is None else url.port
    return url if named and _HOST.fullmatch(url.raw_host) and 0 < port < _PORTS else None
