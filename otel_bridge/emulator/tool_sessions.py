"""Sessions of the tool router: made for a user, looked up by id."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.scene import CHANNELS, CUSTOMERS, TOPICS, Scene, User
from otel_bridge.emulator.toolkits import TOOLS
from otel_bridge.emulator.toolkits.meta import (
    GET_TOOL_SCHEMAS,
    MANAGE_CONNECTIONS,
    MULTI_EXECUTE,
    REMOTE_WORKBENCH,
    SEARCH_TOOLS,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

META_TOOLS: Final = (
    SEARCH_TOOLS,
    GET_TOOL_SCHEMAS,
    MANAGE_CONNECTIONS,
    MULTI_EXECUTE,
    REMOTE_WORKBENCH,
)


@dataclass(frozen=True, slots=True)
class ToolSession:
    """One session.

    Attributes:
        key: The API key it was made with; no other sees it.
        tools: The slugs it gives an agent.
    """

    session_id: str
    user_id: str
    key: str = field(repr=False)
    tools: tuple[str, ...] = META_TOOLS

    def answer(self, base_url: str) -> dict[str, Any]:
        """The session as the API shows it."""
        preloaded = [slug for slug in self.tools if slug not in META_TOOLS]
        return {
            "session_id": self.session_id,
            "config": {
                "user_id": self.user_id,
                "execute": {"enable_multi_execute": True},
                "preload": {"tools": preloaded},
                "search": {"enable": True},
                "instant": False,
            },
            "config_version": 1,
            "mcp": {"type": "http", "url": f"{base_url}/tool_router/{self.session_id}/mcp"},
            "tool_router_tools": list(self.tools),
        }


def new_session(key: str, body: Mapping[str, Any]) -> ToolSession:
    """Make a session as a request asks for it; ``preload.tools`` adds tools to the meta tools."""
    preload = body.get("preload")
    wanted = preload.get("tools") if isinstance(preload, dict) else None
    slugs = [slug for slug in wanted if slug in TOOLS] if isinstance(wanted, list) else []
    added = tuple(slug for slug in slugs if slug not in META_TOOLS)
    return ToolSession(f"trs_{secrets.token_urlsafe(9)}", str(body["user_id"]), key, META_TOOLS + added)


def scene_of(user_id: str, day: str, rng: random.Random) -> Scene:
    """A setting for what a tool answers to this user."""
    customer = CUSTOMERS[rng.randrange(len(CUSTOMERS))]
    topic = TOPICS[rng.randrange(len(TOPICS))]
    name = user_id.partition("@")[0]
    return Scene(
        rng=rng,
        user=User(user_id, name, f"{name}@lumenshop.io"),
        customer=customer,
        topic=topic,
        channel=CHANNELS[rng.randrange(len(CHANNELS))],
        goal=topic.title,
        day=day,
        number=rng.randrange(100, 10_000),
    )


def schema_of(slug: str) -> dict[str, Any]:
    """A tool's schema as the API lists it; the arguments of synthetic tools are free."""
    tool = TOOLS[slug]
    name = slug.replace("_", " ").lower()
    toolkit = {"slug": tool.toolkit, "name": tool.toolkit.title(), "logo": ""}
    return {
        "slug": slug,
        "name": name,
        "description": f"Synthetic: {name}.",
        "human_description": name,
        "toolkit": toolkit,
        "input_parameters": {"type": "object", "properties": {}, "additionalProperties": True},
        "output_parameters": {"type": "object", "properties": {"data": {"type": "object"}}},
        "scopes": [],
        "scope_requirements": None,
        "tags": [],
        "no_auth": tool.credential_source == "no_auth",
        "version": "20260901_00",
        "available_versions": ["20260901_00"],
        "is_deprecated": False,
        "deprecated": {
            "available_versions": ["20260901_00"],
            "displayName": name,
            "is_deprecated": False,
            "toolkit": {"logo": ""},
            "version": "20260901_00",
        },
    }
