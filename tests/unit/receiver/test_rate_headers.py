from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.receiver.rate_headers import (
    MOST_RETRY_AFTER_S,
    RateHeaders,
    read_rate_headers,
    read_retry_after_s,
)

NOW_MS = 1_776_420_000_000  # Fri, 17 Apr 2026 10:00:00 GMT


@pytest.mark.parametrize("make", [httpx.Headers, dict])
def test_the_documented_headers_are_read(make: type) -> None:
    headers = make({"X-RateLimit": "2000", "X-RateLimit-Remaining": "0", "X-RateLimit-Window-Size": "60s"})
    assert read_rate_headers(headers) == RateHeaders(limit=2000, remaining=0, window_s=60.0)


@pytest.mark.parametrize(("text", "window_s"), [("60", 60.0), ("60s", 60.0), ("1m", 60.0), ("1h", 3600.0)])
def test_the_window_is_read_with_and_without_a_unit(text: str, window_s: float) -> None:
    assert read_rate_headers({"x-ratelimit-window-size": text}).window_s == window_s


@pytest.mark.parametrize("text", ["", "many", "1.5", "²", "9" * 5000, "0x10", "--5", "nan"])
def test_a_malformed_header_is_as_good_as_absent(text: str) -> None:
    headers = {"X-RateLimit": text, "X-RateLimit-Remaining": text, "X-RateLimit-Window-Size": "x" + text}
    assert read_rate_headers(headers) == RateHeaders()


@pytest.mark.parametrize("text", ["0", "-5"])
def test_a_limit_that_allows_nothing_is_not_believed_but_nothing_left_is(text: str) -> None:
    headers = {"X-RateLimit": text, "X-RateLimit-Remaining": text, "X-RateLimit-Window-Size": text}
    assert read_rate_headers(headers) == RateHeaders(limit=None, remaining=0, window_s=None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Fri, 17 Apr 2026 10:00:30 GMT", 30.0),
        ("Fri, 17 Apr 2026 10:00:30 -0000", 30.0),
        ("Fri, 17 Apr 2026 09:00:00 GMT", 0.0),
        ("Fri, 17 Apr 2099 10:00:00 GMT", MOST_RETRY_AFTER_S),
        ("86400", MOST_RETRY_AFTER_S),
        ("-3", None),
        ("inf", None),
        ("soon", None),
        ("Fri, 99 Apr 2026 10:00:30 GMT", None),
        ("Fri, 17 Apr 99999999999999999999 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_for_good(text: str, seconds: float | None) -> None:
    assert read_retry_after_s({"Retry-After": text}, NOW_MS) == seconds


def test_no_retry_after_is_none() -> None:
    assert read_retry_after_s(httpx.Headers(), NOW_MS) is None


@given(st.text(max_size=40))
def test_no_header_can_do_harm(text: str) -> None:
    headers = {"x-ratelimit": text, "x-ratelimit-remaining": text, "x-ratelimit-window-size": text}
    read_rate_headers(headers)
    read_retry_after_s({"retry-after": text}, NOW_MS)
