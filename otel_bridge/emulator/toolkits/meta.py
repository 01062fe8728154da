"""Composio's meta tools, which an agent uses to find, connect and run the others.

Names and purposes: https://docs.composio.dev/toolkits/meta-tools
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.toolkits.tool import Tool

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene

MULTI_EXECUTE: Final = "COMPOSIO_MULTI_EXECUTE_TOOL"
SEARCH_TOOLS: Final = "COMPOSIO_SEARCH_TOOLS"
GET_TOOL_SCHEMAS: Final = "COMPOSIO_GET_TOOL_SCHEMAS"
MANAGE_CONNECTIONS: Final = "COMPOSIO_MANAGE_CONNECTIONS"
REMOTE_WORKBENCH: Final = "COMPOSIO_REMOTE_WORKBENCH"
META_TOOLKIT: Final = "composio"


def _plan(scene: Scene) -> dict[str, Any]:
    return {
        "results": [
            {
                "index": 1,
                "use_case": scene.goal,
                "difficulty": scene.pick(("easy", "medium")),
                "execution_guidance": "Read first, then write; ask before sending anything outside.",
                "primary_tool_slugs": ["GMAIL_FETCH_EMAILS", "LINEAR_CREATE_LINEAR_ISSUE"],
                "related_tool_slugs": ["SLACK_SEND_MESSAGE", "NOTION_CREATE_NOTION_PAGE"],
            }
        ],
        "toolkit_connection_statuses": [
            {"toolkit": toolkit, "has_active_connection": True} for toolkit in ("gmail", "linear", "slack")
        ],
        "time_info": {"current_date": scene.day},
    }


TOOLS: Final = (
    Tool(
        SEARCH_TOOLS,
        META_TOOLKIT,
        830,
        lambda s: {
            "queries": [{"use_case": s.goal, "known_fields": f"customer:{s.customer.name}"}],
            "session": {"generate_id": True},
            "model": "claude-sonnet-4-5",
        },
        _plan,
        credential_source="no_auth",
    ),
    Tool(
        GET_TOOL_SCHEMAS,
        META_TOOLKIT,
        150,
        lambda _: {"tool_slugs": ["LINEAR_CREATE_LINEAR_ISSUE", "SLACK_SEND_MESSAGE"]},
        lambda _: {
            "tool_schemas": {
                "LINEAR_CREATE_LINEAR_ISSUE": {"required": ["team_id", "title"], "toolkit": "linear"},
                "SLACK_SEND_MESSAGE": {"required": ["channel"], "toolkit": "slack"},
            },
            "not_found": [],
        },
        credential_source="no_auth",
    ),
    Tool(
        MANAGE_CONNECTIONS,
        META_TOOLKIT,
        260,
        lambda _: {"toolkits": ["gmail", "slack"], "reinitiate_all": False},
        lambda _: {
            "results": {
                "gmail": {"status": "active", "has_active_connection": True},
                "slack": {"status": "active", "has_active_connection": True},
            },
            "summary": {"total_toolkits": 2, "active_connections": 2, "initiated_connections": 0},
        },
        credential_source="no_auth",
    ),
    Tool(
        REMOTE_WORKBENCH,
        META_TOOLKIT,
        2_900,
        lambda s: {
            "thought": "Group the rows by customer and count the open tickets.",
            "code_to_execute": "import collections\nrows = load('week.csv')\n"
            "open_by = collections.Counter(r['customer'] for r in rows if r['open'])\n"
            f"print(open_by.most_common(5))  # {s.topic.label}",
            "timeout": 180,
        },
        lambda s: {
            "stdout": f"[('{s.customer.name}', 7), ('Orbit Freight', 4), ('Kestrel Robotics', 2)]\n",
            "stderr": "",
            "results_file_path": "/mnt/files/week.csv",
            "execution_time_s": round(1 + 2 * s.rng.random(), 2),
        },
        credential_source="no_auth",
    ),
    # Its arguments and result hold its children's, so the synthesis makes them itself.
    Tool(MULTI_EXECUTE, META_TOOLKIT, 60, lambda _: {}, lambda _: {}, credential_source="no_auth"),
)
