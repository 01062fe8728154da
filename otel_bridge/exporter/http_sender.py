"""OTLP over HTTP, in protobuf.

Which answers mean what: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response, with the differences
noted beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin

import httpx
from google.protobuf.message import DecodeError
from google.rpc import status_pb2  # type: ignore[import-untyped] # googleapis-common-protos ships no types

from otel_bridge._version import __version__
from otel_bridge.causes import barrier, is_barred
from otel_bridge.errors import DestinationRefused, DestinationUnavailable
from otel_bridge.exporter import tls
from otel_bridge.exporter.destination import Destination, public_url
from otel_bridge.exporter.sender import (
    Accepted,
    Answer,
    Failed,
    NoAnswer,
    NotAnAnswerError,
    NotTaken,
    Refused,
    TooLarge,
    names_size,
    one_line,
    read_response,
)
from otel_bridge.http1.transport import transport_to
from otel_bridge.http1.unpacking import ACCEPTED, unpacked
from otel_bridge.network import trust
from otel_bridge.network.proxy import through_proxy
from otel_bridge.times import format_seconds

_KEPT_CONNECTIONS: Final = 4
_GZIP_LEVEL: Final = 1  # less than half the time of level 6 for nearly the same size
_MOST_ANSWER_BYTES: Final = 1 << 20
_MOST_WAIT_S: Final = 3600.0

# 425 and the codes of gateways such as Cloudflare's (520 to 529) are not in the specification's list, and say
# as plainly as those there that the request was not looked at.
_UNAVAILABLE: Final = frozenset({425, 429, 502, 503, *range(520, 530)})
# What a gateway or a server says where the body or the answer did not come in time. 524 is Cloudflare's.
_TOO_SLOW: Final = frozenset({408, 504, 524})
# The connection was there and ended before the answer: some servers do so with a body that is too large.
_BROKEN: Final = (
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    httpx.ReadTimeout,
    httpx.WriteTimeout,
)
_POISON: Final = frozenset({400, 422})
_TOO_MANY: Final = 429
_TOO_LARGE: Final = 413
_FAILED: Final = 500
_NOT_FOUND: Final = 404
_OF_A_KEY: Final = frozenset({401, 403})


class HttpSender:
    """Posts requests to one URL over kept-open connections.

    Args:
        destination: Where to.
        transport: What carries the requests, in place of the network.

    Raises:
        SettingsError: The environment names a proxy or authorities that can't be used.
    """

    def __init__(self, destination: Destination, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._destination = destination
        self._where = f"POST {destination.where}"
        self._headers = httpx.Headers({"user-agent": f"otel-bridge/{__version__}"})
        self._headers.update(destination.headers)
        self._headers["content-type"] = "application/x-protobuf"
        self._headers["accept-encoding"] = ACCEPTED  # httpx would ask for what else is installed
        if destination.gzip:
            self._headers["content-encoding"] = "gzip"
        self._through = "" if transport else through_proxy(destination.endpoint)
        files = (destination.certificate, destination.client_certificate, destination.client_key)
        # Read now: what can't be used is told of before anything is sent, and files may change later.
        context = tls.context(*files) if destination.tls else None
        # What httpx's client would do beside it (redirects, cookies, the environment) is not wanted here.
        self._transport = transport or transport_to(
            destination.endpoint,
            _KEPT_CONNECTIONS,
            lambda: context or trust.context(),
            age_s=destination.connection_age_s,
        )
        # For each step; `send` bounds the whole.
        self._timeout = httpx.Timeout(destination.timeout_ms / 1000).as_dict()

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request; see `Sender.send`."""
        if self._destination.gzip:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        try:
            async with asyncio.timeout(self._destination.timeout_ms / 1000):
                response, content = await self._post(body)
        except TimeoutError:
            seconds = format_seconds(self._destination.timeout_ms / 1000)
            return NoAnswer(f"{self._where}: no answer in {seconds}{self._through}")
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise self._refused(str(error)) from None
        except httpx.RequestError as error:
            distrust = _distrust(error)
            if distrust:
                raise self._refused(f"{tls.distrust(distrust)}{self._through}") from None
            why = f"{str(error) or type(error).__name__}{self._through}"
            if isinstance(error, _BROKEN):
                return NoAnswer(f"{self._where}: {one_line(why)}")
            raise self._unavailable(why) from None
        return self._read(response, content)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, body: bytes) -> tuple[httpx.Response, bytes]:
        request = httpx.Request(
            "POST",
            self._destination.endpoint,
            content=body,
            headers=self._headers,
            extensions={"timeout": self._timeout},
        )
        response = await self._transport.handle_async_request(request)
        content = bytearray()
        try:
            async for chunk in unpacked(response):
                content += chunk
                if len(content) > _MOST_ANSWER_BYTES:
                    break
        except httpx.DecodingError as error:
            if response.is_success:
                raise httpx.DecodingError(f"{response.status_code} with {error}") from None
            content.clear()  # the status says enough
        finally:
            await response.aclose()
        return response, bytes(content[: _MOST_ANSWER_BYTES + 1])

    def _read(self, response: httpx.Response, content: bytes) -> Answer:
        if response.is_success:
            return self._read_success(response, content)
        said = _said(response, content)
        answer = self._of_the_request(response.status_code, said, _retry_after_s(response))
        if answer is not None:
            return answer
        if response.has_redirect_location:
            target = _moved_to(self._destination.endpoint, response.headers["location"])
            raise self._refused(
                f"{response.status_code}, moved to {target}: set the endpoint to where the data should go"
            )
        raise self._refused(said, unsupported=response.status_code == _NOT_FOUND)

    def _of_the_request(self, status: int, said: str, wait_s: float | None) -> NotTaken | None:
        """What an answer says of this request; None where it is about the destination as a whole."""
        line = f"{self._where}: {said}"
        if status == _TOO_LARGE or (status == _TOO_MANY and names_size(said)):
            return TooLarge(said)  # Tempo and Loki answer 429 to a request over their burst size
        if status == _TOO_MANY and wait_s is None:
            return TooLarge(line, certain=False)
        if status in _TOO_SLOW and wait_s is None:
            return NoAnswer(line)
        if status in _UNAVAILABLE or status in _TOO_SLOW:
            raise self._unavailable(said, wait_s)
        if status == _FAILED:
            return Failed(line)
        return Refused(said) if status in _POISON else None

    def _read_success(self, response: httpx.Response, content: bytes) -> Accepted:
        if not content.strip():
            return Accepted()
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        # A page is the answer of something that is no OTLP receiver, a proxy's login for instance.
        if kind != "text/html" and len(content) <= _MOST_ANSWER_BYTES:
            with contextlib.suppress(NotAnAnswerError):
                return read_response(self._destination.signal, content, is_json=kind.endswith("json"))
        shown = one_line(kind) or "something"
        raise self._refused(f"{response.status_code} with {shown} that is no OTLP answer: wrong endpoint?")

    def _unavailable(self, why: str, retry_after_s: float | None = None) -> DestinationUnavailable:
        return DestinationUnavailable(f"{self._where}: {one_line(why)}", retry_after_s)

    def _refused(self, why: str, *, unsupported: bool = False) -> DestinationRefused:
        return DestinationRefused(f"{self._where}: {one_line(why)}", unsupported=unsupported)


def _moved_to(endpoint: str, location: str) -> str:
    try:
        return public_url(urljoin(endpoint, location))
    except ValueError:
        return "an address that can't be read"


def _distrust(error: BaseException | None) -> str | None:
    """Find out whether a connection failed because the certificate was not trusted, and why."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _said(response: httpx.Response, content: bytes) -> str:
    """Put status and message together. OTLP's is a ``google.rpc.Status``; others answer JSON or text."""
    kind = response.headers.get("content-type", "").lower()
    text = ""
    if "protobuf" in kind:
        status = status_pb2.Status()
        try:
            status.ParseFromString(content)
            text = status.message
        except DecodeError:
            pass
    elif "json" in kind:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        inner = answer.get("message") or answer.get("error") if isinstance(answer, dict) else None
        text = inner if isinstance(inner, str) else content.decode(errors="replace")
    elif "html" not in kind:
        text = content.decode(errors="replace")
    status_line = f"{response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _OF_A_KEY and is_barred(response.headers, content):
        status_line += f", said by {barrier(response.headers, 'the receiver')} and not by itself"
    return f"{status_line}: {one_line(text)}" if text.strip() else status_line


def _retry_after_s(response: httpx.Response) -> float | None:
    """Read ``Retry-After``: seconds, or a date (RFC 9110 section 10.2.3). An hour at most."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(float(text), _MOST_WAIT_S)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, until - time.time()), _MOST_WAIT_S)
