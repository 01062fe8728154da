"""The routes that agents execute tools by: sessions of the tool router, and tools one by one.

Paths and shapes are those of the vendor's generated client, lines 1.x and 2.x, whose SDKs the tests run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from otel_bridge.emulator import answers
from otel_bridge.emulator.tool_execution import Caller, ToolExecution
from otel_bridge.emulator.tool_mcp import McpCall, read_mcp, result_of
from otel_bridge.emulator.tool_sessions import ToolSession, new_session, schema_of
from otel_bridge.emulator.toolkits import TOOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.emulator.answers import Answer
    from otel_bridge.emulator.store import LogStore
    from otel_bridge.times import Clock

_SESSIONS: Final = re.compile(r"/api/v3(?:\.1)?/tool_router/session")
_SESSION: Final = re.compile(r"/api/v3(?:\.1)?/tool_router/session/([^/]+)(?:/(\w+))?")
_TOOLS: Final = re.compile(r"/api/v3(?:\.1)?/tools(?:/([^/]+))?")
_EXECUTE: Final = re.compile(r"/api/v3(?:\.1)?/tools/execute/([^/]+)")
_MCP: Final = re.compile(r"/tool_router/([^/]+)/mcp")
_SLUG_FIELDS: Final = {"execute": "tool_slug", "execute_meta": "slug"}
_MOST_SESSIONS: Final = 10_000
_LANGUAGES: Final = {"PYTHON": "python", "TYPESCRIPT": "typescript", "JAVASCRIPT": "typescript"}


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One request.

    Attributes:
        store: Where the project's log entries are.
        headers: With names in lower case.
    """

    store: LogStore
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> dict[str, Any] | None:
        """The body; None where it is no JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def caller(self, user_id: str, session_id: str, host: str = "sdk") -> Caller:
        """Who sends it, as the log shows it."""
        product = self.headers.get("x-source", "").upper()
        source = {"host": host, "framework": self.headers.get("x-framework", "")}
        source["language"] = next((name for word, name in _LANGUAGES.items() if word in product), "")
        known = {name: value for name, value in source.items() if value}
        return Caller(user_id, session_id, self.headers.get("x-request-id", ""), known)


class ToolRoutes:
    """The routes, for all projects of one emulator."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, ToolSession] = {}

    async def answer(self, request: ToolRequest) -> Answer | None:
        """Answer a request; None where the path is none of these."""
        if found := _MCP.fullmatch(request.path):
            return await self._mcp(request, found[1])
        if _SESSIONS.fullmatch(request.path):
            return self._new_session(request)
        if found := _SESSION.fullmatch(request.path):
            return await self._session(request, found[1], found[2] or "")
        if found := _EXECUTE.fullmatch(request.path):
            return await self._execute(request, found[1])
        if found := _TOOLS.fullmatch(request.path):
            return _tools(request.method, found[1] or "", request.query)
        return None

    def _new_session(self, request: ToolRequest) -> Answer:
        if request.method != "POST":
            return _wrong_method("POST")
        given = request.json_object()
        if given is None or not isinstance(given.get("user_id"), str):
            return _invalid("user_id: Required")
        session = new_session(request.headers.get("x-api-key", ""), given)
        if len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[session.session_id] = session
        return answers.json_answer(session.answer(_base_url(request)), 201)

    async def _session(self, request: ToolRequest, session_id: str, action: str) -> Answer:
        session = self._known(session_id, request)
        if session is None:
            return _not_found(f"Session {session_id}")
        match request.method, action:
            case ("GET", "") | ("POST", "attach"):
                return answers.json_answer(session.answer(_base_url(request)))
            case "GET", "tools":
                return answers.json_answer(_page([schema_of(slug) for slug in session.tools]))
            case "POST", ("execute" | "execute_meta"):
                return await self._execute_in(session, request, _SLUG_FIELDS[action])
            case _:
                return _not_found(f"{request.method} {action or 'session'}")

    async def _execute_in(self, session: ToolSession, request: ToolRequest, field: str) -> Answer:
        given = request.json_object() or {}
        slug = given.get(field)
        if not isinstance(slug, str):
            return _invalid(f"{field}: Required")
        caller = request.caller(session.user_id, session.session_id)
        executed = await self._execution(request).execute(slug, _arguments(given), caller)
        return answers.json_answer(
            {
                "data": executed.response["data"],
                "error": executed.response["error"],
                "log_id": executed.log_id,
                "result_type": "completed" if executed.successful else "failed",
            }
        )

    async def _execute(self, request: ToolRequest, slug: str) -> Answer:
        if request.method != "POST":
            return _wrong_method("POST")
        if slug not in TOOLS:
            return _not_found(f"Tool {slug}")
        given = request.json_object()
        if given is None:
            return _invalid("the body: Expected object")
        user_id = given.get("user_id")
        caller = request.caller(user_id if isinstance(user_id, str) else "default", "")
        executed = await self._execution(request).execute(slug, _arguments(given), caller)
        answer = {**executed.response, "log_id": executed.log_id, "session_info": None}
        return answers.json_answer(answer)

    async def _mcp(self, request: ToolRequest, session_id: str) -> Answer:
        if request.method != "POST":
            # No stream from the server: what one without it answers, by MCP's own text.
            return _wrong_method("POST")
        session = self._known(session_id, request)
        if session is None:
            return _not_found(f"Session {session_id}")
        message = read_mcp(request.body, [schema_of(slug) for slug in session.tools])
        if not isinstance(message, McpCall):
            return message
        caller = request.caller(session.user_id, session.session_id, "mcp")
        execution = self._execution(request)
        return result_of(message, await execution.execute(message.slug, message.arguments, caller))

    def _execution(self, request: ToolRequest) -> ToolExecution:
        return ToolExecution(request.store, self._clock)

    def _known(self, session_id: str, request: ToolRequest) -> ToolSession | None:
        session = self._sessions.get(session_id)
        key = request.headers.get("x-api-key", "")
        return session if session is not None and session.key == key else None


def _tools(method: str, slug: str, query: str) -> Answer:
    if method != "GET":
        return _wrong_method("GET")
    if slug:
        return answers.json_answer(schema_of(slug)) if slug in TOOLS else _not_found(f"Tool {slug}")
    asked = parse_qs(query)
    slugs = {each for text in asked.get("tool_slugs", []) for each in text.split(",")}
    toolkits = {each for text in asked.get("toolkit_slug", []) for each in text.split(",")}
    found = [
        schema_of(name)
        for name, tool in TOOLS.items()
        if (not slugs or name in slugs) and (not toolkits or tool.toolkit in toolkits)
    ]
    return answers.json_answer(_page(found))


def _page(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "items": items,
        "next_cursor": None,
        "total_items": len(items),
        "total_pages": 1,
        "current_page": 1,
    }


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = given.get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def _base_url(request: ToolRequest) -> str:
    return f"http://{request.headers.get('host', 'localhost')}"


def _invalid(error: str) -> Answer:
    return answers.error_answer(400, "Validation error", "Correct the fields named in errors.", [error])


def _not_found(what: str) -> Answer:
    return answers.error_answer(404, f"{what} not found", "Check the id and the key's project.")


def _wrong_method(allowed: str) -> Answer:
    headers = ((b"allow", allowed.encode()),)
    return answers.error_answer(405, "Method not allowed", f"Use {allowed}.", headers=headers)
