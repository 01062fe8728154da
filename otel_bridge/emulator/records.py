"""One log entry, ready to be served: its JSON as bytes, and the ten fields that a filter can ask for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOL_EXECUTION: Final = "tool.execution"
_ENTRY_KEYS: Final = (
    "id",
    "timestamp",
    "type",
    "status",
    "level",
    "message",
    "metadata",
    "metrics",
    "parent",
)


@dataclass(frozen=True, slots=True)
class Record:
    """One log entry of the Logs API. Every field that a filter can name is an attribute; empty = absent.

    Attributes:
        timestamp_ms: The entry's time, which a time range is compared with, in ms since the epoch.
        instant_charge: USD, an exact decimal string; empty for none.
        entry: JSON object as the list shows it.
        rest: The members that only the detail shows: JSON without the outer braces.
    """

    log_id: str
    timestamp_ms: int
    type: str
    status: str
    tool_slug: str
    toolkit_slug: str
    connected_account_id: str
    auth_config_id: str
    user_id: str
    session_id: str
    sandbox_id: str
    request_id: str
    instant_charge: str
    entry: bytes
    rest: bytes

    @property
    def detail(self) -> bytes:
        """JSON object as the detail route shows it."""
        return b"%b,%b}" % (self.entry[:-1], self.rest)


def record_of(detail: Mapping[str, Any], timestamp_ms: int) -> Record:
    """Make a record of a log entry in full.

    Args:
        detail: The JSON object that the detail route answers.
        timestamp_ms: The entry's time in ms since the epoch; ``detail["timestamp"]`` is served as it is.
    """
    metadata, context = detail["metadata"], detail["context"]
    return Record(
        log_id=detail["id"],
        timestamp_ms=timestamp_ms,
        type=detail["type"],
        status=detail["status"],
        tool_slug=metadata.get("tool_slug", ""),
        toolkit_slug=metadata.get("toolkit_slug", ""),
        connected_account_id=metadata.get("connected_account_id", ""),
        auth_config_id=metadata.get("auth_config_id", ""),
        user_id=metadata.get("user_id", ""),
        session_id=metadata.get("session_id", ""),
        sandbox_id=metadata.get("sandbox_id", ""),
        request_id=context.get("request_id", ""),
        instant_charge=metadata.get("instant_charge", ""),
        entry=to_json({key: detail[key] for key in _ENTRY_KEYS if key in detail}),
        rest=to_json({key: value for key, value in detail.items() if key not in _ENTRY_KEYS})[1:-1],
    )


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON; a text with lone surrogates is escaped, as ``JSON.stringify`` does."""
    try:
        return _ENCODE(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
