"""Repeated failures in the log: the first at once, then one line for all that came in a while."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERIOD_S: Final = 300.0
"""What repeats within so many seconds is one line."""

_MOST_KINDS: Final = 256
_NUMBER: Final = re.compile(r"\d+")


@dataclass(slots=True)
class _Repeat:
    """A kind of line that was written, and how often it came again since."""

    record: logging.LogRecord
    written_s: float
    times: int = 0


class Repeats(logging.Filter):
    """Lets a warning or an error through once in a while, and counts those it holds back.

    Lines are of one kind when they differ in numbers at most.

    Args:
        period_s: What is a while, in seconds.
        now_s: Seconds that only grow.
    """

    def __init__(self, period_s: float = PERIOD_S, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._period_s = period_s
        self._now_s = now_s
        self._kinds: OrderedDict[tuple[str, str], _Repeat] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written now; it says how often it came since the last one."""
        fields = getattr(record, "fields", None)
        if record.levelno < logging.WARNING or fields is None:
            return True
        kind = (fields["action"], _NUMBER.sub("#", record.getMessage()))
        now_s = self._now_s()
        known = self._kinds.get(kind)
        if known is None:
            self._remember(kind, record, now_s)
            return True
        if now_s - known.written_s < self._period_s:
            known.times += 1
            known.record = record
            return False
        if known.times:
            _summarise(record, known.times + 1, now_s - known.written_s)
        self._remember(kind, record, now_s)
        return True

    def left(self) -> Iterator[logging.LogRecord]:
        """What was held back and not told yet, as one line each; nothing of it is told again."""
        now_s = self._now_s()
        while self._kinds:
            _, known = self._kinds.popitem(last=False)
            if known.times:
                _summarise(known.record, known.times, now_s - known.written_s)
                yield known.record

    def _remember(self, kind: tuple[str, str], record: logging.LogRecord, now_s: float) -> None:
        self._kinds[kind] = _Repeat(record, now_s)
        self._kinds.move_to_end(kind)
        while len(self._kinds) > _MOST_KINDS:
            self._kinds.popitem(last=False)


def _summarise(record: logging.LogRecord, times: int, seconds: float) -> None:
    often = "once" if times == 1 else f"{times:,} times"
    record.msg = f"{record.getMessage()} ({often} more in the last {format_seconds(max(1, round(seconds)))})"
    record.args = None
    record.__dict__["fields"] = {
        **record.__dict__["fields"],
        "repeated": times,
        "repeated_over_s": round(seconds, 1),
    }
