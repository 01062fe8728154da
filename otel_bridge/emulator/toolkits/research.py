"""Web search: one toolkit without an account, one on Composio's own Instant account, which charges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.toolkits.tool import Tool

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene


def _found(scene: Scene) -> dict[str, Any]:
    rows = (
        (f"{scene.topic.title}: known causes", "https://status.example/changes", 0.82),
        ("Release notes", "https://docs.example/releases", 0.61),
        (f"How {scene.topic.label} issues are triaged", "https://blog.example/triage", 0.44),
    )
    return {
        "results": [
            {
                "id": scene.hex_id(12),
                "title": title,
                "url": url,
                "score": score,
                "publishedDate": f"{scene.day}T00:00:00.000Z",
                "text": f"{title}. {scene.topic.detail} Others describe the same and point to a change in "
                "the default configuration.",
            }
            for title, url, score in rows
        ],
        "autopromptString": scene.topic.title,
    }


TOOLS: Final = (
    Tool(
        "COMPOSIO_SEARCH_WEB",
        "composio_search",
        1_150,
        lambda s: {"query": f"{s.topic.title} {s.customer.name}"},
        _found,
        credential_source="no_auth",
    ),
    Tool(
        "EXA_SEARCH",
        "exa",
        980,
        lambda s: {"query": s.topic.title, "numResults": 3, "type": "auto", "useAutoprompt": True},
        _found,
        credential_source="instant_account",
        charge_usd="0.005",
    ),
    Tool(
        "EXA_GET_CONTENTS_ACTION",
        "exa",
        1_400,
        lambda _: {"ids": ["https://docs.example/releases"], "text": True},
        _found,
        credential_source="instant_account",
        charge_usd="0.00105",
    ),
)
