"""Names of attributes. The same as the bridge's: the conventions of GenAI 0.1.0 and the general ones 1.45."""

from __future__ import annotations

from typing import Final

SCOPE_NAME: Final = "otel_bridge.instrumentation"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"

EXECUTE_TOOL: Final = "execute_tool"
EXTENSION: Final = "extension"

OPERATION_NAME: Final = "gen_ai.operation.name"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
SERVER_ADDRESS: Final = "server.address"
ERROR_TYPE: Final = "error.type"
ERROR_TYPE_OTHER: Final = "_OTHER"

LOG_ID: Final = "composio.log.id"
REQUEST_ID: Final = "composio.request.id"
CONNECTED_ACCOUNT_ID: Final = "composio.connected_account.id"
