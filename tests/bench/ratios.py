"""Ratios of runs that took turns: each to the other's run of the same round, and of those the median."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rounds = Mapping[str, Sequence[Mapping[str, float]]]
    """By name, what a run measured in each round."""


def middle(rounds: Rounds, name: str, what: str) -> float:
    """The median of what was measured."""
    return median(each[what] for each in rounds[name])


def ratio(rounds: Rounds, name: str, other: str, what: str) -> float:
    """How one stands to the other in the rounds that both took part in."""
    pairs = zip(rounds[name], rounds[other], strict=False)  # a slow one takes part in the first round alone
    return median(one[what] / base[what] for one, base in pairs)
