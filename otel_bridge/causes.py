"""Why a request came to nothing, as far as a person can mend it: a cause for what a failure says.

The source and every destination meet the same network, so both are told apart here, by the words of Python,
OpenSSL, gRPC and HTTP servers. What a cause asks for is another matter on each side: ``receiver.advice`` and
``exporter.advice`` have a table each.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cause(Enum):
    """What a person can mend."""

    UNKNOWN_NAME = auto()
    REFUSED_CONNECTION = auto()
    EXPIRED = auto()
    OTHER_NAME = auto()
    STRICT = auto()
    UNTRUSTED = auto()
    CLIENT_CERTIFICATE = auto()
    SPEAKS_NO_TLS = auto()
    SPEAKS_TLS = auto()
    SPEAKS_HTTP_2 = auto()
    SPEAKS_NO_HTTP_2 = auto()
    PROXY = auto()
    PROXY_KEY = auto()
    BARRED = auto()
    NOT_UNPACKED = auto()
    KEY = auto()
    NO_ROUTE = auto()
    MOVED = auto()
    WEB_PAGE = auto()
    NO_PROTOBUF = auto()
    REFUSES_ALL = auto()
    SLOW = auto()
    CUT_OFF = auto()


_BARRED: Final = re.compile(
    r"by what stands before|received http2 header with status: (401|403|405|451)", re.IGNORECASE
)
# An answer of HTTP, as senders write it: "POST http://…: 403 Forbidden: no", "… was answered with 403".
_ANSWER: Final = re.compile(r"(?:: |answered with )([1-5]\d\d)\b")
_BY_STATUS: Final = {
    401: Cause.KEY,
    403: Cause.KEY,
    404: Cause.NO_ROUTE,
    405: Cause.NO_ROUTE,
    407: Cause.PROXY_KEY,
    410: Cause.NO_ROUTE,
    415: Cause.NO_PROTOBUF,
    426: Cause.SPEAKS_HTTP_2,
    464: Cause.SPEAKS_HTTP_2,  # of Amazon's load balancers, for HTTP/1.1 before gRPC
}


def _signs(found: dict[Cause, tuple[str, ...]]) -> list[tuple[Cause, re.Pattern[str]]]:
    return [(cause, re.compile("|".join(words), re.IGNORECASE)) for cause, words in found.items()]


# What an answer says beside its status. The first that is found counts, here and below.
_IN_ANSWERS: Final = _signs(
    {
        Cause.SPEAKS_TLS: ("http request (was sent )?to (an )?https",),
        Cause.CLIENT_CERTIFICATE: ("no required ssl certificate", "ssl certificate error"),
        Cause.NOT_UNPACKED: (r": 4(00|15)\b.*(gzip|content.encoding|decompress|inflate)",),
        Cause.MOVED: ("moved to ",),
        Cause.WEB_PAGE: ("that is no otlp answer",),
        Cause.REFUSES_ALL: ("refuses every record: 4(00|22)",),
    }
)
_IN_FAILURES: Final = _signs(
    {
        # A connection through a proxy is one to the proxy, so what the system says of it is about the proxy.
        Cause.PROXY: (
            r"^(?!.*\b407\b)(?=.* through the proxy ).*(refused|resol|not known|tunnel|proxy returned)",
        ),
        Cause.UNKNOWN_NAME: (
            *("name or service not known", "name resolution", "nodename nor servname"),
            *("no address associated", "domain name not found", "dns resolution", "does not resolve"),
        ),
        Cause.PROXY_KEY: (r"\b407\b", "proxy authentication"),
        Cause.REFUSED_CONNECTION: ("connection refused",),
        Cause.EXPIRED: ("certificate.(has.expired|is.not.yet.valid)", "cert_has_expired"),
        Cause.OTHER_NAME: ("(hostname|ip address) mismatch", "hostname verification", "not valid for"),
        Cause.STRICT: ("key.identifier", "basic constraints", "key.usage"),
        Cause.UNTRUSTED: (
            *("certificate.verify.failed", "certificate is not trusted", "self.signed", "local issuer"),
        ),
        Cause.CLIENT_CERTIFICATE: (
            *("certificate.required", "alert.(bad|unknown|unsupported).certificate"),
            *("alert.certificate.unknown", "alert.(unknown.ca|access.denied)"),
        ),
        Cause.SPEAKS_NO_TLS: ("wrong.version.number", "record.layer.failure", "packet.length.too.long"),
        Cause.SPEAKS_TLS: ("answer is a tls alert",),
        Cause.SPEAKS_HTTP_2: ("answer is http/2", "http_1_1_required"),
        Cause.SPEAKS_NO_HTTP_2: (
            *("failed parsing http/2", r"http1\.x server", "missing selected alpn"),
            *("settings frame as the first", "received http2 header with status: 4"),
        ),
        Cause.KEY: (r": (unauthenticated|permission_denied)\b",),
        Cause.NO_ROUTE: (r": unimplemented\b",),
        Cause.WEB_PAGE: ("bytes that are no otlp answer",),
        Cause.SLOW: (
            *(r"no (whole )?answer .*(in|within) \d", "deadline_exceeded", "timed out", "in time"),
            *("no route to host", "(network|host) is unreachable"),
        ),
        Cause.CUT_OFF: (
            *("connection reset", "socket closed", "closed before", "broken pipe", "ended too early"),
            "is no http",
        ),
    }
)
# Of servers that answer in the place of those behind them.
_SIGNS_OF_A_BARRIER: Final = ("cf-mitigated", "x-amzn-errortype", "x-iinfo", "x-sucuri-id", "x-azure-ref")
_SERVERS: Final = re.compile(
    r"cloudflare|akamai|awselb|cloudfront|nginx|openresty|apache|envoy|haproxy|varnish|squid|bigip|imperva"
    r"|sucuri|zscaler|fortiweb|caddy|traefik|iis",
    re.IGNORECASE,
)
_WORDS_OF_A_BARRIER: Final = re.compile(rb"\s*(<|error code: \d+\s*$)", re.IGNORECASE)


def cause_of(text: str) -> Cause | None:
    """The cause that a failure's words tell; None where they tell none.

    >>> cause_of("POST http://127.0.0.1:4318/v1/traces: connection refused")
    <Cause.REFUSED_CONNECTION: 2>
    """
    if _BARRED.search(text):
        return Cause.BARRED
    answer = _ANSWER.search(text)
    signs = _IN_FAILURES if answer is None else _IN_ANSWERS
    found = next((cause for cause, sign in signs if sign.search(text)), None)
    return _BY_STATUS.get(int(answer[1])) if answer is not None and found is None else found


def is_barred(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer comes from a server that stands before the one that was meant, by what it looks like.

    Args:
        headers: Its headers; names in any case, as httpx has them.
        body: Its body.
    """
    return any(name in headers for name in _SIGNS_OF_A_BARRIER) or bool(_WORDS_OF_A_BARRIER.match(body))


def barrier(headers: Mapping[str, str], before: str) -> str:
    """What stands before the server that was meant, with its name where it tells that.

    Args:
        headers: As for ``is_barred``.
        before: What is behind it.
    """
    server = _SERVERS.search(f"{headers.get('server', '')} {headers.get('via', '')}")
    return f"what stands before {before}{f' ({server[0].lower()})' if server else ''}"
