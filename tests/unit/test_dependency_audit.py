"""The audit finds what it is there to find."""

from __future__ import annotations

from dependency_audit import closure, pins, problems_of, withdrawn

REQUIRES = {
    "otel-bridge": ["A_b>=1", "c[fast]; python_version>'3'", "never; extra == 'test'"],
    "a-b": ["d~=2.0"],
    "c": ["e; extra == 'fast'", "slow; extra == 'slow'"],
}


def test_what_runs_in_production_is_found_through_its_extras() -> None:
    needed = closure("otel-bridge", lambda name: REQUIRES.get(name, []))
    assert needed == {"a-b": {">=1"}, "c": {""}, "d": {"~=2.0"}, "e": {""}}


def test_a_missing_pin_and_a_pin_out_of_range_are_problems() -> None:
    pinned = pins("# why\na_B==0.9\nc==1\nd==2.3 ; x\n")
    lines = problems_of({"a-b": {">=1"}, "c": {""}, "d": {"~=2.0"}, "e": {""}}, pinned)
    assert lines == ["a-b is pinned to 0.9, and >=1 is asked for", "e is not pinned in constraints.txt"]


def test_a_withdrawn_release_is_named() -> None:
    rows = [
        {"metadata": {"name": "a", "version": "1"}, "is_yanked": True},
        {"metadata": {"name": "b", "version": "2"}, "is_yanked": False},
        {"metadata": {"name": "c", "version": "3"}},
    ]
    assert withdrawn({"install": rows}) == ["a 1 was withdrawn"]
    assert withdrawn({}) == []
