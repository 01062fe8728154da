"""Faults at random, but the same ones each time: what a request meets depends on the seed alone."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from otel_bridge.emulator.app import DETAIL_PREFIX
from otel_bridge.emulator.faults import Fault

if TYPE_CHECKING:
    from otel_bridge.emulator.faults import FaultHook

# All of them pass: whoever asks again gets what there is. What takes long is rare, and a 429, which tells
# everybody to wait, is rarer still.
_MIX: Final = (
    (Fault(status=500), 15),
    (Fault(status=503), 15),
    (Fault(status=502, html=True), 10),
    (Fault(status=503, retry_after_s=1), 5),
    (Fault(status=429, retry_after_s=1), 1),
    (Fault(html=True), 10),
    (Fault(cut_json=True), 10),
    (Fault(truncate=True), 10),
    (Fault(reset=True), 15),
    (Fault(delay_ms=200), 20),
    (Fault(delay_ms=700), 5),
    (Fault(hang=True), 1),
    (Fault(drip=True), 1),
)
_OF_LISTS: Final = ((Fault(cursor_cycle=1), 5), (Fault(cursor_cycle=2), 5))
_OF_DETAILS: Final = ((Fault(status=404), 10),)


def random_faults(seed: int, share: float) -> FaultHook:
    """A mix of faults for a share of the requests.

    Args:
        seed: Any number; the same one gives the same fault to the same path and number.
        share: From 0, for none, to 1, for all.
    """

    def fault(path: str, number: int) -> Fault | None:
        draw = random.Random(f"{seed} {number} {path}")  # noqa: S311 - a repeatable mishap, no secret
        if draw.random() >= share:
            return None
        further = _OF_DETAILS if path.startswith(DETAIL_PREFIX) else _OF_LISTS
        mix: tuple[tuple[Fault, int], ...] = (*_MIX, *further)
        (chosen,) = draw.choices([each for each, _ in mix], [weight for _, weight in mix])
        return chosen

    return fault


def missing_at_first(times: int) -> FaultHook:
    """Every detail is a 404 for its first requests, as if it were written after it is listed.

    Args:
        times: For how many requests of each id.
    """
    asked: Counter[str] = Counter()

    def fault(path: str, _number: int) -> Fault | None:
        if not path.startswith(DETAIL_PREFIX):
            return None
        asked[path] += 1
        return Fault(status=404) if asked[path] <= times else None

    return fault
