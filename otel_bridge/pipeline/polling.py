"""How often a project's live lane looks for new records.

`auto` polls every second while all list requests of the organisation's projects cost little of the share that
the bridge may use; otherwise so seldom that they do, up to every five seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.receiver.budget import Budget

SHORTEST_S: Final = 1.0
LONGEST_S: Final = 5.0
SHARE_FOR_LISTS: Final = 0.05
"""How much of the allowed requests list requests may take."""
_PAGES_WEIGHT: Final = 0.1
_LEAST_FOR_POLLS: Final = 0.5
"""How much of that polls get whatever re-checks need: these come seldom, and several at a time."""


class PollInterval:
    """A fixed interval.

    Args:
        seconds: From the beginning of one poll to that of the next.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @property
    def seconds(self) -> float:
        """From the beginning of one poll to that of the next."""
        return self._seconds

    @property
    def idle_s(self) -> float:
        """How often the other lanes look for something to do."""
        return self._seconds

    def polled(self, pages: int) -> None:
        """A poll has taken so many list requests."""


class AutoPollInterval(PollInterval):
    """An interval that keeps list requests below ``SHARE_FOR_LISTS`` of what the bridge may send.

    Args:
        budget: The organisation's.
    """

    def __init__(self, budget: Budget) -> None:
        super().__init__(SHORTEST_S)
        self._budget = budget
        self._pages = 1.0

    @property
    def seconds(self) -> float:
        """See ``PollInterval``."""
        rate = self._budget.rate
        if rate is None:
            return SHORTEST_S
        lists_a_second = SHARE_FOR_LISTS * rate
        polls_a_second = max(
            lists_a_second - self._budget.other_lists_a_second, lists_a_second * _LEAST_FOR_POLLS
        )
        wanted_s = self._budget.projects * self._pages / polls_a_second
        return max(SHORTEST_S, min(LONGEST_S, wanted_s))

    @property
    def idle_s(self) -> float:
        """See ``PollInterval``."""
        return LONGEST_S

    def polled(self, pages: int) -> None:
        """See ``PollInterval``."""
        self._pages += _PAGES_WEIGHT * (pages - self._pages)
