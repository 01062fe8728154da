"""Which methods of the vendor's client execute tools.

Everything that executes a tool ends in one of them: ``session.execute``, ``tools.execute``, the tools that a
provider made. They are the client's public surface, the same in its lines 1.x and 2.x. What a version does
not have is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TOOLS: Final = "composio_client.resources.tools"
SESSION: Final = "composio_client.resources.tool_router.session"
POOL: Final = "composio.core.models.tool_router_session"
"""Holds the thread pool in which the SDK runs local and remote tools side by side."""


@dataclass(frozen=True, slots=True)
class Target:
    """One method to wrap.

    Attributes:
        cls: The class that has it.
        first: Its first argument, which may be given by place; the second is ``body``.
        slug: The argument that names the tool.
        takes_headers: Whether it takes ``extra_headers``.
    """

    module: str
    cls: str
    method: str
    first: str
    slug: str
    takes_headers: bool = True

    @property
    def shown(self) -> str:
        """The class of parsed answers, beside which it is defined."""
        return self.cls.removesuffix("WithRawResponse")

    @property
    def is_async(self) -> bool:
        """Whether it is awaited."""
        return self.cls.startswith("Async")


def _targets() -> tuple[Target, ...]:
    found = []
    for prefix in ("", "Async"):
        # Raw answers: methods in 2.x; in 1.x they call the ones above.
        for suffix in ("", "WithRawResponse"):
            tools, session = f"{prefix}ToolsResource{suffix}", f"{prefix}SessionResource{suffix}"
            found += [
                Target(TOOLS, tools, "execute", "tool_slug", "tool_slug"),
                Target(SESSION, session, "execute", "session_id", "tool_slug"),
                Target(SESSION, session, "execute_meta", "session_id", "slug"),
            ]
    return tuple(found)


TARGETS: Final = _targets()
OPENERS: Final = tuple(
    Target(SESSION, f"{prefix}SessionResource", method, "", "", takes_headers=False)
    for prefix in ("", "Async")
    for method in ("create", "attach", "retrieve")
)
"""They execute nothing; their answers say whom a session acts for."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a call's arguments say; empty = not said."""

    slug: str
    session_id: str
    user_id: str
    connected_account_id: str


def read_call(target: Target, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ToolCall:
    """Read a call's arguments."""
    body = args[1] if len(args) > 1 else kwargs.get("body")

    def text(name: str) -> str:
        value = args[0] if args and name == target.first else kwargs.get(name)
        if not isinstance(value, str) and body and isinstance(body, Mapping):
            value = body.get(name)
        # The client's own mark for "not given" is no text.
        return value if isinstance(value, str) else ""

    return ToolCall(text(target.slug), text("session_id"), text("user_id"), text("connected_account_id"))
