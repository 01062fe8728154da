"""How a pass ends when the service stops: what is with a destination is finished, all else is left."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STOP_GRACE_S: Final = 7.0
"""What a batch in hand has to be acknowledged and committed. The promise for the whole stop is 10 s, and what
comes afterwards takes 2.75 s at most: a locked ledger 0.25, the last of own telemetry 1.5, the endpoints 1.
"""

IDLE_GRACE_S: Final = 0.5
"""What a pass with nothing in hand has to end by itself; a source that hangs would keep it for longer."""

_LOOK_S: Final = 0.05


class Hand:
    """Counts a project's batches between the first byte to a destination and their commit.

    To leave in between would deliver them again; everything else a pass does can be left at any moment.
    """

    def __init__(self) -> None:
        self._held = 0

    @property
    def empty(self) -> bool:
        """Whether nothing would be delivered again if the process ended now."""
        return not self._held

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold a batch for as long as the block runs."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


async def finish(tasks: Sequence[asyncio.Task[Any]], hands: Sequence[Hand], stop: asyncio.Event) -> None:
    """Wait for the tasks; once the service stops, only for what they have in hand, and for a bounded time.

    Args:
        tasks: Passes. Those that are left are cancelled.
        hands: What each of them has in hand, in the same order.
        stop: Set when the service stops.
    """
    stopping = asyncio.create_task(stop.wait())
    everything = asyncio.create_task(asyncio.wait(tasks))
    await asyncio.wait({stopping, everything}, return_when=asyncio.FIRST_COMPLETED)
    if not everything.done():
        await _leave(dict(zip(tasks, hands, strict=True)))
    stopping.cancel()
    await asyncio.gather(stopping, everything, return_exceptions=True)


async def _leave(hand_of: dict[asyncio.Task[Any], Hand]) -> None:
    end_s = time.monotonic() + STOP_GRACE_S
    _, left = await asyncio.wait(hand_of, timeout=IDLE_GRACE_S)
    while left and time.monotonic() < end_s:
        idle = [task for task in left if hand_of[task].empty]
        for task in idle:
            task.cancel()
        left.difference_update(idle)
        if left:
            _, left = await asyncio.wait(left, timeout=_LOOK_S)
    for task in left:
        task.cancel()
    if left:
        event(
            logging.WARNING,
            "stopped_late",
            "the batch in hand did not end in time; it is delivered again",
        )
