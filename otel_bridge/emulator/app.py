"""The API as an ASGI app, written without a framework: benchmarks ask it thousands of times a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from otel_bridge.emulator import answers
from otel_bridge.emulator.answers import Answer
from otel_bridge.emulator.falsifying import falsified
from otel_bridge.emulator.faults import DRIP_S, Fault
from otel_bridge.emulator.queries import InvalidQueryError, read_list_query, read_usage_query
from otel_bridge.emulator.rate import RateWindow
from otel_bridge.emulator.tool_routes import ToolRequest, ToolRoutes

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from otel_bridge.emulator.options import EmulatorOptions
    from otel_bridge.emulator.store import LogStore

LIST_PATH: Final = "/api/v3.1/logs/tool_execution"
DETAIL_PREFIX: Final = f"{LIST_PATH}/"
USAGE_PATH: Final = "/api/v3.1/project/usage/summary"
STATS_PATH: Final = "/emulator/stats"
IDS_PATH: Final = "/emulator/ids"
RESET: Final = "otel_bridge.reset"
CLOSE: Final = "otel_bridge.close"

_METHODS: Final = {"list": "POST", "detail": "GET", "usage": "POST"}
_REFUSED_KEY: Final = "ak_invalid"
_UNPERMITTED_KEY: Final = "ak_forbidden"
_ONE_ORGANISATION: Final = "default"


class LogsApi:
    """The documented API over a store; see `EmulatorOptions` for what can be set.

    ``GET /emulator/stats`` and ``GET /emulator/ids`` are its own: they need no key and are not counted.
    """

    def __init__(self, store: LogStore, options: EmulatorOptions) -> None:
        self._store = store
        self._options = options
        self._latency_s = options.latency_ms / 1000
        self._windows: dict[str, RateWindow] = {}
        self._requests: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._number = 0
        self._hung: set[Callable[[], None]] = set()
        self._tools = ToolRoutes(options.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path.startswith("/emulator/"):
            await _send(send, self._own(path, scope), [])
            return
        number, self._number = self._number, self._number + 1
        fault = self._options.fault(path, number) if self._options.fault is not None else None
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if fault is not None:
            self._faults[_route(path)] += 1
            await self._answer_wrongly(fault, path, scope, receive, send)
            return
        window, answer = await self._answer(path, scope, receive)
        self._statuses[answer.status] += 1
        await _send(send, answer, _rate_headers(window))

    def rate_window(self, organisation: str = _ONE_ORGANISATION) -> RateWindow:
        """An organisation's request budget, which tests may use up."""
        if organisation not in self._windows:
            self._windows[organisation] = RateWindow(self._options.rate_limit, self._options.clock)
        return self._windows[organisation]

    def close(self) -> None:
        """End the requests that wait for an answer which never comes."""
        for close in self._hung:
            close()

    def stats(self) -> dict[str, Any]:
        """How many records there are, and requests to the API by route and by status of their answer.

        ``faults`` are those of the requests that a fault was made for.
        """
        routes = (*_METHODS, "other")
        return {
            "records": len(self._store) + sum(len(store) for store in self._other_stores()),
            "requests": {route: self._requests[route] for route in routes},
            "faults": {route: self._faults[route] for route in routes},
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
        }

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────
    async def _answer(self, path: str, scope: Scope, receive: Receive) -> tuple[RateWindow, Answer]:
        route = _route(path)
        self._requests[route] += 1
        key = _header(scope, b"x-api-key")
        window = self.rate_window(self._options.organisations.get(key, _ONE_ORGANISATION))
        refusal = self._refusal(key)
        if refusal is not None:
            return window, refusal
        if not window.take():
            return window, answers.too_many_requests(window.seconds_left)
        store = self._options.projects.get(key, self._store)
        return window, await self._serve(store, path, scope, receive)

    async def _serve(self, store: LogStore, path: str, scope: Scope, receive: Receive) -> Answer:
        route = _route(path)
        if route == "other":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            query = scope["query_string"].decode("latin-1")
            answer = await self._tools.answer(
                ToolRequest(store, scope["method"], path, query, headers, await _read(receive))
            )
            return answer or answers.error_answer(404, f"Cannot {scope['method']} {path}", "Check the path.")
        if scope["method"] != _METHODS[route]:
            return _wrong_method(_METHODS[route])
        if route == "detail":
            return _detail(store, path.removeprefix(DETAIL_PREFIX))
        body = await _read(receive)
        try:
            if route == "list":
                return answers.page_answer(store.page(read_list_query(body)))
            query = read_usage_query(body, self._options.clock.now_ms())
            return answers.usage_answer(store.usage(query), query.entity_types)
        except InvalidQueryError as error:
            fix = "Correct the fields named in errors; see https://docs.composio.dev/docs/observability/logs"
            return answers.error_answer(400, "Validation error", fix, error.errors)

    def _refusal(self, key: str) -> Answer | None:
        known = key in self._options.api_keys or key in self._options.projects
        if key == _UNPERMITTED_KEY and not known:
            return answers.error_answer(
                403,
                "The API key lacks the permission Observability: Read",
                "Give the key the permission Observability: Read in the project's settings.",
            )
        if not key or not (known or not self._options.api_keys) or (key == _REFUSED_KEY and not known):
            message = "Invalid API key" if key else "No API key: the header x-api-key is missing"
            return answers.error_answer(401, message, "Send a project API key in the header x-api-key.")
        return None

    # ── what goes wrong on purpose ───────────────────────────────────────────────────────────────────
    async def _answer_wrongly(
        self, fault: Fault, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await asyncio.sleep(fault.delay_ms / 1000)
        key = _header(scope, b"x-api-key")
        # The body is read first: only then does `receive` say that the client has gone.
        body = await _read(receive)
        if fault.hang or fault.reset:
            self._requests[_route(path)] += 1
            end = scope["extensions"][RESET if fault.reset else CLOSE]
            if fault.reset:
                end()
            self._hung.add(end)
            await receive()
            self._hung.discard(end)
            return

        async def body_again() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        window, answer = await self._answer(path, scope, body_again)
        if fault.other_record:
            answer = _other_detail(self._options.projects.get(key, self._store), path)
        answer = falsified(fault, answer, body)
        self._statuses[answer.status] += 1
        headers = _rate_headers(window)
        if not (fault.truncate or fault.drip):
            await _send(send, answer, headers)
            return
        half = answer.body[: len(answer.body) // 2]
        start = _start(answer, headers)
        if fault.drip:
            # Without a length it is chunked, so it could go on for ever.
            start["headers"] = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        await send(start)
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if fault.truncate:
            scope["extensions"][CLOSE]()
            await receive()
            return
        await self._drip(scope["extensions"][CLOSE], receive, send)

    async def _drip(self, end: Callable[[], None], receive: Receive, send: Send) -> None:
        self._hung.add(end)
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait({gone}, timeout=DRIP_S)
        self._hung.discard(end)

    # ── its own routes ───────────────────────────────────────────────────────────────────────────────
    def _own(self, path: str, scope: Scope) -> Answer:
        if path == STATS_PATH:
            return answers.json_answer(self.stats())
        if path == IDS_PATH:
            key = parse_qs(scope["query_string"].decode("latin-1")).get("api_key")
            stores = [self._store, *self._other_stores()]
            if key:
                stores = [self._options.projects.get(key[0], self._store)]
            return answers.json_answer({"ids": [log_id for store in stores for log_id in store.log_ids()]})
        return answers.error_answer(404, f"Cannot {scope['method']} {path}", "Check the path.")

    def _other_stores(self) -> list[LogStore]:
        others = {id(store): store for store in self._options.projects.values()}
        others.pop(id(self._store), None)
        return list(others.values())


def create_app(store: LogStore, options: EmulatorOptions) -> LogsApi:
    """The API as an ASGI app."""
    return LogsApi(store, options)


def _route(path: str) -> str:
    if path.startswith(DETAIL_PREFIX) and len(path) > len(DETAIL_PREFIX):
        return "detail"
    return {LIST_PATH: "list", USAGE_PATH: "usage"}.get(path, "other")


def _detail(store: LogStore, log_id: str) -> Answer:
    record = store.get(log_id)
    if record is None:
        return answers.error_answer(404, f"Log {log_id} not found", "Check the log id and the key's project.")
    return Answer(200, record.detail)


def _other_detail(store: LogStore, path: str) -> Answer:
    wanted = path.removeprefix(DETAIL_PREFIX)
    return _detail(store, next((log_id for log_id in store.log_ids() if log_id != wanted), wanted))


def _wrong_method(allowed: str) -> Answer:
    return answers.error_answer(
        405, "Method not allowed", f"Use {allowed}.", headers=((b"allow", allowed.encode()),)
    )


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1").strip()
    return ""


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def _rate_headers(window: RateWindow) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit", b"%d" % window.limit),
        (b"x-ratelimit-remaining", b"%d" % window.remaining),
        (b"x-ratelimit-window-size", b"60s"),
    ]


def _start(answer: Answer, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            *headers,
            *answer.headers,
        ],
    }


async def _send(send: Send, answer: Answer, headers: list[tuple[bytes, bytes]]) -> None:
    await send(_start(answer, headers))
    await send({"type": "http.response.body", "body": answer.body})
