"""What a person can do about a source that does not give what was asked: for each cause, what to mend.

What Composio itself says of a key or a route stands in ``answers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from otel_bridge.causes import Cause, cause_of
from otel_bridge.network.proxy import proxy_variable

if TYPE_CHECKING:
    from otel_bridge.errors import SourceError

_ADDRESS: Final = "COMPOSIO_BASE_URL (base_url)"
_TO_DO: Final = {
    Cause.UNKNOWN_NAME: f"see whether this machine can resolve names, and the host in {_ADDRESS}",
    Cause.REFUSED_CONNECTION: f"correct {_ADDRESS}, or {{PROXY}} where a proxy is meant to stand between",
    Cause.EXPIRED: "set this machine's clock; where that is right, the certificate there has to be renewed",
    Cause.OTHER_NAME: f"call it in {_ADDRESS} by a name that its certificate has",
    Cause.STRICT: "make that certificate anew with the extensions of RFC 5280, on which Python 3.13 insists",
    Cause.UNTRUSTED: "set SSL_CERT_FILE to a PEM file of the authority that signed it, most likely that of a "
    "proxy of your network",
    Cause.CLIENT_CERTIFICATE: f"correct {_ADDRESS}: Composio asks for no client's certificate",
    Cause.SPEAKS_NO_TLS: f"it speaks no TLS: write http:// in {_ADDRESS}, or correct it",
    Cause.SPEAKS_TLS: f"it speaks TLS: write https:// in {_ADDRESS}",
    Cause.SPEAKS_HTTP_2: f"correct {_ADDRESS}: it speaks HTTP/2 alone",
    Cause.PROXY: "correct the proxy in {PROXY}, or name this host in NO_PROXY where it needs none",
    Cause.PROXY_KEY: "write the proxy's user and password into {PROXY}: http://USER:PASSWORD@HOST:PORT",
    Cause.BARRED: "let this machine through there (firewall, proxy, bot protection); the key may be well",
    Cause.SLOW: "see whether a firewall stands between, and whether this machine needs {PROXY}",
}

E = TypeVar("E", bound="SourceError")


def advised(error: E, url: str) -> E:
    """The error, with what a person can do where its words tell a cause.

    Args:
        error: What happened.
        url: The address that was asked: which proxy counts depends on it.
    """
    cause = cause_of(error.fact)
    words = _TO_DO.get(cause, "") if cause is not None else ""
    error.advice = words.replace("{PROXY}", proxy_variable(url))
    return error
