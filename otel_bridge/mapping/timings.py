"""When a call ran: start and end in ns since the epoch, and where they come from.

Composio does not say whether ``timestamp`` is the start, the end or the insertion of a row. Rows appear on
completion, so it is taken as the end.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.frozen import value

if TYPE_CHECKING:
    from otel_bridge.receiver.models import Detail

MAX_NS: Final = 2**63 - 1
"""The last ns that fits a signed 64-bit number, in 2262: OTLP's field is unsigned, backends' are not."""

_NS_PER_MS: Final = 1_000_000
_TOLD_APART_US: Final = 2**42 * 1000
_MAX_MS: Final = MAX_NS // _NS_PER_MS


class TimingSource(StrEnum):
    """What ``composio.timing.source`` says."""

    TIMINGS = "timings"
    METRICS = "metrics"
    TIMESTAMP = "timestamp"
    NONE = "none"


@value(frozen=True, slots=True)
class Timing:
    """A stretch of time; ``end_ns >= start_ns`` always.

    Attributes:
        start_ns: Start, in ns since the epoch.
        end_ns: End, in ns since the epoch.
        source: Where they come from.
        duration_known: False where only a point in time is known, so that its length 0 means nothing.
    """

    start_ns: int
    end_ns: int
    source: TimingSource
    duration_known: bool


def read_timing(record: Detail) -> Timing:
    """Decide when a call ran.

    ========================================  ==============================================  ===========
    what is there                             start and end                                   source
    ========================================  ==============================================  ===========
    ``timings`` with both bounds              as they are                                     timings
    the same, but the end before the start    the end is not believed: as with a start alone  timings
    ``timings.start_time`` alone              from it for ``duration_ms``, else a point       timings
    ``timings.end_time`` alone                ``duration_ms`` before it, else a point         timings
    ``timestamp`` and ``metrics.duration_ms`` the timestamp is the end                        metrics
    ``timestamp`` alone                       a point                                         timestamp
    nothing                                   a point at 0, which is OTLP's "unknown"         none
    ========================================  ==============================================  ===========

    A bound at 0 or before, or after the year 2262, or not finite, counts as absent; so does a duration that
    is negative, not a number, or leads out of that range. What lies below a ns is dropped; a fraction of
    ms counts as it is written, not as a float computes.
    """
    duration = _duration_ns(record.metrics.get("duration_ms"))
    timings = record.timings
    start = end = None
    if timings is not None:
        start, end = _moment_ns(timings.start_time), _moment_ns(timings.end_time)
    if start is not None:
        if end is not None and end >= start:
            return Timing(start, end, TimingSource.TIMINGS, duration_known=True)
        if duration is not None and start + duration <= MAX_NS:
            return Timing(start, start + duration, TimingSource.TIMINGS, duration_known=True)
        return Timing(start, start, TimingSource.TIMINGS, duration_known=False)
    source = TimingSource.TIMINGS
    if end is None:
        source = TimingSource.METRICS
        end = timestamp_ns(record)
    if end is None:
        return Timing(0, 0, TimingSource.NONE, duration_known=False)
    if duration is not None and duration < end:
        return Timing(end - duration, end, source, duration_known=True)
    if source is TimingSource.METRICS:
        source = TimingSource.TIMESTAMP
    return Timing(end, end, source, duration_known=False)


def timestamp_ns(record: Detail) -> int | None:
    """The entry's own time in ns since the epoch, or None where it has none within the range."""
    ns = record.timestamp_ns
    return ns if ns is not None and 0 < ns <= MAX_NS else None


def _moment_ns(ms: float | None) -> int | None:
    if ms is None:
        return None
    ns = _to_ns(ms)
    return ns or None


def _duration_ns(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return _to_ns(value)


def _to_ns(ms: float) -> int | None:
    if not 0 <= ms <= _MAX_MS:  # which NaN is not, either
        return None
    if isinstance(ms, int) or ms.is_integer():
        return int(ms) * _NS_PER_MS
    # Up to here no two numbers of whole µs are the same float.
    us = round(ms * 1000)
    if us < _TOLD_APART_US and us / 1000 == ms:
        return us * 1000
    # repr is the shortest decimal that gives this float: what the source wrote.
    return int(Decimal(repr(ms)) * _NS_PER_MS)
