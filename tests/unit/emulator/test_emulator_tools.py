"""The routes that execute tools: what they answer, and what the log has of it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from otel_bridge.emulator import EmulatorOptions, LogStore, create_app
from otel_bridge.emulator.tool_routes import _MOST_SESSIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

API = "/api/v3.1"
LOGS = f"{API}/logs/tool_execution"
SDK = {"x-api-key": "ak_x", "x-source": "PYTHON_SDK", "x-framework": "openai", "x-request-id": "req-of-mine"}


@pytest.fixture
def store() -> LogStore:
    return LogStore()


@pytest.fixture
async def client(store: LogStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(store, EmulatorOptions()))
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=SDK) as client:
        yield client


async def session_of(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/tool_router/session", json={"user_id": "user_ada", **body})
    assert answer.status_code == 201
    session: dict[str, Any] = answer.json()
    return session


async def execute(client: httpx.AsyncClient, slug: str, **arguments: Any) -> dict[str, Any]:
    session = await session_of(client)
    url = f"{API}/tool_router/session/{session['session_id']}/execute"
    answer = await client.post(url, json={"tool_slug": slug, "arguments": arguments})
    assert answer.status_code == 200
    return {**answer.json(), "session_id": session["session_id"]}


async def details(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    logs = (await client.post(LOGS, json={})).json()["logs"]
    return [(await client.get(f"{LOGS}/{log['id']}")).json() for log in logs]


async def test_a_call_is_in_the_log_with_its_request_id(client: httpx.AsyncClient) -> None:
    answer = await execute(client, "SLACK_SEND_MESSAGE", channel="#support")
    assert (answer["result_type"], answer["error"]) == ("completed", None)
    (detail,) = await details(client)
    assert detail["id"] == answer["log_id"]
    assert detail["context"] == {"session_id": answer["session_id"], "request_id": "req-of-mine"}
    assert detail["source"] == {"host": "sdk", "framework": "openai", "language": "python"}
    assert detail["metadata"] == {
        "tool_slug": "SLACK_SEND_MESSAGE",
        "toolkit_slug": "slack",
        "user_id": "user_ada",
        "session_id": answer["session_id"],
        "credential_source": "connected_account",
    }
    assert detail["data"]["request"] == {"channel": "#support"}
    assert detail["parent"] is None
    assert detail["metrics"]["duration_ms"] == (
        detail["timings"]["end_time"] - detail["timings"]["start_time"]
    )


async def test_a_call_without_a_request_id_gets_one(client: httpx.AsyncClient) -> None:
    del client.headers["x-request-id"], client.headers["x-source"], client.headers["x-framework"]
    await execute(client, "SLACK_SEND_MESSAGE")
    (detail,) = await details(client)
    assert detail["context"]["request_id"].startswith("req_")
    assert detail["source"] == {"host": "sdk"}


@pytest.mark.parametrize("slug", ["GMAIL_FETCH_EMAILS", "COMPOSIO_SEARCH_TOOLS", "NO_SUCH_TOOL"])
async def test_a_call_can_fail(client: httpx.AsyncClient, slug: str) -> None:
    answer = await execute(client, slug, emulate="failure")
    assert answer["result_type"] == "failed"
    (detail,) = await details(client)
    assert (detail["status"], detail["level"]) == ("failed", "error")
    assert detail["message"] == f"{slug} failed: {answer['error']}"


@pytest.mark.parametrize(
    ("tools", "successful"),
    [
        ([{"tool_slug": "GMAIL_FETCH_EMAILS"}, {"tool_slug": "NO_SUCH_TOOL", "arguments": {}}, "?"], True),
        ([{"tool_slug": "GMAIL_FETCH_EMAILS", "arguments": {"emulate": "failure"}}], False),
        ([], True),
    ],
)
async def test_what_a_meta_tool_runs_are_its_children(
    client: httpx.AsyncClient, tools: list[Any], successful: bool
) -> None:
    slug = "COMPOSIO_MULTI_EXECUTE_TOOL"
    answer = await execute(client, slug, tools=tools)
    assert answer["result_type"] == ("completed" if successful else "failed")
    entries = await details(client)
    known = [each for each in tools if isinstance(each, dict)]
    assert answer["data"]["total_count"] == len(known)
    assert len(entries) == 1 + len(known)
    for entry in entries:
        is_parent = entry["id"] == answer["log_id"]
        assert entry["parent"] == (None if is_parent else {"log_id": answer["log_id"], "tool_slug": slug})
        assert entry["context"]["request_id"] == "req-of-mine"


async def test_a_tool_can_be_executed_without_a_session(client: httpx.AsyncClient) -> None:
    url = f"{API}/tools/execute/SLACK_SEND_MESSAGE"
    answer = (await client.post(url, json={"user_id": "u", "arguments": {"channel": "#a"}})).json()
    assert answer["successful"]
    await client.post(url, json={})
    first, second = reversed(await details(client))
    assert first["id"] == answer["log_id"]
    assert first["metadata"]["user_id"] == "u"
    assert second["metadata"]["user_id"] == "default"
    assert "session_id" not in first["context"]


async def test_a_session_can_be_had_again_and_lists_its_tools(client: httpx.AsyncClient) -> None:
    wanted = ["GMAIL_FETCH_EMAILS", "COMPOSIO_SEARCH_TOOLS", "NO_SUCH_TOOL"]
    session = await session_of(client, preload={"tools": wanted})
    url = f"{API}/tool_router/session/{session['session_id']}"
    assert (await client.get(url)).json() == session
    assert (await client.post(f"{url}/attach")).json() == session
    listed = (await client.get(f"{url}/tools")).json()["items"]
    assert [tool["slug"] for tool in listed] == session["tool_router_tools"]
    assert session["tool_router_tools"][-1] == "GMAIL_FETCH_EMAILS"
    assert session["config"]["preload"] == {"tools": ["GMAIL_FETCH_EMAILS"]}


async def test_sessions_do_not_pile_up(client: httpx.AsyncClient) -> None:
    first = await session_of(client)
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    sessions = transport.app._tools._sessions  # type: ignore[attr-defined] # the emulator's own
    sessions.update({f"trs_{n}": None for n in range(_MOST_SESSIONS - 1)})
    await session_of(client)
    assert len(sessions) == _MOST_SESSIONS
    assert first["session_id"] not in sessions


async def test_tools_can_be_looked_up(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"{API}/tools", params={"toolkit_slug": "slack"})).json()["items"]
    assert {tool["toolkit"]["slug"] for tool in found} == {"slack"}
    found = (await client.get(f"{API}/tools?tool_slugs=SLACK_SEND_MESSAGE,GMAIL_FETCH_EMAILS")).json()
    assert found["total_items"] == 2
    assert (await client.get(f"{API}/tools/SLACK_SEND_MESSAGE")).json()["slug"] == "SLACK_SEND_MESSAGE"


async def test_a_session_belongs_to_its_key(client: httpx.AsyncClient) -> None:
    session = await session_of(client)
    url = f"{API}/tool_router/session/{session['session_id']}"
    assert (await client.get(url, headers={"x-api-key": "ak_other"})).status_code == 404


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("POST tool_router/session", {}, 400),
        ("POST tool_router/session", [], 400),
        ("GET tool_router/session", None, 405),
        ("GET tool_router/session/trs_nobody", None, 404),
        ("POST tool_router/session/{id}/execute", {}, 400),
        ("POST tool_router/session/{id}/execute_meta", {"tool_slug": "COMPOSIO_SEARCH_TOOLS"}, 400),
        ("POST tool_router/session/{id}/execute", b"{", 400),
        ("PUT tool_router/session/{id}/execute", {}, 404),
        ("POST tools/execute/NO_SUCH_TOOL", {}, 404),
        ("POST tools/execute/SLACK_SEND_MESSAGE", b"{", 400),
        ("GET tools/execute/SLACK_SEND_MESSAGE", None, 405),
        ("GET tools/NO_SUCH_TOOL", None, 404),
        ("POST tools", {}, 405),
    ],
)
async def test_what_is_wrong_is_refused_and_not_logged(
    client: httpx.AsyncClient, store: LogStore, request_line: str, body: Any, status: int
) -> None:
    session = await session_of(client)
    method, path = request_line.format(id=session["session_id"]).split()
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await client.request(method, f"{API}/{path}", **content)
    assert answer.status_code == status
    assert answer.json()["error"]["status"] == status
    assert len(store) == 0


async def mcp(client: httpx.AsyncClient, url: str, method: str, **params: Any) -> Any:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    answer = (await client.post(url, json=message)).json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer.get("result", answer.get("error"))


async def test_a_sessions_tools_can_be_called_over_mcp(client: httpx.AsyncClient) -> None:
    url = (await session_of(client))["mcp"]["url"]
    opened = await mcp(client, url, "initialize", protocolVersion="2025-03-26")
    assert opened["protocolVersion"] == "2025-03-26"
    assert (await client.post(url, json={"method": "notifications/initialized"})).status_code == 202
    assert await mcp(client, url, "ping") == {}
    listed = await mcp(client, url, "tools/list")
    assert listed["tools"][0]["name"] == "COMPOSIO_SEARCH_TOOLS"
    called = await mcp(client, url, "tools/call", name="SLACK_SEND_MESSAGE", arguments={"channel": "#a"})
    assert not called["isError"]
    (detail,) = await details(client)
    assert detail["source"]["host"] == "mcp"
    assert detail["context"]["request_id"] == "req-of-mine"
    assert detail["id"] in called["content"][0]["text"]


async def test_mcp_refuses_what_it_does_not_know(client: httpx.AsyncClient, store: LogStore) -> None:
    url = (await session_of(client))["mcp"]["url"]
    assert (await mcp(client, url, "prompts/list"))["code"] == -32601
    assert (await mcp(client, url, "tools/call"))["code"] == -32602
    assert (await client.post(url, content=b"{")).json()["error"]["code"] == -32700
    assert (await client.get(url)).status_code == 405
    assert (await client.post("http://emulator/tool_router/trs_nobody/mcp", json={})).status_code == 404
    assert (await mcp(client, url, "tools/call", name="SLACK_SEND_MESSAGE", arguments=5))["content"]
    assert len(store) == 1
