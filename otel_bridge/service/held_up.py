"""A batch that a destination holds up: its ledger says so while it lasts, for `status` in another process.

The exporter of a service tries for as long as it takes and raises nothing meanwhile, so no pass fails.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import BridgeError
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.ledger import Ledger
    from otel_bridge.times import Clock

_LOOK_S: Final = 2.0
_AGAIN_S: Final = 30.0
"""The same is noted again after so long: another lane's success may have cleared it."""


@asynccontextmanager
async def noting(project: str, ledger: Ledger, clock: Clock, exporter: Exporter) -> AsyncIterator[None]:
    """Note in the ledger what holds up an export inside the block. The next good pass clears it."""
    if not isinstance(exporter, OtlpExporter):
        yield
        return
    task = asyncio.create_task(_note(project, ledger, clock, exporter))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _trouble(exporter: OtlpExporter) -> str | None:
    """Which destination does not take records just now, and why, in one line without secret."""
    failing = next((state for state in exporter.circuits if state.failures), None)
    return None if failing is None else f"{failing.name} takes no records: {failing.reason}"


async def _note(project: str, ledger: Ledger, clock: Clock, exporter: OtlpExporter) -> None:
    noted: str | None = None
    noted_s = 0.0
    while True:
        await clock.sleep(_LOOK_S)
        found = _trouble(exporter)
        if found is None or (found == noted and clock.monotonic_s() - noted_s < _AGAIN_S):
            continue
        noted, noted_s = found, clock.monotonic_s()
        try:
            await ledger.note_error(project, found, clock.now_ms())
        except BridgeError as error:
            event(logging.ERROR, "ledger_failed", str(error), project=project)
