"""Durations and points in time as people write them, and the clock as the program sees it."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Protocol

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_DURATION = re.compile(rf"^(?:{_PART.pattern}\s*)+$")
DURATION_FORM = "a duration such as 5s, 2m, 1h30m or 7d"
TIME_FORM = "a time such as 2026-04-17T10:00:00Z, or an age such as 36h or 7d"


def parse_duration_ms(text: str) -> int:
    """Read a duration such as ``5s``, ``1h30m`` or ``250ms``.

    Returns:
        Milliseconds, 0 or more.

    Raises:
        ValueError: The text is no duration.
    """
    text = text.strip().lower()
    if not _DURATION.match(text):
        raise ValueError(DURATION_FORM)
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text)))


def parse_time_ms(text: str, now_ms: int) -> int:
    """Read an ISO 8601 time or an age before now. A time without a zone is UTC.

    Returns:
        Milliseconds since the epoch.

    Raises:
        ValueError: The text is neither.
    """
    text = text.strip()
    try:
        return now_ms - parse_duration_ms(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(TIME_FORM) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_duration(ms: int) -> str:
    """Write a duration for people: two units at most, such as ``1h 30m``, ``5s`` or ``250ms``."""
    if ms < 1000:  # noqa: PLR2004 - a second in ms
        return f"{ms}ms"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, ms = divmod(ms, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def format_time(ms: int) -> str:
    """Write a point in time as ISO 8601 UTC with milliseconds."""
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms since the epoch"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock(Protocol):
    """The one place where the program reads the time or sleeps, so that tests can simulate both."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
