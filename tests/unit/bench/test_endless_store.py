"""The store that makes its records up as they are asked for holds what a real one would."""

from __future__ import annotations

import json

import pytest
from endless_store import EndlessStore

from otel_bridge.emulator.queries import ListQuery, UsageQuery
from otel_bridge.receiver.models import Detail

END_MS = 1_776_420_000_000
RATE = 3.0
COUNT, BLOCK = 600, 200


@pytest.fixture(scope="module")
def store() -> EndlessStore:
    return EndlessStore(COUNT, RATE, END_MS, block=BLOCK, series=2)


def listed(store: EndlessStore, from_ms: int, to_ms: int) -> list[str]:
    found: list[str] = []
    number: int | None = 1
    while number is not None:
        page = store.page(ListQuery(limit=70, page=number, from_ms=from_ms, to_ms=to_ms))
        assert all(from_ms <= each.timestamp_ms < to_ms for each in page.records)
        found += [json.loads(each.entry)["id"] for each in page.records]
        number = page.next_page
    return found


def test_ranges_that_adjoin_show_each_record_once(store: EndlessStore) -> None:
    middle_ms = END_MS - 61_234
    found = listed(store, middle_ms, END_MS) + listed(store, 0, middle_ms)
    assert found == store.log_ids()[::-1]
    assert len(set(found)) == COUNT == len(store)
    assert store.usage(UsageQuery(middle_ms, END_MS)).tool_calls == len(listed(store, middle_ms, END_MS))


def test_a_record_is_the_same_in_the_list_and_by_its_id_with_its_own_times(store: EndlessStore) -> None:
    for record in store.page(ListQuery(limit=100, page=3)).records:
        assert store.get(record.log_id) == record
        detail = Detail.read(record.detail)
        assert detail.id == record.log_id
        assert detail.timestamp_ns == record.timestamp_ms * 1_000_000
        if detail.timings is not None and detail.timings.end_time is not None:
            assert abs(detail.timings.end_time - record.timestamp_ms) < 5_000


def test_parents_are_there(store: EndlessStore) -> None:
    details = [Detail.read(each.detail) for each in map(store.get, store.log_ids()) if each]
    parents = {each.parent_log_id for each in details if each.parent_log_id}
    assert parents
    assert all(store.get(each) for each in parents)


def test_stores_of_other_series_have_other_ids(store: EndlessStore) -> None:
    other = EndlessStore(COUNT, RATE, END_MS, block=BLOCK, series=3)
    assert not set(store.log_ids()) & set(other.log_ids())
    assert all(store.get(each) is None for each in other.log_ids())


def test_blocks_must_be_whole() -> None:
    with pytest.raises(ValueError, match="250 records can't be made of blocks of 200"):
        EndlessStore(250, RATE, END_MS, block=200)
