"""The demo that compose has started, as the tests ask it: the bridge's endpoints, and what Jaeger holds."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from jaeger_query import SERVICES, StoredSpan, search_path, spans_of

if TYPE_CHECKING:
    from docker_engine import Compose


def ask(compose: Compose, path: str, port: str = "OTEL_BRIDGE_PORT") -> tuple[int, Any]:
    """GET; the status and the JSON, whatever the status is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{compose.ports[port]}{path}", timeout=20) as answer:
            return answer.status, as_json(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, as_json(error.read())
    except (OSError, ValueError):
        return 0, None


def as_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def services(compose: Compose) -> list[str]:
    return (ask(compose, SERVICES, "JAEGER_UI_PORT")[1] or {}).get("services") or []


def spans(compose: Compose, service: str) -> list[StoredSpan]:
    """Every span of the traces that the service has a part in."""
    status, answer = ask(compose, search_path(service), "JAEGER_UI_PORT")
    return spans_of(answer) if status == 200 else []


def joined(compose: Compose) -> bool:
    """Whether a tool call of the bridge's stands under a span of the application's, in the app's trace."""
    found = spans(compose, "support-agent")
    of_app = {(span.trace_id, span.span_id) for span in found if span.service == "support-agent"}
    return any((span.trace_id, span.parent_id) in of_app for span in found if span.service == "composio")
