"""A batch that a destination does not take: the ledger says so while it lasts, for `status`.

`status` may be another process. The exporter of a service tries for as long as it takes and raises nothing
meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.errors import BridgeError
from otel_bridge.exporter.blocks import MayBlock
from otel_bridge.telemetry.events import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from otel_bridge.exporter.blocks import Blocks
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.times import Clock

_AGAIN_S: Final = 30.0
"""The same is noted again after so long: another lane's success may have cleared it."""


@asynccontextmanager
async def noting(project: str, ledger: Ledger, clock: Clock, exporter: Exporter) -> AsyncIterator[None]:
    """Note in the ledger what holds up an export inside the block. The next good pass clears it."""
    if not isinstance(exporter, MayBlock):
        yield
        return
    task = asyncio.create_task(_note(project, ledger, clock, exporter.blocks))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _note(project: str, ledger: Ledger, clock: Clock, blocks: Blocks) -> None:
    with blocks.watched() as changed:
        while True:
            await changed.wait()
            changed.clear()
            while blocks.now and not changed.is_set():
                try:
                    await ledger.note_error(project, str(blocks.now[0]), clock.now_ms())
                except BridgeError as error:
                    event(logging.ERROR, "ledger_failed", str(error), project=project)
                await _first_of(changed.wait(), clock.sleep(_AGAIN_S))


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
