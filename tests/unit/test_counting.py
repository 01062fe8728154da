"""Counts as people read them."""

from __future__ import annotations

import pytest

from otel_bridge.counting import counted


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1_204, "1,204 records")]
)
def test_a_count_with_its_noun(count: int, words: str) -> None:
    assert counted(count, "record") == words


def test_a_plural_of_its_own() -> None:
    assert (counted(1, "entry", "entries"), counted(3, "entry", "entries")) == ("1 entry", "3 entries")
