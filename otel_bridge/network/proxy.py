"""Which proxy an address is asked through, as the environment says.

``http_proxy`` is for addresses in plain text, ``https_proxy`` for those with TLS, ``all_proxy`` for both, and
``no_proxy`` names exceptions. Each is read in lower and in upper case; lower case wins, and an empty value
counts as unset, as in curl.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from otel_bridge.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SOCKS_PORT: Final = 1080


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment.

    Attributes:
        scheme: How the proxy itself is spoken to: ``http``, ``https``, ``socks5`` and so on.
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
            return None if _is_excepted(asked) else _read(address, _variable(kind))
    return None


def unusable(variable: str, what_for: str = "") -> str:
    """Say that a proxy can't be used. Its address is left out: it can hold a password.

    Args:
        variable: The variable that names it.
        what_for: Such as ``with gRPC``; empty where it can't be used at all.
    """
    takes = "takes an address such as http://proxy.example:3128"
    return f"{variable} in the environment can't be used{what_for and ' '}{what_for}: {takes}"


def through_proxy(url: str) -> str:
    """What a message about a failure of this address ends with; empty where no proxy stands between."""
    try:
        proxy = proxy_for(url)
    except SettingsError:
        return " through a proxy"
    return proxy.through if proxy else ""


def _is_excepted(asked: SplitResult) -> bool:
    host = asked.hostname or ""
    default = _DEFAULT_PORTS.get(asked.scheme.lower(), 80)
    return bool(proxy_bypass(host) or proxy_bypass(f"{host}:{asked.port or default}"))


def _variable(kind: str) -> str:
    """The variable that was read; in capitals, as most write it, where the system itself names the proxy."""

    def spellings() -> Iterator[str]:
        yield f"{kind}_proxy"
        yield from (name for name in os.environ if name.lower() == f"{kind}_proxy")

    return next((name for name in spellings() if os.environ.get(name)), f"{kind}_proxy".upper())


def _read(address: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        scheme = parts.scheme.lower()
        port = parts.port
    except ValueError:
        raise SettingsError(unusable(variable)) from None
    if not parts.hostname or port == 0:
        raise SettingsError(unusable(variable))
    return Proxy(
        scheme=scheme,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS.get(scheme, _SOCKS_PORT),
        variable=variable,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
