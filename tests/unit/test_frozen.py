"""Values made without the guard are otherwise what frozen dataclasses are."""

from __future__ import annotations

import dataclasses

from otel_bridge.frozen import value
from otel_bridge.signals import Link


@dataclasses.dataclass(frozen=True, slots=True)
class Guarded:
    name: str
    number: int = 1


@value(frozen=True, slots=True)
class Plain:
    name: str
    number: int = 1


def test_equality_hash_and_copies_are_those_of_a_frozen_dataclass() -> None:
    assert Plain("a") == Plain("a", 1) != Plain("b")
    assert hash(Plain("a")) == hash(Guarded("a"))
    assert dataclasses.replace(Plain("a"), number=2) == Plain("a", 2)
    assert repr(Plain("a")) == "Plain(name='a', number=1)"
    assert not hasattr(Plain("a"), "__dict__")


def test_values_that_a_record_becomes_are_told_apart_by_all_of_their_fields() -> None:
    assert Link(b"1" * 16, b"2" * 8) != Link(b"1" * 16, b"3" * 8)
