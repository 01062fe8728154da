"""What a person can do about a destination that takes nothing: for each cause, the one variable to mend.

The words name variables by what a person has set: ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` where that is where
the endpoint comes from, the place in the settings file where it stands there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.causes import Cause, cause_of
from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.destination import Protocol
from otel_bridge.exporter.sender import NoAnswer, Refused
from otel_bridge.network.proxy import proxy_variable

if TYPE_CHECKING:
    from otel_bridge.errors import BridgeError
    from otel_bridge.exporter.destination import Destination
    from otel_bridge.exporter.sender import Answer, Sender

_TO_DO: Final = {
    Cause.UNKNOWN_NAME: "correct the host in {ENDPOINT}, whose name can't be resolved from here",
    Cause.REFUSED_CONNECTION: "start what should listen there, or correct host and port in {ENDPOINT}",
    Cause.EXPIRED: "renew its certificate, or set this machine's clock",
    Cause.OTHER_NAME: "call it in {ENDPOINT} by a name that its certificate has",
    Cause.STRICT: "make its certificate anew with the extensions of RFC 5280, on which Python 3.13 insists",
    Cause.UNTRUSTED: "set {CERTIFICATE} (or SSL_CERT_FILE) to a PEM file of the authority that signed it",
    Cause.CLIENT_CERTIFICATE: "it asks for a client's certificate: set {CLIENT_CERTIFICATE} and {CLIENT_KEY}",
    Cause.SPEAKS_NO_TLS: "it speaks no TLS: write http:// in {ENDPOINT}",
    Cause.SPEAKS_TLS: "it speaks TLS: write https:// in {ENDPOINT}",
    Cause.SPEAKS_HTTP_2: "it speaks gRPC: set {PROTOCOL}=grpc, or take its port for HTTP in {ENDPOINT}",
    Cause.SPEAKS_NO_HTTP_2: "it speaks no gRPC: set {PROTOCOL}=http/protobuf, or take its port for gRPC in "
    "{ENDPOINT}",
    Cause.PROXY: "correct the proxy in {PROXY}, or name this host in NO_PROXY where it needs none",
    Cause.PROXY_KEY: "write the proxy's user and password into {PROXY}: http://USER:PASSWORD@HOST:PORT",
    Cause.BARRED: "let this machine through there, or correct {ENDPOINT}",
    Cause.NOT_UNPACKED: "it can't read gzip: set {COMPRESSION}=none",
    Cause.KEY: "see the key in {HEADERS}, and whether {ENDPOINT} is of the region that the key belongs to",
    Cause.NO_ROUTE: "correct the path in {ENDPOINT}",
    Cause.MOVED: "set {ENDPOINT} to where that is",
    Cause.WEB_PAGE: "no OTLP receiver answers there: correct {ENDPOINT}",
    Cause.NO_PROTOBUF: "it takes no OTLP in protobuf: correct {ENDPOINT}",
    Cause.REFUSES_ALL: "see its own log for what it takes, and where {ENDPOINT} leads",
    Cause.SLOW: "see what lies between, such as a firewall, correct {ENDPOINT}, or give it time by {TIMEOUT}",
}
# Said by `check` alone: a destination that works breaks a connection now and then as well.
_CUT_OFF: Final = "see its own log: it may want TLS (https:// in {ENDPOINT}) or another protocol ({PROTOCOL})"
_CUT_OFF_IN_TLS: Final = "see its own log: it may ask for a client's certificate ({CLIENT_CERTIFICATE})"
_OF_A_WRONG_PORT: Final = frozenset({None, Cause.CUT_OFF, Cause.SLOW, Cause.REFUSED_CONNECTION})
_OTHER: Final = "see whether it is up and reachable from here, and where {ENDPOINT} leads"


# What is the destination's own fault, whatever records are sent to it.
_WHATEVER_IS_SENT: Final = frozenset(
    {Cause.SPEAKS_TLS, Cause.CLIENT_CERTIFICATE, Cause.NOT_UNPACKED, Cause.BARRED}
)

# What may come of this very request, too large or too slow, or of nothing in particular.
_OF_THIS_REQUEST: Final = frozenset({None, Cause.SLOW, Cause.CUT_OFF})


class AdvisedSender:
    """A sender whose errors say what a person can do.

    Args:
        sender: Sends.
        destination: Where it sends to.
    """

    def __init__(self, sender: Sender, destination: Destination) -> None:
        self.sender = sender
        self._destination = destination

    async def send(self, body: bytes) -> Answer:
        """As `Sender.send`."""
        try:
            answer = await self.sender.send(body)
            if isinstance(answer, Refused) and cause_of(f": {answer.message}") in _WHATEVER_IS_SENT:
                raise DestinationRefused(f"{self._destination.where}: {answer.message}")
            if isinstance(answer, NoAnswer) and cause_of(answer.message) not in _OF_THIS_REQUEST:
                raise DestinationUnavailable(answer.message)
        except DestinationError as error:
            error.advice = advice(error, self._destination)
            raise
        return answer

    async def aclose(self) -> None:
        """As `Sender.aclose`."""
        await self.sender.aclose()


def advice(error: BridgeError, destination: Destination) -> str:
    """What a person can do about an error; empty where its words tell no cause."""
    cause = cause_of(error.fact)
    if cause is None or cause is Cause.CUT_OFF:
        return ""
    return _filled(_special(cause, error.fact, destination) or _TO_DO[cause], destination)


def advice_at_last(error: BridgeError, destination: Destination) -> str:
    """What a person can do about an error, whatever it is."""
    port = ":4318" if destination.protocol is Protocol.GRPC else ":4317"
    if port in destination.endpoint.partition("://")[2] and cause_of(error.fact) in _OF_A_WRONG_PORT:
        cause = Cause.SPEAKS_NO_HTTP_2 if destination.protocol is Protocol.GRPC else Cause.SPEAKS_HTTP_2
        return _filled(_TO_DO[cause], destination)
    found = error.advice or advice(error, destination)
    if found:
        return found
    cut_off = _CUT_OFF_IN_TLS if destination.tls else _CUT_OFF
    return _filled(cut_off if cause_of(error.fact) is Cause.CUT_OFF else _OTHER, destination)


def _special(cause: Cause, text: str, destination: Destination) -> str:
    """What a cause asks for in view of what is set already; empty where the table has it."""
    words = ""
    match cause:
        case Cause.UNTRUSTED if destination.certificate:
            words = "{CERTIFICATE} has another authority: take that which signed its certificate"
        case Cause.CLIENT_CERTIFICATE if destination.client_certificate:
            words = "it does not accept the client's certificate in {CLIENT_CERTIFICATE}"
        case Cause.SPEAKS_NO_TLS if "://" not in destination.endpoint:
            words = "it speaks no TLS: set {INSECURE}=true, or write http:// before the host in {ENDPOINT}"
        case Cause.SPEAKS_TLS if "://" not in destination.endpoint:
            words = "it speaks TLS: set {INSECURE}=false"
        case Cause.KEY if not destination.headers:
            words = "set {HEADERS} to what it takes for a key, such as authorization=Bearer%20KEY"
        case Cause.BARRED if ": 401 " in text:
            words = "give what it asks for in {HEADERS}, or correct {ENDPOINT}"
        case Cause.NO_ROUTE if destination.protocol is Protocol.GRPC:
            words = f"it takes no {destination.signal} by gRPC: correct {{ENDPOINT}}"
        case Cause.NO_ROUTE:
            words = _about_the_path(destination)
        case Cause.NO_PROTOBUF if destination.gzip:
            words = "it takes no OTLP in protobuf, or no gzip: correct {ENDPOINT}, or set {COMPRESSION}=none"
    return words


def _about_the_path(destination: Destination) -> str:
    path = f"/v1/{destination.signal}"
    where = destination.where.rstrip("/")
    if where.endswith(path * 2):
        return f"take {path} from {{ENDPOINT}}, to which it is added"
    if not where.endswith(path):
        return f"add {path} to {{ENDPOINT}}: the endpoint of one signal is taken as it is"
    return ""


def _filled(text: str, destination: Destination) -> str:
    return text.format_map(_Names(destination))


class _Names(dict[str, str]):
    """Variables by the end of their name."""

    def __init__(self, destination: Destination) -> None:
        super().__init__()
        self._destination = destination

    def __missing__(self, name: str) -> str:
        if name == "PROXY":
            return proxy_variable(self._destination.url)
        return self._destination.variable(name)
