"""One event of the bridge's own log: what the code below `service` writes."""

from __future__ import annotations

import logging
from typing import Any

from otel_bridge.telemetry.tracing import current_ids

LOGGER = logging.getLogger("otel_bridge")
FIELDS = "fields"


def event(level: int, action: str, message: str, /, **fields: Any) -> None:
    """Write one event.

    Args:
        level: As in ``logging``.
        action: What it is about, for machines: ``window_collected``.
        message: The same for people.
        **fields: Facts: counts, names, times.
    """
    if not LOGGER.isEnabledFor(level):
        return
    ids = current_ids()
    if ids is not None:
        fields["trace_id"], fields["span_id"] = ids
    LOGGER.log(level, message, extra={FIELDS: {"action": action, **fields}})
