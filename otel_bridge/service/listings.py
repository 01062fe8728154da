"""A stretch of past time, listed oldest first in parts that one pass has room for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Lane, Window
from otel_bridge.receiver.budget import Priority
from otel_bridge.service import planner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.service.collection import Collection
    from otel_bridge.service.source import Listing

_NS_PER_MS: Final = 1_000_000


async def listings(collection: Collection, from_ms: int, to_ms: int) -> AsyncIterator[tuple[Window, Listing]]:
    """Every record of ``[from_ms, to_ms)`` once, each part a bounded number of pages. Plans nothing.

    Raises:
        Stopped: The service stops.
        SourceError: As the client.
    """
    span = planner.Span()
    while from_ms < to_ms:
        collection.leave_if_stopped()
        part = Window(collection.project, Lane.BACKFILL, from_ms, min(to_ms, from_ms + span.ms))
        listing = await collection.listing(part, Priority.BACKFILL)
        if not listing.complete:
            span.too_full(part, listing.covered_ms)
            continue
        span.collected(part, len(listing.entries))
        # Whether a list holds its end is not documented; here it does not, as in the source's counts.
        entries = [entry for entry in listing.entries if not _at(entry.timestamp_ns, part.to_ms)]
        yield part, replace(listing, entries=entries)
        from_ms = part.to_ms


def _at(timestamp_ns: int | None, ms: int) -> bool:
    return timestamp_ns is not None and timestamp_ns // _NS_PER_MS == ms
