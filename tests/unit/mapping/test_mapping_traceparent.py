"""The W3C traceparent, to the letter of its specification."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.mapping.traceparent import Traceparent, parse_traceparent, traceparent_fault

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def hexes(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=length, max_size=length)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (GOOD, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-00-what the future will be like", False),
        (f"fe-{TRACE}-{SPAN}-01-", True),
    ],
)
def test_it_is_read(text: str, sampled: bool) -> None:
    assert parse_traceparent(text) == Traceparent(bytes.fromhex(TRACE), bytes.fromhex(SPAN), sampled)
    assert traceparent_fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "takes 00-"),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "takes 00-"),
        (GOOD[:-1], "takes 00-"),
        (GOOD + "1", "takes 00-"),
        (GOOD + "-", "takes 00-"),
        (GOOD + "-more", "takes 00-"),
        (f"01-{TRACE}-{SPAN}-01.more", "takes 00-"),
        (f"01-{TRACE}-{SPAN}-011", "takes 00-"),
        (GOOD + "\n", "takes 00-"),
        (" " + GOOD, "takes 00-"),
        (GOOD.replace("-", "_"), "takes 00-"),
        (GOOD.replace("4b", "4g"), "takes 00-"),
        (GOOD.replace("4", "٤"), "takes 00-"),  # a digit to Python, not to W3C
        (GOOD.replace("4b", "4B"), "upper case is not allowed"),
        (f"ff-{TRACE}-{SPAN}-01", "version ff is not allowed"),
        (f"FF-{TRACE}-{SPAN}-01", "upper case is not allowed"),
        (f"00-{'0' * 32}-{SPAN}-01", "its trace id is all zero"),
        (f"00-{TRACE}-{'0' * 16}-01", "its span id is all zero"),
        ("00-" * 5000, "takes 00-"),
    ],
)
def test_anything_else_is_none_and_the_fault_is_named(text: str, fault: str) -> None:
    assert parse_traceparent(text) is None
    said = traceparent_fault(text)
    assert said is not None
    assert said.startswith(fault)


@given(
    version=hexes(2),
    trace=hexes(32),
    span=hexes(16),
    flags=hexes(2),
    rest=st.just("") | st.text().map("-".__add__),
)
@settings(max_examples=200)
def test_every_version_but_ff_is_read_by_its_first_four_fields(
    version: str, trace: str, span: str, flags: str, rest: str
) -> None:
    text = f"{version}-{trace}-{span}-{flags}{rest}"
    found = parse_traceparent(text)
    allowed = version != "ff" and int(trace, 16) and int(span, 16) and not (version == "00" and rest)
    assert (found is not None) is bool(allowed)
    if found is not None:
        assert (found.trace_id.hex(), found.span_id.hex()) == (trace, span)
        assert found.sampled is (int(flags, 16) % 2 == 1)


@given(
    st.text() | st.from_regex(re.compile(r"[0-9a-fA-F]{2}-[0-9a-fA-F]{32}-[0-9a-fA-F]{16}-[0-9a-fA-F]{2}.?"))
)
@settings(max_examples=200)
def test_whatever_is_given_is_either_read_or_refused_with_a_reason_that_does_not_repeat_it(text: str) -> None:
    found, fault = parse_traceparent(text), traceparent_fault(text)
    assert (found is None) is (fault is not None)
    if fault is not None:
        assert len(fault) < 80
        assert len(text) < 10 or text not in fault
