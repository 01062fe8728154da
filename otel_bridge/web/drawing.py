"""Shapes for the page: numbers in, SVG coordinates out.

Widths are shares of 100, so that a shape fits any screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.exporter.trace_tree import Trace
    from otel_bridge.receiver.budget import BudgetState
    from otel_bridge.signals import Span

SPARK_HEIGHT: Final = 40
_LEAST_BAR: Final = 1.5
_LEAST_WIDTH: Final = 0.8


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a line, in shares of 100."""

    x: float
    width: float


def spark_path(counts: Sequence[int], most: int) -> str:
    """Upright bars, one a count, ten wide and two apart, as an SVG path; nothing for nothing.

    Args:
        counts: From left to right.
        most: The count of a full bar.
    """
    bars = []
    for number, count in enumerate(counts):
        if count:
            height = max(_LEAST_BAR, min(count / max(most, 1), 1.0) * SPARK_HEIGHT)
            bars.append(f"M{number * 12} {SPARK_HEIGHT}v-{height:g}h10v{height:g}z")
    return "".join(bars)


def span_bar(span: Span, trace: Trace) -> Bar:
    """Where a span lies in its trace; one without length is still seen."""
    whole = max(trace.end_ns - trace.start_ns, 1)
    begin = (span.start_ns - trace.start_ns) / whole * 100
    width = max((span.end_ns - span.start_ns) / whole * 100, _LEAST_WIDTH)
    begin = min(max(begin, 0.0), 100 - _LEAST_WIDTH)
    return Bar(round(begin, 2), round(min(width, 100 - begin), 2))


@dataclass(frozen=True, slots=True)
class BudgetBar:
    """An organisation's request budget, in shares of 100 of its limit.

    Attributes:
        used: What the bridge has used.
        others: What others have used, the customer's own calls first of all.
        allowed: Where the bridge's share ends.
    """

    used: Bar
    others: Bar
    allowed: float


def budget_bar(state: BudgetState) -> BudgetBar | None:
    """The bar of a budget; None while no limit is known."""
    if not state.limit:
        return None
    used = min(state.used / state.limit, 1.0) * 100
    others = 0.0
    if state.remaining is not None:
        # The two windows need not be the same: what the bridge has used is never counted twice.
        others = min(max(state.limit - state.remaining - state.used, 0) / state.limit * 100, 100 - used)
    allowed = min((state.allowed or 0) / state.limit, 1.0) * 100
    return BudgetBar(Bar(0.0, round(used, 2)), Bar(round(used, 2), round(others, 2)), round(allowed, 2))
