"""Log entries that are no tool calls: triggers that fired, accounts that were connected or expired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.records import Record, record_of
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene
    from otel_bridge.emulator.synthesis import Directory

_TRIGGERS: Final = (
    ("GMAIL_NEW_GMAIL_MESSAGE", "gmail"),
    ("GITHUB_PULL_REQUEST_EVENT", "github"),
    ("SLACK_RECEIVE_MESSAGE", "slack"),
)
_ACCOUNT_EVENTS: Final = (
    ("connected_account.activated", "success", "info", "{toolkit} connected"),
    ("connected_account.created", "success", "info", "{toolkit} connection started"),
    (
        "connected_account.expired",
        "failed",
        "error",
        "{toolkit} connection expired: refresh token was revoked",
    ),
)
_TOOLKITS: Final = ("gmail", "slack", "github", "hubspot", "notion")


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of another type than a tool call that has no place in time yet."""

    scene: Scene

    @property
    def size(self) -> int:
        """How many log entries it makes."""
        return 1

    @property
    def length_ms(self) -> float:
        """From its start to its last entry."""
        return 0.0

    def fitted(self, _length_ms: float) -> Event:
        """Itself: a point fits anywhere."""
        return self

    def write(self, directory: Directory, start_ms: float) -> list[list[Record]]:
        """Its log entry, at a time in ms since the epoch."""
        return [[_write(self.scene, directory, int(start_ms))]]


def _write(scene: Scene, directory: Directory, timestamp_ms: int) -> Record:
    rng = scene.rng
    kind = int(rng.random() * (len(_TRIGGERS) + len(_ACCOUNT_EVENTS)))
    detail: dict[str, Any] = {"id": f"log_{scene.text_id(12)}", "timestamp": format_time(timestamp_ms)}
    data: dict[str, Any]
    if kind < len(_TRIGGERS):
        slug, toolkit = _TRIGGERS[kind]
        detail |= {"type": "trigger.message", "status": "success", "level": "info"}
        detail["message"] = f"{slug} delivered to 1 webhook"
        metadata = {"trigger_slug": slug, "trigger_id": f"ti_{scene.text_id(12)}"}
        data = {
            "payload": {
                "subject": scene.topic.title,
                "sender": scene.customer.email,
                "preview": scene.topic.detail,
            },
            "webhook": {"status_code": 200, "attempt": 1},
        }
    else:
        event, status, level, message = _ACCOUNT_EVENTS[kind - len(_TRIGGERS)]
        toolkit = scene.pick(_TOOLKITS)
        detail |= {"type": event, "status": status, "level": level}
        detail["message"] = message.format(toolkit=toolkit)
        metadata = {}
        data = {"previous_status": "ACTIVE" if status == "failed" else "INITIATED"}
    detail["metadata"] = metadata | {
        "toolkit_slug": toolkit,
        "user_id": scene.user.user_id,
        "connected_account_id": directory.connected_account(scene.user, toolkit),
        "auth_config_id": directory.auth_config(toolkit),
    }
    detail |= {"metrics": {}, "parent": None, "context": {}, "source": {}, "data": data}
    return record_of(detail, timestamp_ms)
