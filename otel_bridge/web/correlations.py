"""``POST /v1/correlations``: an application says where in its own trace a tool call belongs.

Every refusal is one JSON object, ``{"error": …}``, which names what was wrong by its place and never repeats
it. What a caller can cost is bounded: in bytes, in items, in requests at once, and in items over time.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError, from_json
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import CorrelationKind, CorrelationOutcome
from otel_bridge.mapping.traceparent import Traceparent, parse_traceparent, traceparent_fault
from otel_bridge.times import format_seconds
from otel_bridge.web.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import SecretStr
    from starlette.requests import Request

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger import Registration
    from otel_bridge.service.correlations import CorrelationRegister
    from otel_bridge.times import Clock

MOST_BODY_BYTES: Final = 524_288
MOST_ITEMS: Final = 1_000
MOST_KEY_CHARS: Final = 512
ITEMS_A_SECOND: Final = 1_000
BURST_ITEMS: Final = 10_000
_AT_ONCE: Final = 8
_READ_S: Final = 5.0
_OF_A_PROXY: Final = re.compile("forwarded$|x-forwarded-|x-real-ip$|via$")

_Key = Annotated[str, Field(min_length=1, max_length=MOST_KEY_CHARS)]


class CorrelationItem(BaseModel):
    """One correlation as it is posted: a log id or a request id, or both, and the span that made the call."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    log_id: _Key | None = None
    request_id: _Key | None = None
    traceparent: Annotated[str, Field(max_length=MOST_KEY_CHARS)]

    @field_validator("traceparent")
    @classmethod
    def _is_one(cls, text: str) -> str:
        fault = traceparent_fault(text)
        if fault is not None:
            raise PydanticCustomError("traceparent", "{fault}", {"fault": fault})
        return text

    @model_validator(mode="after")
    def _names_a_call(self) -> CorrelationItem:
        if self.log_id is None and self.request_id is None:
            raise PydanticCustomError("key", "log_id or request_id is needed")
        return self

    def named(self) -> Iterator[tuple[CorrelationKind, str, Traceparent]]:
        """What is registered."""
        parent = parse_traceparent(self.traceparent)
        given = ((CorrelationKind.LOG_ID, self.log_id), (CorrelationKind.REQUEST_ID, self.request_id))
        for kind, key in given:
            if key is not None and parent is not None:
                yield kind, key, parent


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, status: HTTPStatus, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Correlations:
    """Answers the requests.

    Args:
        register: Where correlations go.
        token: What a caller must know; None for callers on this machine alone.
        clock: The time.
    """

    def __init__(
        self, register: CorrelationRegister, token: Renewable[SecretStr | None], clock: Clock
    ) -> None:
        self._register = register
        self._token = token
        self._bucket = TokenBucket(clock, rate=ITEMS_A_SECOND, burst=BURST_ITEMS)
        self._in_hand = 0

    async def post(self, request: Request) -> Response:
        """Register one correlation, or a list of them."""
        try:
            self._check_caller(request)
            return await self._registered(request)
        except _Refused as refused:
            self._register.refused(1)
            headers = {**refused.headers, "connection": "close"}
            return JSONResponse({"error": str(refused)}, refused.status, headers=headers)

    def _check_caller(self, request: Request) -> None:
        token = self._token.get()
        if not token:
            if not _is_local(request):
                raise _Refused(
                    HTTPStatus.FORBIDDEN,
                    "only this machine may post while the bridge has no token: set OTEL_BRIDGE_TOKEN",
                )
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = _is_same(given, token)
        if not right and (newer := self._token.look()) is not token:
            right = _is_same(given, newer)
        if scheme.lower() != "bearer" or not right:
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                "takes the header Authorization: Bearer with the token of OTEL_BRIDGE_TOKEN",
                www_authenticate="Bearer",
            )

    async def _registered(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "takes application/json")
        if self._in_hand >= _AT_ONCE:
            raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once", retry_after="1")
        self._take(1)
        self._in_hand += 1
        try:
            given = _parsed(await _body(request))
            items = given if isinstance(given, list) else [given]
            if len(items) > MOST_ITEMS:
                raise _Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"takes at most {MOST_ITEMS} correlations at once"
                )
            self._take(len(items) - 1)
            return await self._answer(items, single=not isinstance(given, list))
        finally:
            self._in_hand -= 1

    def _take(self, count: int) -> None:
        wait_s = self._bucket.take(count)
        if wait_s:
            raise _Refused(
                HTTPStatus.TOO_MANY_REQUESTS, "too many correlations in a short time", retry_after=str(wait_s)
            )

    async def _answer(self, items: Sequence[Any], *, single: bool) -> Response:
        read = [_read(item) for item in items]
        good = [each for each in read if isinstance(each, CorrelationItem)]
        faults = len(read) - len(good)
        if single and faults:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(read[0]))
        try:
            answers = iter(await self._register.register([key for item in good for key in item.named()]))
        except LedgerError as error:
            why = "the ledger can't be used now"
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, retry_after="1") from error
        self._register.refused(faults)
        results = [
            _result([next(answers) for _ in each.named()])
            if isinstance(each, CorrelationItem)
            else {"status": "refused", "error": each}
            for each in read
        ]
        if single:
            return JSONResponse(results[0], HTTPStatus.ACCEPTED)
        status = HTTPStatus.ACCEPTED if good or not read else HTTPStatus.UNPROCESSABLE_ENTITY
        body: dict[str, Any] = {"results": results}
        if status is not HTTPStatus.ACCEPTED:
            body = {"error": "none of the correlations is valid", **body}
        return JSONResponse(body, status)


def _is_same(given: str, token: SecretStr | None) -> bool:
    # As the bytes that were sent, which Starlette reads as Latin-1: compare_digest takes no other text.
    known = token.get_secret_value().encode() if token else b""
    return bool(known) and hmac.compare_digest(given.strip().encode("latin-1"), known)


def correlation_route(
    register: CorrelationRegister, token: Renewable[SecretStr | None], clock: Clock
) -> Route:
    """The route.

    Args:
        register: Where correlations go.
        token: What a caller must know; None for callers on this machine alone.
        clock: The time.
    """
    return Route("/v1/correlations", _Correlations(register, token, clock).post, methods=["POST"])


async def _body(request: Request) -> bytes:
    """The body, never more of it than may be."""
    too_large = _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"takes at most {MOST_BODY_BYTES} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > len(str(MOST_BODY_BYTES)) or int(length) > MOST_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise _Refused(
            HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {format_seconds(_READ_S)}"
        ) from None
    except ClientDisconnect:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not whole") from None
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None


def _read(item: Any) -> CorrelationItem | str:
    """The item, or what is wrong with it."""
    try:
        return CorrelationItem.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return _fault(first["type"], ".".join(map(str, first["loc"])), first["msg"])


def _fault(kind: str, field: str, message: str) -> str:
    if kind == "extra_forbidden":
        # The name of a field nobody knows is the caller's text.
        return "takes log_id, request_id and traceparent, nothing else"
    if kind in {"model_type", "model_attributes_type"}:
        return "takes an object with log_id or request_id, and traceparent"
    return f"{field}: {message}" if field else message


def _result(answers: Sequence[Registration]) -> dict[str, str]:
    """What became of an item, in a word: the worst of what became of its keys."""
    outcomes = {answer.outcome for answer in answers}
    if CorrelationOutcome.LATE in outcomes:
        return {"status": "late", "error": "the record had gone out before"}
    if CorrelationOutcome.CONFLICT in outcomes:
        return {"status": "conflict", "error": "another traceparent was registered for it first, and stays"}
    return {"status": "registered"}


def _is_local(request: Request) -> bool:
    """Whether the caller is on this machine, and no proxy on it speaks for somebody else."""
    if request.client is None or any(map(_OF_A_PROXY.match, request.headers.keys())):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
