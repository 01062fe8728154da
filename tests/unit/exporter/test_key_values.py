"""Attributes are written as protobuf itself writes them, at any length and however often they come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from otel_bridge.exporter import key_values
from otel_bridge.exporter.key_values import EncodingError, KeyValues

SPAN = b"\x4a"
LENGTHS = st.sampled_from([0, 1, 118, 119, 120, 121, 127, 128, 129, 16_382, 16_383, 16_384, 16_400])


def by_protobuf(attributes: dict[str, Any]) -> bytes:
    span = trace_pb2.Span()
    for name, value in attributes.items():
        pair = span.attributes.add()
        pair.key = name
        if isinstance(value, str):
            pair.value.string_value = value
        else:
            pair.value.CopyFrom(common_pb2.AnyValue(int_value=value))
    return span.SerializeToString()


@given(st.lists(st.tuples(LENGTHS, LENGTHS, st.sampled_from(["a", "é", "€", "😀"])), max_size=6))
def test_at_every_length_at_which_the_form_changes(shapes: list[tuple[int, int, str]]) -> None:
    attributes = {"n" * name + str(number): char * text for number, (name, text, char) in enumerate(shapes)}
    encoder = KeyValues(SPAN)
    assert encoder.encode(attributes) == by_protobuf(attributes)
    assert encoder.encode(attributes) == by_protobuf(attributes)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200) | st.integers(-(2**63), 2**63 - 1)))
def test_any_texts_and_numbers(attributes: dict[str, Any]) -> None:
    assert KeyValues(SPAN).encode(attributes) == by_protobuf(attributes)


def test_what_is_remembered_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_values, "_MOST_NAMES", 10)
    encoder = KeyValues(SPAN)
    for number in range(100):
        attributes = {f"composio.metadata.{number}": "x"}
        assert encoder.encode(attributes) == by_protobuf(attributes)
        assert len(encoder._heads) <= 10


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"a": "\ud800"}, UnicodeEncodeError),
        ({"\ud800": "a"}, UnicodeEncodeError),
        ({"a": 2**64}, ValueError),
        ({"a": object()}, EncodingError),
    ],
)
def test_what_can_not_be_written_raises(attributes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        KeyValues(SPAN).encode(attributes)
