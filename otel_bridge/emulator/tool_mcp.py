"""A session's tools over MCP, Streamable HTTP: each message is one POST that is answered at once.

https://modelcontextprotocol.io/specification: a server without sessions and without a stream of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.answers import Answer, json_answer

if TYPE_CHECKING:
    from otel_bridge.emulator.tool_execution import Executed

_VERSION: Final = "2025-06-18"
_PARSE_ERROR: Final = -32700
_METHOD_NOT_FOUND: Final = -32601
_INVALID_PARAMS: Final = -32602


@dataclass(frozen=True, slots=True)
class McpCall:
    """A ``tools/call``."""

    message_id: Any
    slug: str
    arguments: dict[str, Any]


def read_mcp(body: bytes, tools: list[dict[str, Any]]) -> McpCall | Answer:
    """Read a message; what needs no tool to run is answered at once.

    Args:
        body: What was posted.
        tools: The schemas of the session's tools.
    """
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        return _error(None, _PARSE_ERROR, "Parse error")
    if "id" not in message:
        # A notification: nothing is answered to it.
        return Answer(202, b"")
    given = message.get("params")
    params: dict[str, Any] = given if isinstance(given, dict) else {}
    match message.get("method"):
        case "initialize":
            result = {
                "protocolVersion": params.get("protocolVersion", _VERSION),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "composio-emulator", "version": "1"},
            }
        case "ping":
            result = {}
        case "tools/list":
            result = {
                "tools": [
                    {
                        "name": tool["slug"],
                        "description": tool["description"],
                        "inputSchema": tool["input_parameters"],
                    }
                    for tool in tools
                ]
            }
        case "tools/call":
            slug, arguments = params.get("name"), params.get("arguments")
            if not isinstance(slug, str):
                return _error(message["id"], _INVALID_PARAMS, "name: Required")
            return McpCall(message["id"], slug, arguments if isinstance(arguments, dict) else {})
        case other:
            return _error(message["id"], _METHOD_NOT_FOUND, f"Method not found: {other}")
    return json_answer({"jsonrpc": "2.0", "id": message["id"], "result": result})


def result_of(call: McpCall, executed: Executed) -> Answer:
    """The answer to a ``tools/call``."""
    text = json.dumps({**executed.response, "log_id": executed.log_id}, ensure_ascii=False)
    result = {"content": [{"type": "text", "text": text}], "isError": not executed.successful}
    return json_answer({"jsonrpc": "2.0", "id": call.message_id, "result": result})


def _error(message_id: Any, code: int, text: str) -> Answer:
    return json_answer({"jsonrpc": "2.0", "id": message_id, "error": {"code": code, "message": text}})
