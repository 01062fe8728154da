"""The emulator's routes for executing tools, used through the vendor's generated client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import composio_client as vendor
import pytest

from contract.vendor_client import START_MS, connect, running
from otel_bridge.emulator import EmulatorOptions, LogStore, generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from composio_client import Composio


@pytest.fixture
def client() -> Iterator[Composio]:
    """To an emulator of their own: what they execute is logged, and other tests count what is there."""
    store = LogStore(generate(1, 7, START_MS - 60_000, START_MS))
    with running(EmulatorOptions(), store) as server, connect(server) as connected:
        yield connected


def test_a_session_executes_tools(client: Composio) -> None:
    created = client.tool_router.session.create(user_id="user_ada")
    assert created.mcp.url.endswith(f"/tool_router/{created.session_id}/mcp")
    session = client.tool_router.session
    listed = session.tools(created.session_id)
    assert {tool.slug for tool in listed.items} == set(created.tool_router_tools)
    answer: Any = session.execute(created.session_id, tool_slug="SLACK_SEND_MESSAGE", arguments={})
    assert answer.result_type == "completed"
    assert client.logs.retrieve_tool_execution(answer.log_id).id == answer.log_id
    tools = [{"tool_slug": "GMAIL_FETCH_EMAILS", "arguments": {"emulate": "failure"}}]
    answer = session.execute_meta(
        created.session_id, slug="COMPOSIO_MULTI_EXECUTE_TOOL", arguments={"tools": tools}
    )
    assert answer.result_type == "failed"


def test_tools_are_listed_and_executed_one_by_one(client: Composio) -> None:
    listed = client.tools.list(toolkit_slug="slack")
    assert listed.items
    slug = listed.items[0].slug
    assert client.tools.retrieve(slug).slug == slug
    answer = client.tools.execute(
        slug, user_id="user_ada", arguments={}, extra_headers={"x-request-id": "of-mine"}
    )
    assert answer.successful
    assert answer.log_id
    context = client.logs.retrieve_tool_execution(answer.log_id).context
    assert context.model_dump()["request_id"] == "of-mine"


def test_what_is_not_there_is_404(client: Composio) -> None:
    with pytest.raises(vendor.NotFoundError):
        client.tools.execute("NO_SUCH_TOOL")
    with pytest.raises(vendor.NotFoundError):
        client.tool_router.session.retrieve("trs_nobody")
