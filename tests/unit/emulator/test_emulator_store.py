from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.emulator import LogStore, Record, generate, record_of
from otel_bridge.emulator.queries import FILTER_FIELDS, FILTER_OPERATORS, Filter, ListQuery, UsageQuery

END_MS = 1_776_421_500_000
RECORDS = generate(300, 3, END_MS - 60_000, END_MS)
DETAILS = {record.log_id: json.loads(record.detail) for record in RECORDS}


def entry(log_id: str, timestamp_ms: int, **metadata: Any) -> Record:
    return record_of(
        {
            "id": log_id,
            "timestamp": "2026-04-17T10:25:00.000Z",
            "type": "tool.execution",
            "status": "success",
            "level": "info",
            "metadata": metadata,
            "metrics": {},
            "parent": None,
            "context": {},
            "source": {},
            "data": {},
        },
        timestamp_ms,
    )


def pages(store: LogStore, limit: int, **query: Any) -> list[list[str]]:
    found, page_number = [], 1
    while True:
        page = store.page(ListQuery(limit=limit, page=page_number, **query))
        found.append([record.log_id for record in page.records])
        if page.next_page is None:
            return found
        assert page.next_page == page_number + 1
        page_number = page.next_page


def value_in(detail: dict[str, Any], field: str) -> str:
    """Where the JSON that is served has a filter's field, read independently of the store."""
    if field in ("status", "log_id"):
        return str(detail["id" if field == "log_id" else field])
    return str(detail["context" if field == "request_id" else "metadata"].get(field, ""))


def holds(detail: dict[str, Any], condition: Filter) -> bool:
    value = value_in(detail, condition.field)
    return {
        "==": value == condition.value,
        "!=": value != condition.value,
        "contains": condition.value in value,
        "not_contains": condition.value not in value,
    }[condition.operator]


@st.composite
def conditions(draw: st.DrawFn) -> Filter:
    field = draw(st.sampled_from(FILTER_FIELDS))
    value = value_in(DETAILS[draw(st.sampled_from(RECORDS)).log_id], field)
    start = draw(st.integers(0, len(value)))
    part = value[start : draw(st.integers(start, len(value)))]
    return Filter(
        field,
        draw(st.sampled_from(FILTER_OPERATORS)),
        draw(st.sampled_from([value, part, "nothing has this"])),
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(conditions(), max_size=3), st.integers(1, 100), st.sampled_from(["newest", "oldest", "shuffled"])
)
def test_the_pages_of_a_list_are_the_matching_entries_each_once(
    filters: list[Filter], limit: int, order: Any
) -> None:
    found = pages(LogStore(RECORDS, order=order), limit, filters=tuple(filters))
    ids = [log_id for page in found for log_id in page]
    assert sorted(ids) == sorted(i for i, detail in DETAILS.items() if all(holds(detail, f) for f in filters))
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1] or len(found) == 1


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    start=st.integers(-1, 31),
    end=st.integers(-1, 31),
    to_inclusive=st.booleans(),
)
def test_a_time_range_cuts_where_it_says(
    times: list[int], start: int, end: int, *, to_inclusive: bool
) -> None:
    if start > end:
        start, end = end, start
    records = [entry(f"log_{n}", time) for n, time in enumerate(times)]
    store = LogStore(records, to_inclusive=to_inclusive)
    found = {log_id for page in pages(store, 7, from_ms=start, to_ms=end) for log_id in page}
    assert found == {
        record.log_id
        for record in records
        if start <= record.timestamp_ms < end or (to_inclusive and record.timestamp_ms == end)
    }


def test_orders() -> None:
    def times(order: Any) -> list[int]:
        found = LogStore(RECORDS, order=order).page(ListQuery(limit=100)).records
        return [record.timestamp_ms for record in found]

    assert times("newest") == sorted(times("newest"), reverse=True)
    assert times("oldest") == sorted(times("oldest"))
    assert times("shuffled") not in (sorted(times("shuffled")), sorted(times("shuffled"), reverse=True))
    assert times("shuffled") == times("shuffled")


def test_a_new_entry_shifts_the_pages_that_follow() -> None:
    store = LogStore([entry(f"log_{n}", n) for n in range(4)])
    first = [record.log_id for record in store.page(ListQuery(limit=2)).records]
    store.add(entry("log_new", 10))
    second = [record.log_id for record in store.page(ListQuery(limit=2, page=2)).records]
    assert (first, second) == (["log_3", "log_2"], ["log_2", "log_1"])


def test_a_late_entry_takes_its_place_in_time() -> None:
    store = LogStore([entry("log_1", 10), entry("log_3", 30)])
    assert pages(store, 5, from_ms=15, to_ms=25) == [[]]
    store.add(entry("log_2", 20))
    assert pages(store, 5, from_ms=15, to_ms=25) == [["log_2"]]
    assert store.log_ids() == ["log_1", "log_2", "log_3"]
    assert len(store) == 3


def test_an_id_is_there_once() -> None:
    with pytest.raises(ValueError, match="same log id"):
        LogStore([entry("log_1", 1), entry("log_1", 2)])
    store = LogStore([entry("log_1", 1)])
    with pytest.raises(ValueError, match="this log id"):
        store.add(entry("log_1", 2))


def test_many_different_lists_do_not_disturb_each_other() -> None:
    store = LogStore(RECORDS)
    for n in range(50):
        expected = [record.log_id for record in RECORDS if record.timestamp_ms < END_MS - n * 1_000]
        found = [log_id for page in pages(store, 100, from_ms=0, to_ms=END_MS - n * 1_000) for log_id in page]
        assert found == expected[::-1]


def test_usage_adds_charges_exactly_and_leaves_other_types_out() -> None:
    other = entry("log_4", 4, session_id="trs_c")
    store = LogStore(
        [
            entry("log_1", 1, session_id="trs_a", user_id="ada", instant_charge="0.1"),
            entry("log_2", 2, session_id="trs_a", user_id="ada", instant_charge="0.2"),
            entry("log_3", 3, session_id="trs_b", user_id="bo"),
            record_of({**json.loads(other.detail), "type": "trigger.message"}, 4),
            entry("log_5", 5),
        ]
    )
    everything = store.usage(UsageQuery(0, 10))
    assert (everything.tool_calls, everything.sessions, everything.instant_charge) == (4, 2, Decimal("0.3"))
    assert store.usage(UsageQuery(1, 3)).tool_calls == 2
    assert store.usage(UsageQuery(0, 10, user_ids=("bo",))).tool_calls == 1
    assert store.usage(UsageQuery(0, 10, session_ids=("trs_a",))).tool_calls == 2


def test_a_text_that_is_no_unicode_is_served_escaped() -> None:
    record = entry("log_1", 1, user_id="\ud800 é")
    assert json.loads(record.detail)["metadata"]["user_id"] == "\ud800 é"
    assert b"\\ud800" in record.entry
