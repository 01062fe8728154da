"""Where a signal goes, as the OpenTelemetry specification's ``OTEL_EXPORTER_OTLP_*`` variables say.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ (variables, defaults, how URLs are made).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from otel_bridge.errors import SettingsError
from otel_bridge.exporter import tls
from otel_bridge.file_values import Marks
from otel_bridge.network.address import read_url

if TYPE_CHECKING:
    from collections.abc import Mapping


class Protocol(StrEnum):
    """How OTLP is carried."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class Signal(StrEnum):
    """What is carried. The values are the names in variables and paths."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one signal goes, and how.

    Args:
        endpoint: The full URL for HTTP; ``host:port`` or a URL for gRPC.
        headers: Names and values; a repr masks the values.
        gzip: Whether requests are compressed.
        timeout_ms: The longest that one request may take, in ms, its answer included.
        certificate: A PEM file of the authorities to trust in place of the built-in ones.
        client_key: A PEM file, for mTLS; goes with ``client_certificate``.
        insecure: gRPC without TLS, where the endpoint has no scheme that says so.
        connection_age_s: For so many seconds a connection is used for new requests; None for no bound.
        set_by: What a person has set each of these by, by the end of its variable's name (``ENDPOINT``).
    """

    signal: Signal
    protocol: Protocol
    endpoint: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    gzip: bool = True
    timeout_ms: int = 10_000
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    insecure: bool = False
    connection_age_s: float | None = None
    set_by: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def variable(self, name: str) -> str:
        """What sets something of this destination: as it is set, or as the general variable would.

        Args:
            name: The end of the variable's name, such as ``ENDPOINT``.
        """
        return self.set_by.get(name, f"{_BASE}{name}")

    @property
    def where(self) -> str:
        """The endpoint as it may be shown: without user, password or query, which may hold keys."""
        return public_url(self.endpoint)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted: the scheme decides, and where there is none ``insecure``."""
        scheme, found, _ = self.endpoint.partition("://")
        return scheme.lower() == "https" if found else not self.insecure

    @property
    def url(self) -> str:
        """The endpoint with the scheme that it is reached by, which gRPC's may lack."""
        return f"{'https' if self.tls else 'http'}://{self.endpoint.rpartition('://')[2]}"

    def __repr__(self) -> str:
        headers = ", ".join(f"{name}=***" for name, _ in self.headers)
        compression = "gzip" if self.gzip else "none"
        return f"<Destination {self.signal} {self.protocol} {self.where} {compression} headers=[{headers}]>"


_BASE: Final = "OTEL_EXPORTER_OTLP_"
_PROTOCOL_FORM: Final = "grpc or http/protobuf"
_HEADERS_FORM: Final = "name=value pairs, separated by commas, values percent-encoded"
_URL_FORM: Final = {
    Protocol.HTTP: "a URL such as http://localhost:4318",
    Protocol.GRPC: "a URL such as http://localhost:4317, or host:port",
}
_DEFAULT: Final = {Protocol.HTTP: "http://localhost:4318", Protocol.GRPC: "http://localhost:4317"}
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name, RFC 9110 section 5.1
_VALUE: Final = re.compile(r"[\x20-\x7e]*")  # what HTTP headers and gRPC metadata both take
_GRPC_PORT: Final = 4317
_MOST_PORT: Final = 65_535

T = TypeVar("T")


class _Variable(NamedTuple):
    name: str
    value: str


def destination_from(
    signal: Signal,
    get: Mapping[str, str],
    shown_as: Mapping[str, str] | None = None,
    marks: Marks | None = None,
) -> Destination:
    """Read where a signal goes from the standard variables.

    A signal's own variable (``OTEL_EXPORTER_OTLP_TRACES_…``) stands above the general one; an empty value
    counts as unset. The general endpoint gets ``/v1/traces`` and so on appended for HTTP, a signal's own is
    taken as it is. User and password in a URL become a Basic ``authorization`` header.

    Compression is gzip unless it is set to none, where the specification leaves the default open: attributes
    repeat from span to span, so a batch shrinks to about a tenth for 2 µs a span, and every OTLP receiver
    must take gzip.

    Args:
        signal: Which one.
        get: The variables.
        shown_as: What errors call a variable whose value a person wrote elsewhere, in a file.
        marks: Where the files of certificates are noted.

    Raises:
        SettingsError: A value is wrong: which variable, what it was, what it takes.
    """
    values = _Values(signal, get, shown_as or {})
    protocol = _protocol(values.read("PROTOCOL"))
    endpoint, user = _endpoint(signal, protocol, values)
    headers = _headers(values.read("HEADERS"))
    if user and not any(name.lower() == "authorization" for name, _ in headers):
        headers = (*headers, ("authorization", user))
    return Destination(
        signal=signal,
        protocol=protocol,
        endpoint=endpoint,
        headers=headers,
        gzip=_choice(values.read("COMPRESSION"), {"gzip": True, "none": False}, default=True),
        timeout_ms=_timeout(values.read("TIMEOUT")),
        insecure=_choice(values.read("INSECURE"), {"true": True, "false": False}, default=False),
        connection_age_s=None,
        set_by=values.found,
        **_certificates(values, Marks() if marks is None else marks),
    )


def public_url(url: str) -> str:
    """Take from a URL what may hold a credential: user, password, query, fragment."""
    scheme, found, rest = url.partition("://")
    rest = re.split(r"[?#]", rest if found else url, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme + found if found else ''}{authority.rpartition('@')[2]}{slash}{path}"


class _Values:
    """The variables of one signal, its own above the general ones."""

    def __init__(self, signal: Signal, get: Mapping[str, str], shown_as: Mapping[str, str]) -> None:
        self._own = f"{_BASE}{signal.value.upper()}_"
        self._get = get
        self._shown_as = shown_as
        self.found: dict[str, str] = {}

    def read(self, name: str) -> _Variable | None:
        found = self.own(name) or self.general(name)
        if found is not None:
            self.found[name] = found.name
        return found

    def own(self, name: str) -> _Variable | None:
        return self._read(self._own + name)

    def general(self, name: str) -> _Variable | None:
        return self._read(_BASE + name)

    def _read(self, name: str) -> _Variable | None:
        value = self._get.get(name, "").strip()
        return _Variable(self._shown_as.get(name, name), value) if value else None


def _wrong(variable: _Variable, takes: str, shown: str | None = None) -> SettingsError:
    value = variable.value if shown is None else shown
    return SettingsError(f"{variable.name} is {value[:200]!r}: takes {takes}")


def _protocol(variable: _Variable | None) -> Protocol:
    if variable is None:
        return Protocol.HTTP
    try:
        return Protocol(variable.value)
    except ValueError:
        raise _wrong(variable, _PROTOCOL_FORM) from None


def _endpoint(signal: Signal, protocol: Protocol, values: _Values) -> tuple[str, str | None]:
    """Read the endpoint, and the authorization that its user and password make."""
    own = values.own("ENDPOINT")
    variable = values.read("ENDPOINT") or _Variable(f"{_BASE}ENDPOINT", _DEFAULT[protocol])
    url = _split(variable, protocol)
    user, _, authority = url.netloc.rpartition("@")
    authorization = None
    if user:
        name, _, password = user.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    if protocol is Protocol.GRPC:
        default_port = "" if url.port or url.scheme == "https" else f":{_GRPC_PORT}"
        scheme = f"{url.scheme}://" if url.scheme else ""
        return f"{scheme}{authority}{default_port}", authorization
    path = url.path or "/"
    if own is None:
        path = f"{path.rstrip('/')}/v1/{signal.value}"
    return urlunsplit((url.scheme, authority, path, url.query, "")), authorization


def _split(variable: _Variable, protocol: Protocol) -> SplitResult:
    has_scheme = "://" in variable.value
    wrong = _wrong(variable, _URL_FORM[protocol], public_url(variable.value))
    try:
        url = urlsplit(variable.value if has_scheme else f"//{variable.value}")
        port = url.port
    except ValueError:
        raise wrong from None
    accepted = ("http", "https") if protocol is Protocol.HTTP else ("http", "https", "")
    if url.scheme not in accepted or not url.hostname or port == 0 or not variable.value.isprintable():
        raise wrong
    if any(character.isspace() for character in variable.value):
        raise wrong
    if read_url(f"http://{url.netloc.rpartition('@')[2]}") is None:
        raise wrong
    return url


def _headers(variable: _Variable | None) -> tuple[tuple[str, str], ...]:
    if variable is None:
        return ()
    headers = []
    for number, item in enumerate(variable.value.split(","), start=1):
        if not item.strip():
            continue
        name, found, value = (unquote(part.strip()) for part in item.partition("="))
        # The item is not shown: what can't be read may be a key.
        if not found or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise SettingsError(f"{variable.name} can't be read at its item {number}: takes {_HEADERS_FORM}")
        headers.append((name, value))
    return tuple(headers)


def _choice(variable: _Variable | None, choices: Mapping[str, T], *, default: T) -> T:
    if variable is None:
        return default
    try:
        return choices[variable.value.lower()]
    except KeyError:
        raise _wrong(variable, " or ".join(choices)) from None


def _timeout(variable: _Variable | None) -> int:
    if variable is None:
        return 10_000
    if not re.fullmatch(r"[0-9]{1,9}", variable.value) or int(variable.value) == 0:
        raise _wrong(variable, "a whole number of milliseconds, 1 or more")
    return int(variable.value)


def _certificates(values: _Values, marks: Marks) -> dict[str, str | None]:
    """Read the paths of authorities, client key and client certificate, and try the files."""
    found = {name.lower(): values.read(name) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")}
    for one, other in (("client_key", "client_certificate"), ("client_certificate", "client_key")):
        variable = found[one]
        if variable is not None and found[other] is None:
            raise _wrong(variable, f"a file together with {_BASE}{other.upper()}, which is not set")
    paths = {name: variable and variable.value for name, variable in found.items()}
    if not any(paths.values()):
        return paths
    for path in filter(None, paths.values()):
        marks.note(path)
    try:
        tls.context(**paths)
    except tls.Unusable as error:
        variable = next(variable for variable in found.values() if variable and variable.value == error.path)
        raise _wrong(variable, f"a readable PEM file ({error.reason})") from None
    return paths
