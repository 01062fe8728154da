"""What an answer's headers say of the request budget.

Source: the vendor's page on rate limits names ``X-RateLimit`` (the limit), ``X-RateLimit-Remaining``,
``X-RateLimit-Window-Size`` (``60s``) and, on 429, ``Retry-After``. Nobody has promised their form, so a
header that can't be read is as good as absent.
"""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import httpx

from otel_bridge.frozen import value
from otel_bridge.times import parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_RETRY_AFTER_S: Final = 3_600.0
"""No Retry-After is obeyed for longer: one mistaken header must not stop the bridge for good."""

_LIMIT: Final = b"x-ratelimit"
_REMAINING: Final = b"x-ratelimit-remaining"
_WINDOW: Final = b"x-ratelimit-window-size"
_LENGTHS: Final = frozenset(map(len, (_LIMIT, _REMAINING, _WINDOW)))
_MOST_DIGITS: Final = 12


@value(frozen=True, slots=True)
class RateHeaders:
    """The three headers, each None where it is absent or can't be read.

    Attributes:
        limit: Requests that the organisation may send in a window; 1 or more.
        remaining: Requests that it may still send in the current window; 0 or more.
        window_s: The window's length in seconds, from 1 s to an hour.
    """

    limit: int | None = None
    remaining: int | None = None
    window_s: float | None = None


def read_rate_headers(headers: Mapping[str, str]) -> RateHeaders:
    """Read the rate headers of any answer.

    Args:
        headers: ``httpx.Headers``, or a dict whose keys may be in any case.
    """
    limit = remaining = window_s = None
    # One pass over the pairs: three look-ups cost three walks through all of them, for every request.
    for given, text in _pairs(headers):
        if len(given) in _LENGTHS:
            name = given.lower()
            if name == _LIMIT:
                limit = _count(text) or None
            elif name == _REMAINING:
                remaining = _count(text)
            elif name == _WINDOW:
                window_s = _window_s(text)
    return RateHeaders(limit, remaining, window_s)


def read_retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Read ``Retry-After``: seconds, or an HTTP date (RFC 9110, section 10.2.3).

    Args:
        headers: ``httpx.Headers``, or a dict whose keys may be in any case.
        now_ms: What a date is compared with, in ms since the epoch.

    Returns:
        Seconds from now, from 0 to an hour; None where the header is absent or can't be read.
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if text is None:
        return None
    seconds = _seconds(text)
    if seconds is None:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        if moment.tzinfo is None:  # "-0000" says UTC without naming a zone
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - now_ms / 1000
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_S)


def _pairs(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(headers, httpx.Headers):
        return headers.raw
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _count(text: bytes) -> int | None:
    text = text.strip()
    if not text.removeprefix(b"-").isdigit() or len(text) > _MOST_DIGITS:
        return None
    return max(int(text), 0)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


@lru_cache(maxsize=8)  # it is the same in every answer
def _window_s(written: bytes) -> float | None:
    text = written.decode("latin-1")
    seconds = _seconds(text)
    if seconds is None:
        try:
            seconds = parse_duration_ms(text) / 1000
        except (ValueError, OverflowError):
            return None
    return seconds if 1 <= seconds <= MOST_RETRY_AFTER_S else None
