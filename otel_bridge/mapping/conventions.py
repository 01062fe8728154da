"""Names of attributes, and where they come from.

The constants of the Python package for semantic conventions are marked deprecated for everything under
``gen_ai``, because the names moved to a repository of their own. So the names stand here, with their version.
"""

from __future__ import annotations

from typing import Final

GENAI_CONVENTIONS_VERSION: Final = "0.1.0"
"""github.com/open-telemetry/semantic-conventions-genai; status Development."""

GENERAL_CONVENTIONS_VERSION: Final = "1.45.0"
"""github.com/open-telemetry/semantic-conventions."""

SCOPE_NAME: Final = "otel_bridge"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{GENERAL_CONVENTIONS_VERSION}"

# ── GenAI conventions, execute_tool ──────────────────────────────────────────────────────────────────────
EXECUTE_TOOL: Final = "execute_tool"
EXTENSION: Final = "extension"

OPERATION_NAME: Final = "gen_ai.operation.name"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
CONVERSATION_ID: Final = "gen_ai.conversation.id"

# ── general conventions ──────────────────────────────────────────────────────────────────────────────────
SERVICE_NAME: Final = "service.name"
SERVER_ADDRESS: Final = "server.address"
SERVICE_PEER_NAME: Final = "service.peer.name"
PEER_SERVICE: Final = "peer.service"  # deprecated in favour of service.peer.name; backends still read it
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
ERROR_TYPE: Final = "error.type"
ERROR_TYPE_OTHER: Final = "_OTHER"
LOG_RECORD_UID: Final = "log.record.uid"

# ── the bridge's own ─────────────────────────────────────────────────────────────────────────────────────
PROJECT: Final = "composio.project"
LOG_ID: Final = "composio.log.id"
TOOLKIT_SLUG: Final = "composio.toolkit.slug"
CONNECTED_ACCOUNT_ID: Final = "composio.connected_account.id"
AUTH_CONFIG_ID: Final = "composio.auth_config.id"
SANDBOX_ID: Final = "composio.sandbox.id"
REQUEST_ID: Final = "composio.request.id"
TRACE_ID: Final = "composio.trace.id"
SOURCE_HOST: Final = "composio.source.host"
SOURCE_FRAMEWORK: Final = "composio.source.framework"
SOURCE_LANGUAGE: Final = "composio.source.language"
PARENT_LOG_ID: Final = "composio.parent.log.id"
PARENT_TOOL_SLUG: Final = "composio.parent.tool.slug"
PARENT_MISSING: Final = "composio.parent.missing"
DETAIL_MISSING: Final = "composio.detail.missing"
CREDENTIAL_SOURCE: Final = "composio.credential.source"
CHARGE_USD: Final = "composio.charge.usd"
TIMING_SOURCE: Final = "composio.timing.source"
METADATA_PREFIX: Final = "composio.metadata."
METRICS_PREFIX: Final = "composio.metrics."
EVENT_PREFIX: Final = "composio."

LINK_TYPE: Final = "composio.link.type"
PREVIOUS_ATTEMPT: Final = "previous_attempt"
"""On the link of a call to the failed attempt before it; a link without a type leads to the application."""

DATA: Final = "composio.data"
"""The payload of an entry that is no tool call, where content is captured."""

TRUNCATED: Final = "composio.truncated"
"""How many attributes were left out, for their number or for the size of the whole; absent where none was."""
