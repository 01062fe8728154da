"""From a session's plan to its log entries: ids, accounts, context, payloads."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any, Final

from otel_bridge.emulator.failures import HOSTS
from otel_bridge.emulator.plans import Call, Plan, calls_of
from otel_bridge.emulator.records import TOOL_EXECUTION, Record, record_of
from otel_bridge.emulator.scene import Scene, User, text_id
from otel_bridge.emulator.toolkits.meta import META_TOOLKIT, REMOTE_WORKBENCH
from otel_bridge.times import format_time

_SOURCES: Final[tuple[dict[str, str], ...]] = (
    {"host": "mcp"},
    {"host": "mcp", "framework": "claude-code", "language": "typescript"},
    {"host": "sdk", "framework": "openai-agents", "language": "python"},
    {"host": "sdk", "framework": "langchain", "language": "python"},
    {"host": "sdk", "framework": "vercel", "language": "typescript"},
    {"host": "api"},
)
_ZERO_DATA_SHARE: Final = 0.03
_ABSENT_SHARE: Final = 0.02
_TOOLKIT_VERSION: Final = "20260301_00"


class Directory:
    """Auth configs and connected accounts: one auth config a toolkit, one account a user and toolkit."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, str], str] = {}

    def auth_config(self, toolkit: str) -> str:
        """The toolkit's auth config id."""
        return self._id("ac_", toolkit, "")

    def connected_account(self, user: User, toolkit: str) -> str:
        """The user's connected account id with the toolkit."""
        return self._id("ca_", toolkit, user.user_id)

    def credential_source(self, toolkit: str) -> str:
        """What the accounts of a toolkit authenticate with."""
        return "custom_auth" if toolkit == "stripe" else "connected_account"

    def _id(self, prefix: str, toolkit: str, user_id: str) -> str:
        key = (toolkit, user_id)
        if key not in self._known:
            # A random state of its own, so that an id does not depend on who came first.
            rng = random.Random(f"{self._seed}/{prefix}{toolkit}/{user_id}")  # noqa: S311 - made-up data
            self._known[key] = prefix + text_id(rng, 12)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all entries of a session share.

    Attributes:
        trace_id: A W3C trace id, another text, or empty for none.
        keeps_data: False under Zero Data Retention: no payloads and no messages.
        fractional: Whether its timings have parts of a ms.
    """

    session_id: str
    trace_id: str
    source: dict[str, str]
    sandbox_id: str
    keeps_data: bool
    fractional: bool
    tells_success: bool


def make_setting(scene: Scene, name: str) -> Setting:
    """Draw what a session's entries share.

    Args:
        scene: Its setting and random state.
        name: What makes its opaque trace id one of its own.
    """
    rng = scene.rng
    kind = rng.random()
    trace_id = ""
    if kind < 0.3:  # noqa: PLR2004 - shares of sessions: a W3C trace id, another text, none
        trace_id = scene.hex_id(32)
    elif kind < 0.55:  # noqa: PLR2004
        trace_id = f"trace_{name}"
    return Setting(
        session_id=f"trs_{scene.text_id(12)}",
        trace_id=trace_id,
        source=_SOURCES[int(rng.random() * len(_SOURCES))],
        sandbox_id=f"sbx_{scene.hex_id(16)}",
        keeps_data=rng.random() >= _ZERO_DATA_SHARE,
        fractional=rng.random() < 0.4,  # noqa: PLR2004
        tells_success=rng.random() < 0.5,  # noqa: PLR2004
    )


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has no place in time yet."""

    scene: Scene
    plan: Plan
    setting: Setting

    @property
    def size(self) -> int:
        """How many log entries it makes."""
        return self.plan.size

    @property
    def length_ms(self) -> float:
        """From its start to its last entry."""
        return self.plan.length_ms

    def fitted(self, length_ms: float) -> Session:
        """Itself, or where it is longer than this, the same session made faster."""
        if self.length_ms <= length_ms:
            return self
        return Session(self.scene, self.plan.faster(length_ms / self.length_ms), self.setting)

    def write(self, directory: Directory, start_ms: float) -> list[list[Record]]:
        """Its log entries, one list a request, each in order of time.

        Args:
            directory: The accounts its calls are made with.
            start_ms: Where it begins, in ms since the epoch.
        """
        return [
            _RequestWriter(self.scene, self.setting, directory, start_ms).write(request)
            for request in self.plan.requests
        ]


class _RequestWriter:
    def __init__(self, scene: Scene, setting: Setting, directory: Directory, start_ms: float) -> None:
        self._scene = scene
        self._setting = setting
        self._directory = directory
        self._start_ms = start_ms
        python = setting.source.get("language") == "python"
        # The vendor's Python SDK sends uuid4().hex as x-request-id.
        self._request_id = _uuid4_hex(scene.rng) if python else f"req_{scene.text_id(16)}"

    def write(self, request: Call) -> list[Record]:
        parent = {"log_id": f"log_{self._scene.text_id(12)}", "tool_slug": request.tool.slug}
        outcomes: list[dict[str, Any]] = []
        records = []
        for call in calls_of(request):
            if call is not request:
                payload = self._payload(call)
                outcomes.append({"tool_slug": call.tool.slug, **payload})
                log_id = f"log_{self._scene.text_id(12)}"
                records.append(self._entry(call, log_id, parent, payload))
            else:
                payload = self._together(call, outcomes) if call.children else self._payload(call)
                records.append(self._entry(call, parent["log_id"], None, payload))
        return records

    def _payload(self, call: Call) -> dict[str, Any]:
        arguments = call.tool.arguments(self._scene)
        if call.failure is not None:
            host = HOSTS.get(call.tool.toolkit, "backend.composio.dev")
            return {"request": arguments, "response": call.failure.response(self._scene, host)}
        result = call.tool.result(self._scene)
        return {"request": arguments, "response": {"data": result, "error": None, "successful": True}}

    def _together(self, call: Call, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        failed = sum(not outcome["response"]["successful"] for outcome in outcomes)
        return {
            "request": {
                "tools": [{"tool_slug": o["tool_slug"], "arguments": o["request"]} for o in outcomes],
                "thought": call.thought,
                "session_id": self._setting.session_id,
                "sync_response_to_workbench": False,
            },
            "response": {
                "data": {
                    "results": [
                        {
                            "tool_slug": o["tool_slug"],
                            "index": n,
                            "successful": o["response"]["successful"],
                            "error": o["response"]["error"],
                        }
                        for n, o in enumerate(outcomes)
                    ],
                    "total_count": len(outcomes),
                    "success_count": len(outcomes) - failed,
                    "error_count": failed,
                },
                "error": None if call.failure is None else "all tools failed",
                "successful": call.failure is None,
            },
        }

    def _entry(
        self, call: Call, log_id: str, parent: dict[str, str] | None, payload: dict[str, Any]
    ) -> Record:
        rng, setting = self._scene.rng, self._setting
        start, end = self._start_ms + call.start, self._start_ms + call.end
        timestamp_ms = int(end)
        detail: dict[str, Any] = {
            "id": log_id,
            "timestamp": format_time(timestamp_ms),
            "type": TOOL_EXECUTION,
            "status": "success" if call.failure is None else "failed",
            "level": self._level(call),
        }
        message = self._message(call)
        if message:
            detail["message"] = message
        detail["metadata"] = self._metadata(call)
        detail["metrics"] = {"duration_ms": max(1, round(end - start))}
        detail["parent"] = parent
        if rng.random() >= _ABSENT_SHARE:
            detail["timings"] = self._timings(start, end)
        detail["context"] = self._context() if rng.random() >= _ABSENT_SHARE else {}
        detail["source"] = setting.source if rng.random() >= _ABSENT_SHARE else {}
        detail["data"] = payload if setting.keeps_data else {}
        return record_of(detail, timestamp_ms)

    def _timings(self, start: float, end: float) -> dict[str, float]:
        if self._setting.fractional:
            return {"start_time": round(start, 3), "end_time": round(end, 3)}
        return {"start_time": int(start), "end_time": int(end)}

    def _level(self, call: Call) -> str:
        if call.failure is not None:
            return call.failure.level
        return "warn" if any(child.failure for child in call.children) else "info"

    def _message(self, call: Call) -> str:
        if not self._setting.keeps_data:
            return ""
        if call.failure is not None:
            return f"{call.tool.slug} failed: {'all tools failed' if call.children else call.failure.text}"
        failed = sum(child.failure is not None for child in call.children)
        if failed:
            return f"{failed} of {len(call.children)} tools failed"
        return f"{call.tool.slug} completed" if self._setting.tells_success else ""

    def _metadata(self, call: Call) -> dict[str, str]:
        tool, user, directory = call.tool, self._scene.user, self._directory
        metadata = {
            "tool_slug": tool.slug,
            "toolkit_slug": tool.toolkit,
            "user_id": user.user_id,
            "session_id": self._setting.session_id,
            "credential_source": tool.credential_source,
        }
        if tool.credential_source == "connected_account":
            metadata["credential_source"] = directory.credential_source(tool.toolkit)
            metadata["connected_account_id"] = directory.connected_account(user, tool.toolkit)
            metadata["auth_config_id"] = directory.auth_config(tool.toolkit)
        if tool.slug == REMOTE_WORKBENCH:
            metadata["sandbox_id"] = self._setting.sandbox_id
        if tool.charge_usd:
            metadata["instant_charge"] = tool.charge_usd if call.failure is None else "0"
        if tool.toolkit != META_TOOLKIT:
            metadata["toolkit_version"] = _TOOLKIT_VERSION
        return metadata

    def _context(self) -> dict[str, str]:
        context = {"session_id": self._setting.session_id, "request_id": self._request_id}
        if self._setting.trace_id:
            context["trace_id"] = self._setting.trace_id
        return context


def _uuid4_hex(rng: random.Random) -> str:
    return uuid.UUID(int=rng.getrandbits(128), version=4).hex
