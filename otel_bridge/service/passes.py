"""Passes in a row: while one delivers, the next one lists its window and asks for its details.

Source and destination are both kept busy, and still each window is delivered and committed after the one
before it, oldest first. A row is short: it belongs to one step of its lane, and leaves nothing under way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_bridge.ledger import Window
    from otel_bridge.receiver.budget import Priority
    from otel_bridge.service.collection import Collection
    from otel_bridge.service.detail_stream import DetailStream
    from otel_bridge.service.source import Listing


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that is to be made.

    Attributes:
        window: What is collected, and committed.
        priority: Of its requests.
        list_from_ms: Where the listing begins, in ms since the epoch: at the window or before it.
        pages: How many pages of the list are read at most.
        replaces: The planned windows that the commit takes the place of.
        splits: A planned window that becomes these parts when the pass's turn has come.
    """

    window: Window
    priority: Priority
    list_from_ms: int
    pages: int
    replaces: tuple[Window, ...] = ()
    splits: tuple[Window, Sequence[Window]] | None = None


async def in_a_row(
    collection: Collection, first: Pass, following: Callable[[Pass, Listing], Pass | None]
) -> tuple[Pass, Listing]:
    """Make passes, each one begun while the one before it is under way.

    Args:
        collection: Whose.
        first: The first one.
        following: Says which pass follows one that has just been listed; None for none. A pass whose listing
            is not complete collects nothing, and nothing may follow it.

    Returns:
        The last pass and its listing.

    Raises:
        Stopped: As ``Collection.collect``.
        BridgeError: Of the first pass that failed; those before it are committed, those after it are not.
    """
    under_way = [_Running(collection, first, None)]
    try:
        while True:
            running = under_way[0]
            either: set[asyncio.Future[Any]] = {running.listed, running.task}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not running.listed.done():
                await running.task  # raises why
            listing = running.listed.result()
            after = following(running.plan, listing)
            if after is not None:
                under_way.append(_Running(collection, after, running))
            await running.task
            if after is None:
                return running.plan, listing
            del under_way[0]
    finally:
        for each in reversed(under_way):
            each.task.cancel()
        await asyncio.gather(*(each.task for each in under_way), return_exceptions=True)


class _Running:
    """A pass under way, behind the one before it.

    Attributes:
        listed: Its listing, once there is one.
    """

    def __init__(self, collection: Collection, plan: Pass, before: _Running | None) -> None:
        self.plan = plan
        self._collection = collection
        self._before = before
        self._details: DetailStream | None = None
        self.listed: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        self._has_opened = asyncio.Event()
        self._has_committed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        collection, plan = self._collection, self.plan
        try:
            with collection.tracing(plan.window):
                wanted = replace(plan.window, from_ms=plan.list_from_ms)
                listing = await collection.listing(wanted, plan.priority, plan.pages)
                self.listed.set_result(listing)
                if not listing.complete:
                    return
                if self._before is not None:
                    await self._before.all_asked()
                await collection.collect(plan.window, listing, plan.replaces, plan.priority, turn=self._turn)
                # Not where it failed: what is younger than its records must not go out before them.
                self._has_committed.set()
        finally:
            self._before = None  # or a long row would keep all of it

    async def all_asked(self) -> None:
        """Wait until its details are all asked for, before those of the next one take places in flight."""
        await self._has_opened.wait()
        if self._details is not None:
            await self._details.all_asked.wait()

    async def _turn(self, details: DetailStream) -> bool:
        self._details = details
        self._has_opened.set()
        waits = self._before is not None
        if self._before is not None:
            await self._before._has_committed.wait()  # noqa: SLF001 - its own kind
        if self.plan.splits is not None:
            window, parts = self.plan.splits
            await self._collection.ledger.replace_windows([window], list(parts))
        return waits
