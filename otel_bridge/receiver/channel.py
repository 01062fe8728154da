"""The way to one project's API: headers, circuit, budget, and the one owner of retries."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from pydantic import SecretStr

from otel_bridge._version import __version__
from otel_bridge.circuit import Circuit, Passage
from otel_bridge.circuit_state import CircuitOpenError, Patience
from otel_bridge.errors import (
    AnswerTooLarge,
    SettingsError,
    SourceBusy,
    SourceError,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.file_values import Fixed
from otel_bridge.http1.transport import FreeListTransport, transport_to
from otel_bridge.http1.unpacking import ACCEPTED
from otel_bridge.receiver.advice import advised
from otel_bridge.receiver.answers import Answer, trouble_of
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.decoding import UndecodableBody, WrongShape
from otel_bridge.receiver.exchange import exchange
from otel_bridge.receiver.rate_headers import read_retry_after_s
from otel_bridge.receiver.routes import Route, read_base_url
from otel_bridge.receiver.source_clock import SourceClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_bridge.circuit_state import OnChange
    from otel_bridge.file_values import Renewable
    from otel_bridge.receiver.budget import Budget
    from otel_bridge.receiver.exchange import Grow, Send
    from otel_bridge.retry import Backoff
    from otel_bridge.times import Clock

T = TypeVar("T")

NO_ANSWER: Final = 0
"""The status that ``on_request`` hears where no answer came."""

SOURCE_OPENS_AFTER: Final = 8
"""So many failures in a row open a source's circuit. One request, which is tried five times, does not; nor do
fewer than so many logs whose details can't be had in time.
"""

_CONNECT_S: Final = 10.0
_KEY_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REFUSED: Final = 4  # 408 and 425 among them, which may pass
_MOST_WAIT_S: Final = 120.0  # for a source that says when it is back; for longer the window is given up
_RETRYABLE: Final = (SourceUnreachable, SourceBusy, SourceFailed)


class Channel:
    """Sends requests and tries again where that can help. The arguments are those of ``LogsClient``."""

    def __init__(  # noqa: PLR0913 - one place where all that a request needs comes together
        self,
        *,
        base_url: str,
        api_key: SecretStr | Renewable[SecretStr],
        key_from: str,
        budget: Budget,
        clock: Clock,
        timeout_s: float,
        concurrency: int,
        backoff: Backoff,
        most_body_bytes: int,
        transport: httpx.AsyncBaseTransport | None,
        on_request: Callable[[str, int, float], None] | None,
        circuit: Circuit | None,
    ) -> None:
        self.base_url = str(read_base_url(base_url)).rstrip("/")
        self._circuit = circuit or source_circuit(self.base_url, clock)
        self._patience = Patience(backoff.attempts, _MOST_WAIT_S)
        self._api_key = Fixed(api_key) if isinstance(api_key, SecretStr) else api_key
        self._key_from = key_from
        self._budget = budget
        self._clock = clock
        self.source_clock = SourceClock(clock)
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._most_body_bytes = most_body_bytes
        self._on_request = on_request
        self._patterns: dict[Route, httpx.Request] = {}
        # What httpx's client would do for a request (cookies, redirects, auth, hooks) is not wanted here and
        # costs as much as the exchange. So requests are made whole, and given to a transport.
        self._headers = httpx.Headers(
            {
                "host": httpx.URL(self.base_url).netloc.decode("ascii"),
                "x-api-key": "",
                "user-agent": f"otel-bridge/{__version__}",
                "accept": "application/json",
                "content-type": "application/json",
                "accept-encoding": ACCEPTED,
            }
        )
        self._take_key(self._api_key.get())
        # The deadline is the whole exchange's; a failing connection is told from it by a shorter one.
        timeout = httpx.Timeout(None, connect=min(_CONNECT_S, timeout_s))
        self._extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        self._urls = {route: httpx.URL(f"{self.base_url}{route.path}") for route in Route}
        self._paths = {route: url.raw_path for route, url in self._urls.items()}
        carrier = transport or transport_to(self.base_url, concurrency)
        # Reading a URL for every record costs as much as the exchange itself.
        self._takes_targets = isinstance(carrier, FreeListTransport)
        self._close: Callable[[], Awaitable[None]] = carrier.aclose
        self._send: Send = carrier.handle_async_request

    @property
    def secret(self) -> str:
        """The key in plain, to be masked in what is shown."""
        return self._key.get_secret_value()

    async def aclose(self) -> None:
        """Close all connections; twice does no harm."""
        await self._close()

    def _take_key(self, key: SecretStr) -> None:
        """Send this key from now on."""
        self._key = key
        self._headers = self._headers.copy()  # transports know headers that stay the same
        self._headers["x-api-key"] = _sendable(key.get_secret_value(), self._key_from)
        self._patterns.clear()

    def request(self, route: Route, wanted: dict[str, Any] | None = None, tail: str = "") -> httpx.Request:
        """Make a request.

        Args:
            route: What is asked.
            wanted: The body, sent as JSON.
            tail: What follows the route's path, quoted.
        """
        key = self._api_key.get()
        if key is not self._key:
            self._take_key(key)
        if tail and self._takes_targets:
            return self._like(route, tail)
        content = None if wanted is None else json.dumps(wanted).encode()
        url = self._urls[route]
        if tail:
            url = httpx.URL(f"{url}{tail}")
        return httpx.Request(
            route.method, url, headers=self._headers, content=content, extensions=self._extensions
        )

    def _like(self, route: Route, tail: str) -> httpx.Request:
        """A request like the route's other ones, with a target of its own.

        Making one anew reads method, URL and headers anew, for the same result: 20 µs for every record.
        """
        pattern = self._patterns.get(route)
        if pattern is None:
            pattern = httpx.Request(route.method, self._urls[route], headers=self._headers)
            self._patterns[route] = pattern
        request = httpx.Request.__new__(httpx.Request)
        request.__dict__.update(pattern.__dict__)
        request.extensions = self._extensions | {"target": self._paths[route] + tail.encode("ascii")}
        return request

    async def ask(  # noqa: PLR0913, PLR0917 - one request, and what is done with its answer
        self,
        route: Route,
        priority: Priority,
        read: Callable[[bytes], T],
        wanted: dict[str, Any] | None = None,
        tail: str = "",
        grow: Grow | None = None,
    ) -> T:
        """Ask until there is an answer that can be read, or none is to be expected.

        Args:
            route: What is asked.
            priority: The request's place in the budget.
            read: Makes of a body what is wanted.
            wanted: As for ``request``.
            tail: As for ``request``.
            grow: See ``exchange``.

        Raises:
            SourceError: What went wrong, after the tries that could help, or what ``read`` raised.
        """
        failures = 0
        while True:
            with await self._turn(route, priority) as passage:
                answer: Answer | None = None
                request = self.request(route, wanted, tail)
                key = self._key
                try:
                    answer = await self._try(route, request, grow)
                except (SourceUnreachable, SourceFailed) as error:
                    trouble = _named(route, error, self.base_url)
                else:
                    passage.succeeded()
                    found = self._read(route, answer, read, key.get_secret_value())
                    if not isinstance(found, SourceError):
                        return found
                    trouble = found
                asked_s = None if answer is None else read_retry_after_s(answer.headers, self._clock.now_ms())
                if _is_down(trouble, answer):
                    log = _target(request) if route is Route.DETAIL else None
                    _tell(passage, trouble, log, asked_s, answered=answer is not None)
            if self._is_outdated(key, trouble):
                continue
            if not isinstance(trouble, _RETRYABLE) or isinstance(trouble, AnswerTooLarge):
                raise trouble
            failures += 1
            wait_s = self._backoff.wait_s(failures, asked_s)
            if wait_s is None:
                raise trouble
            # When the source as a whole is tried again is for the circuit to say.
            if self._circuit.closed or asked_s:
                await self._clock.sleep(wait_s)

    def _is_outdated(self, key: SecretStr, trouble: SourceError) -> bool:
        """Whether a refused key's file has another one by now."""
        if not isinstance(trouble, SourceRefused) or trouble.status not in _KEY_REFUSED:
            return False
        trouble.key_may_change = not isinstance(self._api_key, Fixed)
        return self._api_key.look() is not key

    async def _turn(self, route: Route, priority: Priority) -> Passage:
        """Wait until a request may be sent: past the circuit, and granted by the budget.

        Raises:
            SourceUnreachable: The circuit is open.
        """
        while True:
            try:
                passage = self._circuit.enter_at_once() or await self._circuit.enter(self._patience)
            except CircuitOpenError as error:
                raise SourceUnreachable(str(error), error.state.retry_in_s) from None
            try:
                # All others wait for the probe's word.
                await self._budget.acquire(Priority.HEAD if passage.probe else priority)
            except BaseException:
                with passage:
                    raise
            if passage.probe or self._circuit.closed:
                if route is Route.LIST and priority is not Priority.HEAD:
                    self._budget.note_list()
                return passage
            self._budget.not_sent()  # the circuit has opened meanwhile

    async def _try(self, route: Route, request: httpx.Request, grow: Grow | None) -> Answer:
        """Send a request once, as granted by the budget, which learns how it ended."""
        sent_s = self._clock.monotonic_s()
        paused_s = 0.0
        status = NO_ANSWER

        async def pausing(size: int) -> None:
            # A body that waits for room says nothing of how fast the source is.
            nonlocal paused_s
            began_s = self._clock.monotonic_s()
            if grow is not None:
                await grow(size)
            paused_s += self._clock.monotonic_s() - began_s

        def on_headers(code: int, headers: httpx.Headers) -> None:
            nonlocal status
            status = code
            self._budget.observe(headers, code, sent_s=sent_s)
            if route is Route.LIST:
                self.source_clock.hear(headers.get("date"))

        try:
            return await exchange(
                self._send,
                request,
                timeout_s=self._timeout_s,
                most_bytes=self._most_body_bytes,
                on_headers=on_headers,
                grow=pausing if grow is not None else None,
            )
        finally:
            if status == NO_ANSWER:
                self._budget.no_answer()
            if self._on_request is not None:
                self._on_request(route.value, status, self._clock.monotonic_s() - sent_s - paused_s)

    def _read(self, route: Route, answer: Answer, read: Callable[[bytes], T], secret: str) -> T | SourceError:
        """What an answer holds, or what is wrong with it, with the key masked that was sent.

        Raises:
            SourceError: What ``read`` raised.
        """
        trouble = trouble_of(
            route,
            answer,
            now_ms=self._clock.now_ms(),
            secret=secret,
            key_from=self._key_from,
            url=self.base_url,
        )
        if trouble is not None:
            return trouble
        try:
            return read(answer.body)
        except (UndecodableBody, WrongShape) as error:
            return SourceFailed(
                f"{route.label} was answered with {answer.status}, but not with the documented JSON: {error}"
            )


def source_circuit(base_url: str, clock: Clock, on_change: OnChange | None = None) -> Circuit:
    """The circuit of a source, to be shared by all who ask it.

    Args:
        base_url: The address of Composio's API, as it is shown.
        clock: Tells the time and sleeps.
        on_change: Called when it opens and when it closes.
    """
    return Circuit(base_url, clock, opens_after=SOURCE_OPENS_AFTER, on_change=on_change)


def _target(request: httpx.Request) -> bytes:
    """What is asked of the server: path and id."""
    target: bytes = request.extensions.get("target", request.url.raw_path)
    return target


def _named(route: Route, error: SourceUnreachable | SourceFailed, url: str) -> SourceError:
    return advised(type(error)(f"{route.label}: {error}"), url)


def _is_down(trouble: SourceError, answer: Answer | None) -> bool:
    """Whether this says that the source does not work, and not that it works and will not do as asked."""
    if isinstance(trouble, AnswerTooLarge):
        return False
    refused = answer is not None and answer.status // 100 == _REFUSED
    return isinstance(trouble, (SourceUnreachable, SourceFailed)) and not refused


def _tell(
    passage: Passage, trouble: SourceError, log: bytes | None, asked_s: float | None, *, answered: bool
) -> None:
    """Tell a circuit of a source that seems to be down; ``log`` is the one that was asked for, if one was."""
    if log and answered and not passage.probe:
        # It may be the log's fault, and however many bad logs a window has, the others are to be collected.
        # When the source is down, the list says so too.
        passage.unknown()
    else:
        passage.failed(str(trouble), asked_s=asked_s, about=log)


def _sendable(key: str, key_from: str) -> str:
    if not key:
        raise SettingsError(f"{key_from} is empty; it takes a project API key (ak_…)")
    if not all("!" <= character <= "~" for character in key):
        raise SettingsError(
            f"{key_from} holds a character that a key can't have: a space, a line break or one beyond ASCII;"
            " it takes a project API key (ak_…)"
        )
    return key
