"""Durations are written one way for people, and another way for settings, which read them back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.times import (
    format_duration,
    format_length,
    format_seconds,
    parse_duration_ms,
    setting_of_duration,
)

FOR_PEOPLE = re.compile(r"\d+(\.\d\d)? (d|h|min|s|ms|µs)( \d+ (h|min|s))?")
milliseconds = st.integers(0, 400 * 86_400_000)


@given(milliseconds)
def test_a_duration_for_people_is_numbers_and_units_apart(ms: int) -> None:
    assert FOR_PEOPLE.fullmatch(format_duration(ms))
    assert FOR_PEOPLE.fullmatch(format_length(ms))
    assert FOR_PEOPLE.fullmatch(format_length(ms / 1e6))
    assert FOR_PEOPLE.fullmatch(format_seconds(ms / 1000))


@given(milliseconds)
def test_a_duration_written_for_a_setting_is_read_back_as_it_was(ms: int) -> None:
    assert parse_duration_ms(setting_of_duration(ms)) == ms
    assert " " not in setting_of_duration(ms)


@pytest.mark.parametrize(
    ("seconds", "limit", "measured"),
    [
        (0.00004, "40 µs", "40 µs"),
        (0.3, "300 ms", "300 ms"),
        (1.2, "1.20 s", "1.20 s"),
        (30, "30 s", "30.00 s"),
        (59.999, "59.99 s", "59.99 s"),
        (90.5, "1 min 30 s", "1 min 30 s"),
        (6300, "1 h 45 min", "1 h 45 min"),
    ],
)
def test_a_limit_has_a_fraction_only_where_there_is_one(seconds: float, limit: str, measured: str) -> None:
    assert (format_seconds(seconds), format_length(seconds * 1000)) == (limit, measured)
