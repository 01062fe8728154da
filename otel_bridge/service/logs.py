"""The bridge's own log: structured, one event a line, on standard error.

Every event carries a machine-readable ``action``, of those in ``actions``, and plain fields. No event holds a
key, a payload or a record's message. A failure that repeats is summarised, but at debug level, where every
line is written.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from otel_bridge.service.repeats import Repeats
from otel_bridge.telemetry.tracing import current_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGER = logging.getLogger("otel_bridge")
_FIELDS = "fields"


def event(level: int, action: str, message: str, /, **fields: Any) -> None:
    """Write one event.

    Args:
        level: As in ``logging``.
        action: What it is about, for machines: ``window_collected``.
        message: The same for people.
        **fields: Facts: counts, names, times.
    """
    if not _LOGGER.isEnabledFor(level):
        return
    ids = current_ids()
    if ids is not None:
        fields["trace_id"], fields["span_id"] = ids
    _LOGGER.log(level, message, extra={_FIELDS: {"action": action, **fields}})


def set_up(level: str, form: Literal["text", "json"] | None, stream: TextIO | None = None) -> None:
    """Send the log to ``stream`` (standard error), as text on a terminal and as JSON elsewhere."""
    stream = stream or sys.stderr
    chosen = form or ("text" if stream.isatty() else "json")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json() if chosen == "json" else _Text())
    for logger in (_LOGGER, logging.getLogger("opentelemetry")):
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    _LOGGER.filters[:] = [] if level.lower() == "debug" else [Repeats()]
    # The SDK logs a traceback for what it drops; the bridge says itself what is not taken.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for noisy in ("httpx", "httpcore", "grpc", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def tell_repeats() -> None:
    """Write what was held back of repeated failures: before the process ends."""
    for repeats in _LOGGER.filters:
        if isinstance(repeats, Repeats):
            for record in repeats.left():
                _LOGGER.callHandlers(record)


@contextmanager
def also_to(handler: logging.Handler) -> Iterator[None]:
    """Give every event to ``handler`` as well, for as long as the block runs."""
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, _FIELDS, {})
        line = {"time": time, "level": record.levelname.lower(), "message": record.getMessage(), **fields}
        return json.dumps(line, ensure_ascii=False, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = dict(getattr(record, _FIELDS, {}))
        fields.pop("action", None)
        facts = " ".join(f"{key}={_plain(value)}" for key, value in fields.items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}"
        return f"{line}  {facts}" if facts else line


def _plain(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
