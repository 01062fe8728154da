"""Request budgets that replicas share: what one asks for, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What the source has said of an organisation.

    Attributes:
        requests: So many may be sent in a window.
        window_s: Its length in seconds.
    """

    requests: int
    window_s: float


@dataclass(frozen=True, slots=True)
class BudgetAsk:
    """What a replica asks for.

    Attributes:
        name: Whose budget.
        limit: What the source has said of it.
        requests: How many requests; 0 to tell of the rest alone.
        bound: So many at most may have been claimed by all in a window, these included.
        unclaimed: Requests that were sent without a claim: they count from now on.
        returned: Requests of one's own claims that were never sent, by the moment of the claim.
    """

    name: str
    limit: BudgetLimit
    requests: int
    bound: int
    unclaimed: int = 0
    returned: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetGrant:
    """What it gets.

    Attributes:
        requests: How many.
        used: What all have claimed in the last window, these included.
        moment: Of the claim, to return some of it by.
    """

    requests: int
    used: int
    moment: int
