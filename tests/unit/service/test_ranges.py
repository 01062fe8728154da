"""What a person may name as a past range."""

from __future__ import annotations

import pytest

from otel_bridge.errors import SettingsError
from otel_bridge.service.ranges import past_range

NOW = 1_776_420_000_000  # 2026-04-17T10:00:00Z
DAY = 86_400_000


def test_ages_and_times_both_do() -> None:
    assert past_range("7d", "1d", NOW) == (NOW - 7 * DAY, NOW - DAY)
    assert past_range("2026-04-16T10:00:00Z", "now", NOW) == (NOW - DAY, NOW)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("1d", "7d", ["--to is '7d'", "before --from '1d'"]),
        ("1d", "1d", ["--to is '1d'", "no length"]),
        ("1d", "2026-04-18", ["--to is '2026-04-18'", "future"]),
        ("2027-01-01", "2027-01-02", ["--from is '2027-01-01'", "future"]),
        ("400d", "1d", ["--from is '400d'", "a year"]),
        ("then", "1d", ["--from is 'then'", "36h"]),
        ("1d", "", ["--to is ''", "36h"]),
    ],
)
def test_a_wrong_range_is_named(start: str, end: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        past_range(start, end, NOW)
    for word in words:
        assert word in str(caught.value)
