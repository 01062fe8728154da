from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.emulator import LiveSource, generate

START_MS = 1_776_421_500_000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=12), st.integers(0, 5))
def test_how_often_it_is_asked_changes_nothing(steps: list[int], seed: int) -> None:
    asked_once, asked_often = (LiveSource(3, seed, START_MS) for _ in range(2))
    now_ms, found = START_MS, []
    for step in steps:
        now_ms += step
        found += asked_often.advance(now_ms)
    assert found == asked_once.advance(now_ms)


def test_another_start_gives_the_same_entries_at_other_times() -> None:
    now = LiveSource(5, 1, START_MS).advance(START_MS + 60_000)
    later = LiveSource(5, 1, START_MS + 777).advance(START_MS + 60_777)
    assert [record.log_id for record in now] == [record.log_id for record in later]
    assert {later.timestamp_ms - now.timestamp_ms for now, later in zip(now, later, strict=True)} == {777}


@pytest.mark.parametrize("rate", [0.5, 4, 80])
def test_the_rate_is_the_one_asked_for_from_the_start(rate: float) -> None:
    source = LiveSource(rate, 2, START_MS, late_share=0)
    length_s = 1_600 / rate
    halves = [len(source.advance(START_MS + int(length_s * 1000 * part))) for part in (0.5, 1)]
    for count in halves:
        assert count == pytest.approx(rate * length_s / 2, rel=0.15)


def test_every_entry_is_new_and_from_after_the_start() -> None:
    records = LiveSource(20, 1, START_MS).advance(START_MS + 120_000)
    assert all(START_MS < record.timestamp_ms <= START_MS + 120_000 for record in records)
    known = {record.log_id for record in generate(500, 1, START_MS - 60_000, START_MS)}
    ids = {record.log_id for record in records}
    assert len(ids) == len(records)
    assert not ids & known


def test_entries_are_visible_when_they_end_and_a_few_only_later() -> None:
    source = LiveSource(20, 4, START_MS, late_share=0.1, late_ms=(3_000, 9_000))
    delays = []
    for now_ms in range(START_MS, START_MS + 200_000, 100):
        delays += [now_ms - record.timestamp_ms for record in source.advance(now_ms)]
    late = [delay for delay in delays if delay >= 100]
    assert 0.06 < len(late) / len(delays) < 0.14
    assert min(late) >= 3_000
    assert max(late) < 9_100
    assert min(delays) >= 0


def test_no_request_is_there_by_half() -> None:
    records = LiveSource(20, 4, START_MS, late_share=0).advance(START_MS + 300_000)
    details = [json.loads(record.detail) for record in records]
    children = Counter(detail["parent"]["log_id"] for detail in details if detail["parent"])
    parents = [
        d for d in details if d["metadata"].get("tool_slug") == "COMPOSIO_MULTI_EXECUTE_TOOL" and d["data"]
    ]
    assert len(parents) > 100
    for parent in parents:
        assert children[parent["id"]] == parent["data"]["response"]["data"]["total_count"]


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        LiveSource(0, 1, START_MS)
