"""Executes synthetic tools and writes their log entries, with the request id that the caller sent.

What a call does can be asked for among its arguments: ``"emulate": "failure"`` makes it fail as its toolkit
would.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.failures import FAILURES, HOSTS, Failure
from otel_bridge.emulator.records import TOOL_EXECUTION, record_of
from otel_bridge.emulator.tool_sessions import scene_of
from otel_bridge.emulator.toolkits import TOOLS
from otel_bridge.emulator.toolkits.meta import META_TOOLKIT, MULTI_EXECUTE
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.emulator.store import LogStore
    from otel_bridge.times import Clock

FAILURE: Final = "failure"
# A real call takes this many times as long.
_SPEED: Final = 20
_LONGEST_S: Final = 0.05
_NOT_FOUND: Final = Failure(404, "Not Found", "the tool does not exist")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls a tool, and from where.

    Attributes:
        request_id: The header ``x-request-id``; empty where none was sent, and then there is one of the
            service's own.
        source: As the log shows it: host, framework, language.
    """

    user_id: str
    session_id: str
    request_id: str
    source: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Executed:
    """A tool that ran, whether it succeeded or not."""

    log_id: str
    response: dict[str, Any]

    @property
    def successful(self) -> bool:
        """Whether it succeeded."""
        return bool(self.response["successful"])


@dataclass(frozen=True, slots=True)
class _Called:
    slug: str
    arguments: Mapping[str, Any]
    caller: Caller
    parent: dict[str, str] | None
    start_ms: int


class ToolExecution:
    """Executes tools for one project.

    Args:
        store: Where the log entries go, at the end of each call.
        clock: What times them.
    """

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def execute(self, slug: str, arguments: Mapping[str, Any], caller: Caller) -> Executed:
        """Execute a tool; what a meta tool runs are its children."""
        if not caller.request_id:
            caller = Caller(caller.user_id, caller.session_id, f"req_{_id()}", caller.source)
        return await self._execute(slug, arguments, caller, None)

    async def _execute(
        self, slug: str, arguments: Mapping[str, Any], caller: Caller, parent: dict[str, str] | None
    ) -> Executed:
        log_id = f"log_{_id()}"
        start_ms = self._clock.now_ms()
        tools = arguments.get("tools")
        if slug == MULTI_EXECUTE and isinstance(tools, list):
            response = await self._together(tools, caller, {"log_id": log_id, "tool_slug": slug})
        else:
            response = await self._alone(slug, arguments, caller)
        executed = Executed(log_id, response)
        self._write(_Called(slug, arguments, caller, parent, start_ms), executed)
        return executed

    async def _alone(self, slug: str, arguments: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        rng = random.Random()  # noqa: S311 - made-up results
        scene = scene_of(caller.user_id, format_time(self._clock.now_ms())[:10], rng)
        tool = TOOLS.get(slug)
        if tool is None:
            return _NOT_FOUND.response(scene, "backend.composio.dev")
        await asyncio.sleep(min(tool.median_ms / 1000 / _SPEED, _LONGEST_S))
        if arguments.get("emulate") == FAILURE:
            failure = FAILURES.get(tool.toolkit, FAILURES[META_TOOLKIT])[0]
            return failure.response(scene, HOSTS.get(tool.toolkit, "backend.composio.dev"))
        return {"data": tool.result(scene), "error": None, "successful": True}

    async def _together(self, tools: list[Any], caller: Caller, parent: dict[str, str]) -> dict[str, Any]:
        items = [item for item in tools if isinstance(item, dict)]
        slugs = [str(item.get("tool_slug", "")) for item in items]
        given = [item.get("arguments") for item in items]
        children = await asyncio.gather(
            *(
                self._execute(slug, arguments if isinstance(arguments, dict) else {}, caller, parent)
                for slug, arguments in zip(slugs, given, strict=True)
            )
        )
        failed = sum(not child.successful for child in children)
        results = [
            {"tool_slug": slug, "index": n, "response": child.response}
            | ({} if child.successful else {"error": child.response["error"]})
            for n, (slug, child) in enumerate(zip(slugs, children, strict=True))
        ]
        all_failed = bool(children) and failed == len(children)
        return {
            "data": {
                "results": results,
                "total_count": len(children),
                "success_count": len(children) - failed,
                "error_count": failed,
            },
            "error": "all tools failed" if all_failed else None,
            "successful": not all_failed,
        }

    def _write(self, call: _Called, executed: Executed) -> None:
        end_ms = max(self._clock.now_ms(), call.start_ms)
        slug, caller = call.slug, call.caller
        tool = TOOLS.get(slug)
        metadata = {
            "tool_slug": slug,
            "toolkit_slug": META_TOOLKIT if tool is None else tool.toolkit,
            "user_id": caller.user_id,
            "session_id": caller.session_id,
            "credential_source": "no_auth" if tool is None else tool.credential_source,
        }
        context = {"session_id": caller.session_id, "request_id": caller.request_id}
        error = executed.response["error"]
        detail: dict[str, Any] = {
            "id": executed.log_id,
            "timestamp": format_time(end_ms),
            "type": TOOL_EXECUTION,
            "status": "success" if executed.successful else "failed",
            "level": "info" if executed.successful else "error",
            "message": f"{slug} completed" if executed.successful else f"{slug} failed: {error}",
            "metadata": {name: value for name, value in metadata.items() if value},
            "metrics": {"duration_ms": end_ms - call.start_ms},
            "parent": call.parent,
            "timings": {"start_time": call.start_ms, "end_time": end_ms},
            "context": {name: value for name, value in context.items() if value},
            "source": dict(caller.source),
            "data": {"request": dict(call.arguments), "response": executed.response},
        }
        self._store.add(record_of(detail, end_ms))


def _id() -> str:
    return secrets.token_urlsafe(9)
