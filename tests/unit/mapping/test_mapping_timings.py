"""When a call ran, whatever the record says of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.timings import MAX_NS, TimingSource, read_timing
from otel_bridge.receiver.models import Detail

MS = 1_000_000
AT = "2026-04-17T10:25:00.000Z"
AT_NS = 1776421500000 * MS


def detail(**fields: Any) -> Detail:
    return Detail.of_value({"id": "log_a", **fields})


@pytest.mark.parametrize(
    ("fields", "start", "end", "source", "known"),
    [
        ({"timings": {"start_time": 1000, "end_time": 1200}}, 1000 * MS, 1200 * MS, "timings", True),
        ({"timings": {"start_time": 1000, "end_time": 1000}}, 1000 * MS, 1000 * MS, "timings", True),
        # timings win over everything else
        (
            {
                "timings": {"start_time": 1000, "end_time": 1200},
                "metrics": {"duration_ms": 5},
                "timestamp": AT,
            },
            1000 * MS,
            1200 * MS,
            "timings",
            True,
        ),
        # the end before the start
        (
            {"timings": {"start_time": 1000, "end_time": 900}, "metrics": {"duration_ms": 7}},
            1000 * MS,
            1007 * MS,
            "timings",
            True,
        ),
        ({"timings": {"start_time": 1000, "end_time": 900}}, 1000 * MS, 1000 * MS, "timings", False),
        # one bound
        (
            {"timings": {"start_time": 1000}, "metrics": {"duration_ms": 7}},
            1000 * MS,
            1007 * MS,
            "timings",
            True,
        ),
        (
            {"timings": {"end_time": 1000}, "metrics": {"duration_ms": 7}},
            993 * MS,
            1000 * MS,
            "timings",
            True,
        ),
        ({"timings": {"start_time": 1000}, "timestamp": AT}, 1000 * MS, 1000 * MS, "timings", False),
        ({"timings": {"end_time": 1000}, "timestamp": AT}, 1000 * MS, 1000 * MS, "timings", False),
        # no timings
        ({"timestamp": AT, "metrics": {"duration_ms": 202}}, AT_NS - 202 * MS, AT_NS, "metrics", True),
        ({"timestamp": AT, "metrics": {"duration_ms": "202"}}, AT_NS - 202 * MS, AT_NS, "metrics", True),
        ({"timestamp": AT, "metrics": {"duration_ms": 0}}, AT_NS, AT_NS, "metrics", True),
        ({"timestamp": AT, "timings": {}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT}, AT_NS, AT_NS, "timestamp", False),
        # durations that are none
        ({"timestamp": AT, "metrics": {"duration_ms": -1}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT, "metrics": {"duration_ms": "soon"}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT, "metrics": {"duration_ms": True}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT, "metrics": {"duration_ms": float("nan")}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT, "metrics": {"duration_ms": 10**4400}}, AT_NS, AT_NS, "timestamp", False),
        ({"timestamp": AT, "metrics": {"duration_ms": 9e12}}, AT_NS, AT_NS, "timestamp", False),
        (
            {"timings": {"start_time": 9e12}, "metrics": {"duration_ms": 9e12}},
            9 * 10**18,
            9 * 10**18,
            "timings",
            False,
        ),
        # bounds out of range count as absent
        ({"timings": {"start_time": -5, "end_time": 1000}}, 1000 * MS, 1000 * MS, "timings", False),
        ({"timings": {"start_time": 0, "end_time": 0}, "timestamp": AT}, AT_NS, AT_NS, "timestamp", False),
        (
            {"timings": {"start_time": 1e300, "end_time": 2e300}, "timestamp": AT},
            AT_NS,
            AT_NS,
            "timestamp",
            False,
        ),
        ({"timestamp": "1969-12-31T23:59:59Z"}, 0, 0, "none", False),
        ({"timestamp": "9999-12-31T23:59:59Z"}, 0, 0, "none", False),
        ({"timestamp": "yesterday"}, 0, 0, "none", False),
        ({}, 0, 0, "none", False),
    ],
)
def test_start_and_end(fields: dict[str, Any], start: int, end: int, source: str, *, known: bool) -> None:
    timing = read_timing(detail(**fields))
    assert (timing.start_ns, timing.end_ns, timing.source, timing.duration_known) == (
        start,
        end,
        source,
        known,
    )


@pytest.mark.parametrize(
    ("ms", "ns"),
    [
        (1776421500000.123, 1776421500000123000),
        (1776421499798.5, 1776421499798500000),
        (1776421500000.1, 1776421500000100000),
        (0.1, 100_000),
        (1776421500000, 1776421500000000000),
    ],
)
def test_a_fraction_of_a_millisecond_counts_as_it_is_written(ms: float, ns: int) -> None:
    assert read_timing(detail(timings={"start_time": ms, "end_time": 9e12})).start_ns == ns


numbers = st.none() | st.floats() | st.integers(-(10**30), 10**30) | st.floats(1.7e12, 1.8e12) | st.text()


@given(numbers, numbers, numbers, st.none() | st.text() | st.just(AT) | st.datetimes().map(str))
@settings(max_examples=200, deadline=None)
def test_a_span_never_ends_before_it_starts_nor_leaves_the_range(
    start: object, end: object, duration: object, timestamp: str | None
) -> None:
    timing = read_timing(
        detail(
            timings={"start_time": start, "end_time": end},
            metrics={"duration_ms": duration},
            timestamp=timestamp,
        )
    )
    assert 0 <= timing.start_ns <= timing.end_ns <= MAX_NS
    assert timing.duration_known or timing.start_ns == timing.end_ns
    assert timing.source in TimingSource
