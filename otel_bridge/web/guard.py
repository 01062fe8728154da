"""What every request passes first: who may ask, how much may be sent, how long it may take.

* On loopback only the machine's own names are answered, and those that a person lists (a reverse proxy's):
  a page in a browser that has its own name resolve to 127.0.0.1 (DNS rebinding) reads nothing. Behind a port
  that a container publishes there a list of names does the same.
* A path may come with the prefix that a reverse proxy says it has, or with a slash too many.
* A request that changes something is refused where a browser sends it for another site.
* A body is bounded before it is read; an answer is bounded in time.
* Nothing of a request is written back, and an error nobody foresaw is one event in the log, without its text.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import unforeseen
from otel_bridge.service.logs import event
from otel_bridge.settings.kinds import is_address, is_loopback
from otel_bridge.web.request_body import MOST_BODY_BYTES, RequestBody, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANSWER_S: Final = 10.0
"""In which an answer must be made."""

_HOST: Final = re.compile(rb"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX: Final = re.compile(rb"(/[A-Za-z0-9._~-]{1,100}){1,8}")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise."""


class Guard:
    """Wraps the app.

    Args:
        app: What is guarded.
        listens_on: The host that is listened on: on loopback only its own names are answered.
        hosts: Further names that are answered; elsewhere these alone, and any where it is empty. An address
            always is there: it resolves to nothing else.
    """

    def __init__(self, app: ASGIApp, listens_on: str, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._own_name = listens_on.strip("[]").lower()
        self._local = is_loopback(self._own_name)
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = RequestBody(scope, receive)
        answer = _Answer(send, body)
        refusal = self._refusal(scope)
        if refusal is not None:
            await answer.refuse(*refusal)
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._app({**scope, "path": _path(scope)}, body.receive, answer.send)
        except TooLargeError:
            await answer.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        except TimeoutError:
            await answer.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the answer took too long")
        except Exception as error:  # noqa: BLE001 - an endpoint's surprise must not become a traceback
            event(logging.ERROR, "endpoint_failed", str(unforeseen(error)), path=_known_path(scope))
            await answer.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the bridge's log says what went wrong")

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
            return HTTPStatus.BAD_REQUEST, "a request names one Host"
        host = _host(hosts[0]) if hosts else self._own_name
        if host is None:
            return HTTPStatus.BAD_REQUEST, "a request names one Host"
        if not self._answers_to(host):
            own = "this machine's own name, such as localhost, or " if self._local else ""
            name = f"{own}a name that OTEL_BRIDGE_HOSTS lists"
            return HTTPStatus.MISDIRECTED_REQUEST, f"ask under {name}"
        given = dict(headers)
        if scope["method"] not in _SAFE and _from_another_site(given, hosts):
            return HTTPStatus.FORBIDDEN, "not for pages of other sites"
        length = given.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > len(str(MOST_BODY_BYTES)) or int(length) > MOST_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE
        return None

    def _answers_to(self, host: str) -> bool:
        if self._local:
            return host == self._own_name or is_loopback(host) or host in self._hosts
        if not self._hosts or host in self._hosts or is_address(host):
            return True
        return "localhost" in self._hosts and is_loopback(host)


# Refusals of what was asked: one that says that the body was too slow is not kept waiting by it.
_READ_TO_THE_END: Final = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT.value}
_TOO_LARGE: Final = f"a body has at most {MOST_BODY_BYTES} bytes"


class _Answer:
    """The way back: adds the headers, and knows whether an answer has begun."""

    def __init__(self, send: Send, body: RequestBody) -> None:
        self._send = send
        self._body = body
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            if message["status"] in _READ_TO_THE_END:
                await self._body.drain()
            headers = list(message.get("headers", ()))
            there = {name.lower() for name, _ in headers}
            headers += [
                (name.encode(), value.encode())
                for name, value in HEADERS.items()
                if name.encode() not in there
            ]
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, status: HTTPStatus, why: str) -> None:
        if self._begun:
            return  # uvicorn ends the connection of an answer that has no end
        body = json.dumps({"error": why}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            # Some of a body that is too large may be left unread.
            (b"connection", b"close"),
        ]
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        await self.send({"type": "http.response.start", "status": status.value, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def prefix_of(scope: Scope) -> str:
    """The path that the endpoints have at a reverse proxy, such as ``/bridge``; empty where it says none."""
    given = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").rstrip(b"/")
    return given.decode("ascii") if _PREFIX.fullmatch(given) else ""


def _path(scope: Scope) -> str:
    """The path without the prefix of a reverse proxy that did not take it away.

    >>> _path({"path": "/bridge/livez", "headers": [(b"x-forwarded-prefix", b"/bridge/")]})
    '/livez'
    """
    path, prefix = str(scope["path"]), prefix_of(scope)
    if prefix and f"{path}/".startswith(f"{prefix}/"):
        path = path[len(prefix) :]
    # `proxy_pass http://…:8790/` below a location without a slash at its end makes "//livez".
    return f"/{path.lstrip('/')}"


def _host(value: bytes) -> str | None:
    """The name in a Host header, without its port; None where it is none."""
    found = _HOST.fullmatch(value)
    return found[1].decode("ascii").strip("[]").lower() if found else None


def _from_another_site(headers: dict[bytes, bytes], hosts: list[bytes]) -> bool:
    """Whether a browser says that it asks for a page of another origin; other clients say nothing."""
    if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        return True
    origin = headers.get(b"origin")
    return origin is not None and [origin.partition(b"://")[2].lower()] != [host.lower() for host in hosts]


def _known_path(scope: Scope) -> str:
    """The path for the log: short, and nothing that could be a line of its own."""
    return "".join(c if c.isprintable() else "?" for c in str(scope["path"])[:60])
