from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from otel_bridge.receiver.decoding import WrongShape
from otel_bridge.receiver.models import (
    Detail,
    Entry,
    Filter,
    ParentRef,
    UsageSummary,
    ms_to_ns,
    read_timestamp_ns,
)
from otel_bridge.receiver.page import read_page


def detail_of(**fields: Any) -> Detail:
    return Detail.read(json.dumps({"id": "log_1", **fields}).encode())


EMPTY: dict[str, Any] = {
    "timestamp": None,
    "type": None,
    "status": None,
    "level": None,
    "message": None,
    "metadata": {},
    "metrics": {},
    "parent": None,
    "timings": None,
    "context": None,
    "source": None,
    "data": None,
}


@pytest.mark.parametrize("field", [name for name in EMPTY if name != "data"])
@pytest.mark.parametrize("value", [None, True, [1], {}, "text", 5])
def test_a_field_absent_null_or_of_another_type_never_costs_the_record(field: str, value: Any) -> None:
    assert getattr(detail_of(), field) == EMPTY[field]
    read = detail_of(**{field: value})
    empty = EMPTY[field]
    if isinstance(empty, dict) or field in {"parent", "timings", "context", "source"}:
        assert (getattr(read, field) == empty) == (value != {} or empty == {})
    else:
        assert getattr(read, field) == {"text": "text", 5: "5"}.get(
            value if isinstance(value, str | int) else ""
        )
    assert (read.id, read.tool_slug, read.parent_log_id) == ("log_1", None, None)


def test_empty_context_source_and_data_are_read_as_what_they_are() -> None:
    detail = detail_of(context={}, source={}, data={})
    assert detail.context is not None
    assert detail.context.trace_id is None
    assert detail.source is not None
    assert detail.source.host is None
    assert detail.data == {}


def test_unknown_keys_change_nothing_and_those_of_metadata_are_kept() -> None:
    new = {"new": 1, "context": {"trace_id": "t", "x": 1}, "metadata": {"other": [1]}, "parent": {"x": 1}}
    known = {"context": {"trace_id": "t"}, "metadata": {"other": [1]}, "parent": {}}
    assert replace(detail_of(**new), body_bytes=0) == replace(detail_of(**known), body_bytes=0)
    assert Detail.of_value({"id": "log_1", **new}) == Detail.of_value({"id": "log_1", **known})


@pytest.mark.parametrize(
    ("start", "read"),
    [(1.5, 1.5), ("1.5", 1.5), ("soon", None), (True, None), (float("inf"), None), ([], None)],
)
def test_timings_are_finite_numbers_or_none(start: Any, read: float | None) -> None:
    timings = detail_of(timings={"start_time": start, "end_time": 10**400}).timings
    assert timings is not None
    assert timings.start_time == read
    assert timings.end_time is None


@pytest.mark.parametrize("bad", [None, True, 1.5e400, [], {}, "", "x" * 2049])
def test_an_id_is_text(bad: Any) -> None:
    value = {"id": bad} if bad != 1.5e400 else {}
    with pytest.raises(WrongShape, match="id: "):
        Detail.of_value(value)
    with pytest.raises(WrongShape, match="id: "):
        Detail.read(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"tool_slug": "GMAIL_SEND_EMAIL"}, "GMAIL_SEND_EMAIL"),
        ({"tool": "GMAIL_SEND_EMAIL"}, "GMAIL_SEND_EMAIL"),
        ({"tool": {"slug": "A_B", "name": "x"}}, "A_B"),
        ({"tool_slug": {"slug": "A_B"}, "toolkit_slug": ""}, "A_B"),
        ({"tool_slug": None, "tool": "A_B"}, "A_B"),
        ({"tool_slug": "", "tool": "A_B"}, "A_B"),
        ({"tool": {"slug": 7}}, None),
        ({}, None),
    ],
)
def test_slugs_are_found_in_every_form_that_was_seen(metadata: dict[str, Any], tool: str | None) -> None:
    assert detail_of(metadata=metadata).tool_slug == tool


def test_an_entry_that_names_no_type_is_a_tool_call() -> None:
    assert detail_of().is_tool_execution
    assert detail_of(type="tool.execution").is_tool_execution
    assert not detail_of(type="trigger.message").is_tool_execution


def test_the_parents_id_is_text_or_none() -> None:
    assert detail_of(parent={"log_id": "log_0"}).parent_log_id == "log_0"
    assert detail_of(parent={"log_id": ""}).parent_log_id is None


def test_an_entry_becomes_a_detail_with_what_is_known_of_it() -> None:
    entry = Entry("log_1", "2026-04-17T10:25:00Z", "trigger.message", "failed", ParentRef("log_0"))
    detail = Detail.of(entry)
    assert (detail.id, detail.timestamp_ns, detail.status) == ("log_1", entry.timestamp_ns, "failed")
    assert detail.parent_log_id == "log_0"
    assert not detail.is_tool_execution
    assert Detail.of(detail) is detail


def test_as_listed_a_detail_is_without_what_a_list_does_not_show() -> None:
    full = {"message": "m", "metadata": {"a": 1}, "metrics": {"b": 2}, "parent": {"log_id": "log_0"}}
    hidden = {"timings": {"start_time": 1}, "context": {"trace_id": "t"}, "source": {}, "data": {"x": 1}}
    assert detail_of(**full, **hidden).as_listed == replace(detail_of(**full), body_bytes=0)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("7", "7"),
        ("7.0", "7"),
        ("1.50", "1.5"),
        ("1e22", "1" + "0" * 22),
        ("1e-7", "0.0000001"),
        ("-0.0", "-0"),
        ("9" * 5000, "9" * 5000),
        ("NaN", "NaN"),
        ("-1e999", "-inf"),
        ("true", None),
        ("[]", None),
    ],
)
def test_a_number_where_text_belongs_is_taken_as_it_would_be_written(written: str, text: str | None) -> None:
    assert Detail.read(b'{"id": "a", "message": %b}' % written.encode()).message == text


def test_the_size_of_the_body_comes_from_the_body_and_from_no_key() -> None:
    body = b'{"id": "log_1", "": 12345, "body_bytes": 12345}'
    assert Detail.read(body).body_bytes == len(body)
    page = read_page(b'{"logs": [%b]}' % body)
    assert [each.body_bytes for each in page.entries if isinstance(each, Detail)] == [0]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-04-17T10:25:00.000Z", 1_776_421_500_000_000_000),
        ("2026-04-17T12:25:00.000+02:00", 1_776_421_500_000_000_000),
        ("2026-04-17 10:25:00", 1_776_421_500_000_000_000),
        ("2026-04-17t10:25:00z", 1_776_421_500_000_000_000),
        ("  2026-04-17T10:25:00Z\n", 1_776_421_500_000_000_000),
        ("2026-04-17T10:25:00.123456789Z", 1_776_421_500_123_456_000),
        ("1776421500000", 1_776_421_500_000_000_000),
        ("1776421500000.25", 1_776_421_500_000_250_000),
        ("1704120112345", 1_704_120_112_345_000_000),  # datetime.fromisoformat reads the year 1704
        ("1e300", None),
        ("1" * 400, None),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000_000_000),
        ("9999-12-31T23:59:59-14:00", 253_402_351_199_000_000_000),
        ("2026-02-30T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_iso_8601_or_ms_and_anything_else_is_none(text: str | None, ns: int | None) -> None:
    assert read_timestamp_ns(text) == ns
    assert detail_of(timestamp=text).timestamp_ns == ns


@given(st.text(max_size=30) | st.text("0123456789-+:.TZe", max_size=30))
def test_no_text_can_do_harm_as_a_time(text: str) -> None:
    read_timestamp_ns(text)


@given(st.integers(10**8, 10**13) | st.integers(-(10**13), -(10**8)))
def test_whole_ms_stay_exact(ms: int) -> None:
    assert ms_to_ns(float(ms)) == ms * 1_000_000
    assert read_timestamp_ns(str(ms)) == ms * 1_000_000


@pytest.mark.parametrize(
    ("entities", "count"),
    [
        ({"tool_calls": {"unit": "calls", "total_quantity": "12.5", "event_count": 12}}, 12),
        ({"tool_calls": {"event_count": "12"}}, 12),
        ({"tool_calls": {"event_count": None}}, None),
        ({"tool_calls": []}, None),
        ([], None),
    ],
)
def test_the_usage_summary_counts_or_says_nothing(entities: Any, count: int | None) -> None:
    assert (
        UsageSummary.read(json.dumps({"entities": entities, "instant_charge": "0"}).encode()).tool_calls
        == count
    )


def test_filters_are_held_to_the_documented_fields_and_operators() -> None:
    assert Filter(field="status", operator="==", value="failed").model_dump() == {
        "field": "status",
        "operator": "==",
        "value": "failed",
    }
    with pytest.raises(ValidationError):
        Filter.model_validate({"field": "entity_id", "operator": "==", "value": "x"})
    with pytest.raises(ValidationError):
        Filter.model_validate({"field": "status", "operator": "like", "value": "x"})
