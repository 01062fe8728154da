"""Lets pytest-benchmark run under a pytest that is newer than it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    # pytest-benchmark 5.2 reads a private name that pytest 9.2 has no more.
    if not hasattr(item, "_nodeid"):
        item._nodeid = item.nodeid  # type: ignore[attr-defined] # as above
