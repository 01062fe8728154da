"""Files of the settings that change while the process runs: looked for, told of, and used at once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from otel_bridge.file_values import LOOK_EVERY_S
from otel_bridge.service.logs import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


def tell_renewals(settings: Settings, then: Callable[[], None] = lambda: None) -> None:
    """Write an event when a file has changed, and when one can't be used as it is now.

    Args:
        settings: As read.
        then: Called when a file has changed and is in use.
    """

    def renewed() -> None:
        event(logging.INFO, "files_renewed", "a file of the settings has changed and is in use now")
        then()

    settings.on_files(
        renewed,
        lambda line: event(
            logging.WARNING,
            "file_unusable",
            f"{line}; what was read before stays in use, and the file is tried again",
        ),
    )


@asynccontextmanager
async def watched_files(settings: Settings, clock: Clock, then: Callable[[], None]) -> AsyncIterator[None]:
    """Look at the files for as long as the block runs, also while all wait for a peer that refuses.

    Args:
        settings: As read.
        clock: Sleeps between looks.
        then: Called when a file has changed and is in use.
    """
    if not settings.reads_files:
        yield
        return
    tell_renewals(settings, then)

    async def look() -> None:
        while True:
            await clock.sleep(LOOK_EVERY_S)
            settings.present.get()

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
