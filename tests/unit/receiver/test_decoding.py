from __future__ import annotations

import contextlib
import json
import math
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_bridge.receiver.decoding import UndecodableBody, WrongShape, decode_value
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.receiver.nesting import MAX_DEPTH, TOO_DEEP, cut, is_deeper
from otel_bridge.receiver.page import read_page

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats()
    | st.text()
    | st.text(alphabet='"\\[]{}ab\n')
    | st.text(alphabet=st.characters(codec=None), max_size=5)  # lone surrogates too
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=25,
)
FIELDS = ["timestamp", "type", "status", "level", "message", "metadata", "metrics", "parent"]
FIELDS += ["timings", "context", "source", "data", "something_new"]
odd_details = st.fixed_dictionaries(
    {"id": st.text("abc_-", min_size=1)},
    optional=dict.fromkeys(FIELDS, json_values)
    | {
        "parent": st.dictionaries(st.sampled_from(["log_id", "tool_slug", "x"]), json_values),
        "timings": st.dictionaries(st.sampled_from(["start_time", "end_time"]), json_values),
        "context": st.dictionaries(st.sampled_from(["session_id", "trace_id", "request_id"]), json_values),
    },
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def said_by(detail: Detail) -> str:
    """All that a detail says, NaN included, which equals nothing."""
    return repr([getattr(detail, name) for name in (*FIELDS[:-1], "id")])


@settings(max_examples=150, deadline=None)
@given(odd_details, st.booleans())
def test_both_paths_make_the_same_of_whatever_json_can_write(
    detail: dict[str, Any], ascii_only: bool
) -> None:
    body = json.dumps(detail, ensure_ascii=ascii_only).encode("utf-8", "replace")
    tolerant = Detail.of_value(decode_value(body))
    assert said_by(Detail.read(body)) == said_by(tolerant)
    (listed,) = read_page(b'{"logs": [%b]}' % body).entries
    assert isinstance(listed, Detail)
    assert said_by(listed) == said_by(tolerant)
    (entry,) = read_page(b'{"logs": [%b]}' % body, whole=False).entries
    assert said_by(Detail.of(entry)) == said_by(Detail.of(Entry.of_value(decode_value(body))))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text('{}[]",:\\u0d8e1-NIn \n').map(str.encode))
@example(b'[1,"\\')
@example(b"[" * 100_000)
@example(b"[" * 70 + b'"' + b'\\"' * 50_000)
def test_no_bytes_raise_anything_but_what_is_declared(body: bytes) -> None:
    with contextlib.suppress(UndecodableBody):
        decode_value(body)
    for read in (Detail.read, read_page, partial(read_page, whole=False)):
        with contextlib.suppress(UndecodableBody, WrongShape):
            read(body)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text('{}[]",:\\u0d8e1-NIn \n').map(str.encode)
    | json_values.map(json.dumps).map(str.encode)
)
@example(b'"\xff\\ud800"')
@example(nested(1000))
def test_data_that_is_kept_unread_is_read_later_as_it_would_have_been_at_once(data: bytes) -> None:
    body = b'{"id": "a", "data": %b}' % data
    try:
        at_once = decode_value(body)
    except UndecodableBody:
        with pytest.raises(UndecodableBody):
            Detail.read(body)
    else:
        assert repr(Detail.read(body).data) == repr(at_once["data"])


@settings(max_examples=150, deadline=None)
@given(json_values, st.integers(0, 6))
def test_depth_is_measured_as_a_parser_would_and_cut_to_the_bound(value: Any, most: int) -> None:
    text = json.dumps(value)
    assert is_deeper(text.encode(), most) == (depth_of(value) > most)
    cut_value = json.loads(cut(text, most))
    assert depth_of(cut_value) == min(depth_of(value), most)
    if depth_of(value) <= most:
        assert repr(cut_value) == repr(json.loads(text))


def test_a_record_nested_too_deep_survives_without_its_depths() -> None:
    body = b'{"id": "log_1", "message": "]}\\"", "data": {"a": ' + nested(100_000) + b', "b": 1}}'
    detail = Detail.read(body)
    assert detail.message == ']}"'
    assert detail.data["b"] == 1
    innermost = detail.data["a"]
    for _ in range(MAX_DEPTH - 3):  # the record and its data are two levels, the innermost list is the last
        (innermost,) = innermost
    assert innermost == [TOO_DEEP]


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH])
def test_the_bound_is_the_same_however_the_record_is_read(levels: int) -> None:
    data = Detail.read(b'{"id": "a", "data": ' + nested(levels) + b"}").data
    assert (TOO_DEEP in repr(data)) == (levels == MAX_DEPTH)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'"caf\xe9"', "caf\ufffd"),
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'{"\\udc00": ["\\uDBFF"]}', {"\ufffd": ["\ufffd"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"1" + b"0" * 4000, 10**4000),
        (b"-" + b"1" * 5000, "-" + "1" * 5000),
        (b"Infinity", math.inf),
        (b"-1e999", -math.inf),
        (b'"line\nbreak"', "line\nbreak"),
        (b'"nul\\u0000"', "nul\0"),
        (b'{"k": 1, "k": 2}', {"k": 2}),
        (b'{"k": 1, "k": 2, "z": "\\ud800"}', {"k": 2, "z": "\ufffd"}),
    ],
)
def test_hostile_values_have_a_defined_outcome(data: bytes, expected: Any) -> None:
    assert Detail.read(b'{"id": "log_1", "data": ' + data + b"}").data == expected


def test_nan_is_kept_as_a_float() -> None:
    assert math.isnan(Detail.read(b'{"id": "log_1", "data": NaN, "x": "\\ud800"}').data)


def test_a_byte_order_mark_is_left_out() -> None:
    assert Detail.read(b'\xef\xbb\xbf{"id": "log_1"}').id == "log_1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html><body>502</body></html>", "HTML"),
        (b'{"id": "log_1", "da', "ends too early, after 19 bytes"),
        (b'{"id": "log_1",', "ends too early"),
        (b'{"id": secret}', "no JSON from character 7"),
        (b'{"id": "log_1"} trailing', "no JSON from character 16"),
        (b'{"a": ' + b"[" * 1000, "ends too early, after 1006 bytes"),
    ],
)
def test_what_is_no_json_is_said_in_words_without_its_content(body: bytes, words: str) -> None:
    with pytest.raises(UndecodableBody, match=words) as caught:
        Detail.read(body)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"message": "secret"}', "id: missing"),
        (b'{"id": ["secret"]}', "id: not text"),
        (b'{"id": ""}', "id: empty"),
    ],
)
def test_json_of_another_shape_is_named_by_its_field_alone(body: bytes, words: str) -> None:
    with pytest.raises(WrongShape, match=words) as caught:
        Detail.read(body)
    assert "secret" not in str(caught.value)


def page_of(*elements: str, cursor: str = "null") -> bytes:
    return f'{{"logs": [{",".join(elements)}], "next_cursor": {cursor}}}'.encode()


def test_one_bad_element_does_not_cost_the_page() -> None:
    page = read_page(
        page_of('{"id": "log_1"}', '"text"', '{"message": "secret"}', '{"id": ""}', '{"id": 7}', cursor='"c"')
    )
    assert [entry.id for entry in page.entries] == ["log_1", "7"]
    assert [(bad.index, bad.log_id) for bad in page.unreadable] == [(1, None), (2, None), (3, None)]
    assert page.unreadable[1].reason == "it is no log entry (id: missing)"
    assert page.next_cursor == "c"


def test_an_unreadable_element_is_named_by_its_id_where_it_has_one() -> None:
    (bad,) = read_page(page_of(json.dumps({"id": "x" * 2049}))).unreadable
    assert bad.log_id == "x" * 2049
    assert bad.reason == "it is no log entry (id: longer than 2,048 characters)"
    assert read_page(page_of(json.dumps({"id": "x" * 2048}))).entries


def test_bytes_that_are_no_utf8_in_one_entry_do_not_cost_the_page() -> None:
    page = read_page(b'{"logs": [{"id": "log_1", "message": "\xff"}, {"id": "log_2"}], "next_cursor": null}')
    assert [entry.message for entry in page.entries if isinstance(entry, Detail)] == ["\ufffd", None]


@pytest.mark.parametrize(("cursor", "read"), [("null", None), ('""', None), ('"eyJ"', "eyJ"), ("2", "2")])
def test_the_cursor_is_opaque_text(cursor: str, read: str | None) -> None:
    assert read_page(page_of(cursor=cursor)).next_cursor == read


@pytest.mark.parametrize("cursor", ['{"page": 2}', "true", "1.5", "[]"])
def test_a_cursor_that_cannot_be_read_is_not_taken_for_the_end(cursor: str) -> None:
    with pytest.raises(WrongShape, match="next_cursor"):
        read_page(page_of('{"id": "log_1"}', cursor=cursor))
    with pytest.raises(WrongShape, match="next_cursor"):
        read_page(page_of("0", cursor=cursor))


def test_a_page_without_a_cursor_is_the_last() -> None:
    assert read_page(b'{"logs": []}').next_cursor is None


@pytest.mark.parametrize("body", [b"{}", b'{"logs": null}', b'{"logs": {}}', b'{"error": {"message": "x"}}'])
def test_json_that_is_no_page_is_no_empty_page(body: bytes) -> None:
    with pytest.raises(WrongShape, match="logs"):
        read_page(body)
