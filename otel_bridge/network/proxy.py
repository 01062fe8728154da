"""Which proxy an address is asked through, as the environment says.

``http_proxy`` is for addresses in plain text, ``https_proxy`` for those with TLS, ``all_proxy`` for both, and
``no_proxy`` names exceptions. Each is read in lower and in upper case; lower case wins, and an empty value
counts as unset, as in curl.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from otel_bridge.errors import SettingsError
from otel_bridge.network.no_proxy import is_excepted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,15}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment.

    Attributes:
        scheme: How the proxy itself is spoken to: ``http``, ``https``, ``socks5`` or ``socks5h``.
        host: A name, or an address without brackets.
        port: 1 to 65,535.
        variable: The variable that names it, for messages.
        user: Empty for none.
        password: Empty for none.
    """

    scheme: str
    host: str
    port: int
    variable: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """Host and port as they may be shown, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def through(self) -> str:
        """The end of a message about a failure: `` through the proxy proxy.example:3128``."""
        return f" through the proxy {self.where}"

    @property
    def authorization(self) -> str | None:
        """The value of ``proxy-authorization``; None where the environment names no user."""
        if not self.user:
            return None
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def url(self) -> str:
        """The whole address, its secrets included; never to be shown."""
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme}://{user}{self.where}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy that requests to an address go through; None where they go there directly.

    Example:
        With ``HTTPS_PROXY=http://proxy.example:3128`` and ``NO_PROXY=localhost``,
        ``proxy_for("https://otlp.example").where`` is ``"proxy.example:3128"``, and
        ``proxy_for("https://localhost:4318")`` is None.

    Args:
        url: ``http://…`` or ``https://…``: the scheme decides which variable counts.

    Raises:
        SettingsError: The variable's value is no address of a proxy.
    """
    asked = urlsplit(url)
    proxies = getproxies()
    for kind in (asked.scheme.lower(), "all"):
        address = proxies.get(kind, "").strip()
        if address:
            return None if _is_excepted(asked, proxies) else _read(address, _variable(kind))
    return None


def unusable(variable: str, why: str, *, socks: bool = True) -> str:
    """Say that a proxy can't be used. Its address is left out: it can hold a password.

    Args:
        variable: The variable that names it.
        why: The reason.
        socks: Whether an address of a SOCKS proxy would do.
    """
    takes = f"http://proxy.example:3128{' or socks5://proxy.example:1080' if socks else ''}"
    return f"{variable} in the environment can't be used ({why}): takes an address such as {takes}"


def through_proxy(url: str) -> str:
    """What a message about a failure of this address ends with; empty where no proxy stands between."""
    try:
        proxy = proxy_for(url)
    except SettingsError:
        return " through a proxy"
    return proxy.through if proxy else ""


def proxy_variable(url: str) -> str:
    """The variable to mend where an address is asked through the wrong proxy, or needs one.

    Example:
        ``proxy_variable("http://localhost:4318")`` is ``"HTTP_PROXY"`` where no proxy is set.

    Args:
        url: As for ``proxy_for``.
    """
    try:
        proxy = proxy_for(url)
    except SettingsError:
        proxy = None
    return proxy.variable if proxy else f"{urlsplit(url).scheme.upper()}_PROXY"


def _is_excepted(asked: SplitResult, proxies: Mapping[str, str]) -> bool:
    host = asked.hostname or ""
    if "no" not in proxies:
        return bool(proxy_bypass(host))  # a system that names the proxy has exceptions of its own
    return is_excepted(proxies["no"], host, asked.port or _DEFAULT_PORTS.get(asked.scheme.lower(), 80))


def _variable(kind: str) -> str:
    """The variable that was read; in capitals, as most write it, where the system itself names the proxy."""

    def spellings() -> Iterator[str]:
        yield f"{kind}_proxy"
        yield from (name for name in os.environ if name.lower() == f"{kind}_proxy")

    return next((name for name in spellings() if os.environ.get(name)), f"{kind}_proxy".upper())


def _read(address: str, variable: str) -> Proxy:
    if any(character.isspace() or not character.isprintable() for character in address):
        raise SettingsError(unusable(variable, "it holds white space"))
    scheme, found, rest = address.partition("://")
    if not found:
        scheme, rest = "http", address
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        shown = f"{scheme}://" if _SCHEME.fullmatch(scheme) else "what it begins with"
        raise SettingsError(unusable(variable, f"{shown} is unknown"))
    authority, _, path = rest.partition("/")
    if "#" in rest or "?" in rest or "@" in path:
        raise SettingsError(unusable(variable, "user and password take %23 for #, %3F for ? and %2F for /"))
    return _of_authority(scheme, authority, variable)


def _of_authority(scheme: str, authority: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(f"//{authority}")
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError:  # a UnicodeError too
        parts, host = urlsplit(""), ""
    if not _HOST.fullmatch(host):
        raise SettingsError(unusable(variable, "it names no host"))
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise SettingsError(unusable(variable, "a port is a number from 1 to 65535"))
    return Proxy(
        scheme=scheme,
        host=host,
        port=port or _DEFAULT_PORTS[scheme],
        variable=variable,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
