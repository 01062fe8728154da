"""How a pass ends when the service stops: what is with a destination is finished, all else is left."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.pipeline.deliver import InProgress

STOP_GRACE_S: Final = 7.0
"""What a batch in progress has to be acknowledged and committed. The promise for the whole stop is 10 s, and
what comes afterwards takes 2.75 s at most: a locked ledger 0.25, the last of own telemetry 1.5, the endpoints
1.
"""

IDLE_GRACE_S: Final = 0.5
"""What a pipeline without a batch in progress has to end by itself; a source that hangs would keep it."""

_LOOK_S: Final = 0.05


async def finish(
    tasks: Sequence[asyncio.Task[Any]], in_progress: Sequence[InProgress], stop: asyncio.Event
) -> None:
    """Wait for the tasks; once the service stops, only for their batches in progress, and for a bounded time.

    Args:
        tasks: Passes. Those that are left are cancelled.
        in_progress: The batches of each of them, in the same order.
        stop: Set when the service stops.
    """
    stopping = asyncio.create_task(stop.wait())
    everything = asyncio.create_task(asyncio.wait(tasks))
    await asyncio.wait({stopping, everything}, return_when=asyncio.FIRST_COMPLETED)
    if not everything.done():
        await _leave(dict(zip(tasks, in_progress, strict=True)))
    stopping.cancel()
    await asyncio.gather(stopping, everything, return_exceptions=True)


async def _leave(batches_of: dict[asyncio.Task[Any], InProgress]) -> None:
    end_s = time.monotonic() + STOP_GRACE_S
    _, left = await asyncio.wait(batches_of, timeout=IDLE_GRACE_S)
    while left and time.monotonic() < end_s:
        idle = [task for task in left if batches_of[task].empty]
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
            "the batch in progress did not end in time; it is delivered again",
        )
