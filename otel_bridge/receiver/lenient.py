"""What becomes of a field whose value is not of the type that is documented."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def text_of(value: Any) -> str | None:
    """Text, or a number as it would be written; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    # A whole number has no fraction, also where it came with one: an id must not become "7.0".
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def number_of(value: Any) -> float | None:
    """A finite number, which may be written as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def object_of(value: Any) -> dict[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def slug_of(*candidates: Any) -> str | None:
    """The first that is a slug, or an object with one."""
    for candidate in candidates:
        slug = candidate.get("slug") if isinstance(candidate, dict) else candidate
        if isinstance(slug, str) and slug:
            return slug
    return None
