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
from typing import TYPE_CHECKING, Literal, TextIO

from otel_bridge.service.repeats import Repeats
from otel_bridge.telemetry.events import FIELDS, LOGGER, event

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["also_to", "event", "set_up", "tell_repeats"]


def set_up(level: str, form: Literal["text", "json"] | None, stream: TextIO | None = None) -> None:
    """Send the log to ``stream`` (standard error), as text on a terminal and as JSON elsewhere."""
    stream = stream or sys.stderr
    chosen = form or ("text" if stream.isatty() else "json")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json() if chosen == "json" else _Text())
    for logger in (LOGGER, logging.getLogger("opentelemetry")):
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    LOGGER.filters[:] = [] if level.lower() == "debug" else [Repeats()]
    # The SDK logs a traceback for what it drops; the bridge says itself what is not taken.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for noisy in ("httpx", "httpcore", "grpc", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def tell_repeats() -> None:
    """Write what was held back of repeated failures: before the process ends."""
    for repeats in LOGGER.filters:
        if isinstance(repeats, Repeats):
            for record in repeats.left():
                LOGGER.callHandlers(record)


@contextmanager
def also_to(handler: logging.Handler) -> Iterator[None]:
    """Give every event to ``handler`` as well, for as long as the block runs."""
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, FIELDS, {})
        line = {"time": time, "level": record.levelname.lower(), "message": record.getMessage(), **fields}
        return json.dumps(line, ensure_ascii=False, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = dict(getattr(record, FIELDS, {}))
        fields.pop("action", None)
        facts = " ".join(f"{key}={_plain(value)}" for key, value in fields.items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}"
        return f"{line}  {facts}" if facts else line


def _plain(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
