"""Durations and points in time as people write them, and the clock as the program sees it."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Protocol

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_FOR_PEOPLE = {"m": "min"}
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
    """Write a duration for people: two units at most, such as ``1 h 30 min``, ``5 s`` or ``250 ms``."""
    return " ".join(f"{count} {_FOR_PEOPLE.get(unit, unit)}" for count, unit in _parts(ms)[:2])


def format_length(ms: float) -> str:
    """Write a measure for people: as ``format_duration``, finer below a minute (``1.20 s``, ``40 µs``)."""
    if 0 < ms < 1:
        return f"{int(ms * 1000)} µs"
    if _UNITS_MS["s"] <= ms < _UNITS_MS["m"]:
        return f"{int(ms / 10) / 100:.2f} s"
    return format_duration(max(int(ms), 0))


def format_seconds(seconds: float) -> str:
    """Write a time limit or a wait for people: as ``format_duration``, with its fraction where it has one."""
    ms = seconds * _UNITS_MS["s"]
    return format_length(ms) if ms % _UNITS_MS["s"] else format_duration(int(ms))


def setting_of_duration(ms: int) -> str:
    """Write a duration as a setting takes it, whole: ``1h30m``, ``5s`` or ``250ms``."""
    short = "".join(f"{count}{unit}" for count, unit in _parts(ms)[:2]) if ms else "0s"
    return short if parse_duration_ms(short) == ms else f"{ms}ms"


def _parts(ms: int) -> list[tuple[int, str]]:
    """A duration in days, hours, minutes and seconds, those that are not 0; in ms below a second."""
    if ms < _UNITS_MS["s"]:
        return [(ms, "ms")]
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, ms = divmod(ms, _UNITS_MS[unit])
        if count:
            parts.append((count, unit))
    return parts


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
