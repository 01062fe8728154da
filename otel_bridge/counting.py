"""Counts as people read them."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: ``1 record``, ``1,204 records``.

    Args:
        count: How many.
        noun: For one.
        plural: For any other number; the noun with an s by default.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
