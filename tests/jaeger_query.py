"""Jaeger's query API in its third version: what tests ask of it, and the spans that it answers with.

The third alone: Jaeger 2.20 still has the first for searches too, later ones do not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

SERVICES = "/api/v3/services"
MOST = 1500
_ERROR = 2


@dataclass(frozen=True)
class StoredSpan:
    """A span as Jaeger gives it back; times in nanoseconds, ids in hexadecimal digits.

    Attributes:
        parent_id: Empty for a root.
        resource: The attributes of what made it.
        attributes: What Jaeger marks by itself (``@jaeger@…``) is among them.
        events: Names and attributes; the UI calls them logs.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    failed: bool
    message: str
    resource: dict[str, Any]
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]

    @property
    def service(self) -> str:
        """The service that it is filed under."""
        return str(self.resource["service.name"])

    @property
    def log_id(self) -> str | None:
        """Composio's log that it is made of; none for an application's span."""
        return self.attributes.get("composio.log.id")


def operations_path(service: str) -> str:
    """The names of a service's spans."""
    return f"/api/v3/operations?{urlencode({'service': service})}"


def search_path(service: str, **attributes: str) -> str:
    """Whole traces of the last two days in which a span of this service has these attributes."""
    now = datetime.now(UTC)
    asked = {
        "query.serviceName": service,
        "query.startTimeMin": (now - timedelta(days=2)).isoformat(),
        "query.startTimeMax": (now + timedelta(hours=1)).isoformat(),
        "query.searchDepth": str(MOST),
    }
    if attributes:
        asked["query.attributes"] = json.dumps(attributes)
    return f"/api/v3/traces?{urlencode(asked)}"


def spans_of(answer: dict[str, Any]) -> list[StoredSpan]:
    """Every span of an answer, once for each time that it holds it."""
    return [
        _span(attributes_of(of_resource["resource"].get("attributes", ())), span)
        for of_resource in answer["result"].get("resourceSpans", ())
        for of_scope in of_resource["scopeSpans"]
        for span in of_scope["spans"]
    ]


def _span(resource: dict[str, Any], span: dict[str, Any]) -> StoredSpan:
    status = span.get("status") or {}
    return StoredSpan(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        name=span["name"],
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        failed=status.get("code") == _ERROR,
        message=status.get("message", ""),
        resource=resource,
        attributes=attributes_of(span.get("attributes", ())),
        events=[(each["name"], attributes_of(each.get("attributes", ()))) for each in span.get("events", ())],
    )


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes by their key; one that is there twice fails."""
    found: dict[str, Any] = {}
    for pair in pairs:
        assert pair["key"] not in found, f"{pair['key']} is there twice"
        found[pair["key"]] = _value(pair["value"])
    return found


def _value(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [_value(each) for each in content.get("values", ())]
    return content
