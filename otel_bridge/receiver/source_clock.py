"""What time it is where the records are made, as far as the source's answers tell.

Windows are stretches of the source's time. A machine whose clock runs ahead would close a window before its
records are there; the ``Date`` of the answers shows it.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.times import Clock

_MS_PER_S: Final = 1000
# A Date has whole seconds, and an answer takes its time: less than this says nothing.
_LEAST_AHEAD_MS: Final = 2_000
# A difference beyond a day is more likely a Date that is wrong than a clock that is.
_MOST_AHEAD_MS: Final = 86_400_000


class SourceClock:
    """The machine's clock, held back where it runs ahead of the source's.

    Args:
        clock: The machine's. Between two answers its monotonic time goes on, which knows nothing of jumps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: tuple[int, float] | None = None

    def hear(self, date: str | None) -> None:
        """Take the ``Date`` header of an answer; what is none is left out."""
        if date is None:
            return
        try:
            moment = parsedate_to_datetime(date)
        except ValueError:
            return
        # The second that it names may be almost over.
        self._heard = (round(moment.timestamp() + 1) * _MS_PER_S, self._clock.monotonic_s())

    def now_ms(self) -> int:
        """Milliseconds since the epoch: not later than the source's own time, give or take two seconds."""
        local_ms = self._clock.now_ms()
        ahead_ms = self.ahead_ms()
        if ahead_ms is not None and _LEAST_AHEAD_MS < ahead_ms < _MOST_AHEAD_MS:
            return local_ms - ahead_ms
        return local_ms

    def ahead_ms(self) -> int | None:
        """How far the machine's clock is ahead of the source's, in ms, give or take a second or two.

        Negative where it is behind. None where no answer has had a Date.
        """
        if self._heard is None:
            return None
        then_ms, heard_s = self._heard
        source_ms = then_ms + round((self._clock.monotonic_s() - heard_s) * _MS_PER_S)
        return self._clock.now_ms() - source_ms
