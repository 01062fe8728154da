"""Any JSON value as an attribute."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.values import (
    MAX_NESTING,
    NAME_BYTES,
    TOO_DEEP,
    attribute_name,
    cut_text,
    flat,
    limited_text,
    nested,
    size_of,
    structured,
)


@pytest.mark.parametrize(
    ("value", "fit"),
    [
        ("plain", "plain"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("a\x00b", "a\ufffdb"),
        ("é\x00", "é\ufffd"),
        (True, True),
        (None, None),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, "-9223372036854775809"),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ([1, "\x00", [math.nan]], [1, "\ufffd", ["NaN"]]),
        ({"a\x00": {"b": 2**70}}, {"a\ufffd": {"b": str(2**70)}}),
        ((1, 2), [1, 2]),
        (date(2026, 4, 17), "2026-04-17"),
    ],
)
def test_what_otlp_can_not_hold_has_a_defined_form(value: object, fit: object) -> None:
    assert structured(value) == fit


def test_an_integer_of_thousands_of_digits_is_written_in_full() -> None:
    assert structured(10**5000) == "1" + "0" * 5000


def test_deep_nesting_is_cut() -> None:
    value: Any = 1
    for _ in range(5000):
        value = {"a": value}
    found: Any = structured(value)
    for _ in range(MAX_NESTING):
        found = found["a"]
    assert found == TOO_DEEP


def test_a_cut_text_says_how_long_it_was() -> None:
    assert cut_text("x" * 3000, 64) == "x" * 44 + "...[cut: 3000 bytes]"
    assert cut_text("x" * 64, 64) == "x" * 64
    assert cut_text("é" * 33, 64) == "é" * 23 + "...[cut: 66 bytes]"
    assert cut_text("é" * 32, 64) == "é" * 32


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120), st.integers(0, 130))
@settings(max_examples=300, deadline=None)
def test_a_cut_text_fits_and_never_splits_a_character(text: str, limit: int) -> None:
    cut = cut_text(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode()) <= limit:
        assert cut == text
    else:
        kept = cut.partition("...[cut: ")[0]
        assert text.startswith(kept)
        assert cut == kept or cut == f"{kept}...[cut: {len(text.encode())} bytes]"


@given(st.text(st.characters()), st.integers(0, 60))
@settings(deadline=None)
def test_limited_text_can_always_be_sent(text: str, limit: int) -> None:
    sent = limited_text(text, limit).encode()
    assert len(sent) <= limit
    assert b"\x00" not in sent


def test_a_simple_attribute_holds_structure_as_json_text() -> None:
    assert flat({"a": [1, None, "é"]}, 2048) == '{"a":[1,null,"é"]}'
    assert flat([math.nan], 2048) == '["NaN"]'
    assert flat("text", 2048) == "text"
    assert flat(5, 2048) == 5
    assert flat({"a": "x" * 100}, 40) == '{"a":"xxxxxxxxxxxxxxx...[cut: 108 bytes]'


def test_a_structured_attribute_keeps_its_structure_while_it_fits() -> None:
    value = {"a": [1, None, {"b": "é"}]}
    assert nested(value, 2048) == value
    assert nested(value, 24) == '{"a":[...[cut: 25 bytes]'
    assert nested(5, 2048) == 5
    assert nested("x" * 100, 40) == "x" * 21 + "...[cut: 100 bytes]"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=15,
)


@given(json_values, st.integers(30, 200))
@settings(max_examples=200, deadline=None)
def test_every_json_value_becomes_one_that_fits(value: object, limit: int) -> None:
    for made in (flat(value, limit), nested(value, limit)):
        if isinstance(made, (dict, list)):
            assert len(json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()) <= limit
        elif isinstance(made, str):
            assert len(made.encode()) <= limit
        else:
            assert size_of(made) == 8


def test_names_are_clean_and_bounded_and_do_not_run_together() -> None:
    assert attribute_name("composio.metadata.", "a key\twith\nspace") == "composio.metadata.a_key_with_space"
    assert attribute_name("composio.metadata.", "") == "composio.metadata._"
    assert attribute_name("composio.metadata.", "\ud800") == "composio.metadata.\ufffd"
    one, other = (attribute_name("composio.metadata.", "é" * 200 + end) for end in "ab")
    assert one != other
    assert len(one.encode()) <= NAME_BYTES


def test_sizes_are_those_of_utf_8() -> None:
    assert (size_of("abc"), size_of("é"), size_of({"a": "é"})) == (3, 2, len('{"a": "\\u00e9"}'))
