"""One project's side of the source: its client, its filters, and details fetched ahead of their turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from otel_bridge.errors import (
    RecordNotFound,
    RecordUnreadable,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.ledger import Reason, Window
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.models import Detail, Entry, Filter
from otel_bridge.service.detail_stream import AHEAD_RECORDS, DetailStream, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.receiver.page import UnreadableEntry
    from otel_bridge.service.crowd import Crowd
    from otel_bridge.settings import DetailPolicy

_PARENTS_KEPT = 128
_CLIENT_ERRORS = range(HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR)
_NO_RECORD_S = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})


@dataclass(frozen=True, slots=True)
class Listing:
    """What a window holds.

    Attributes:
        entries: Each id once, oldest first.
        unreadable: What the list showed and nobody can read.
        complete: False where the window has more pages than were asked for.
        from_ms: Where the listed time begins, in ms since the epoch.
        began_ms: When listing began, in ms since the epoch: what was visible then is in it.
    """

    entries: list[Entry]
    unreadable: list[UnreadableEntry]
    complete: bool
    from_ms: int = 0
    began_ms: int = 0

    def count_from(self, from_ms: int) -> int:
        """How many of its entries have a time of ``from_ms`` or later, or none that can be read."""
        if from_ms <= self.from_ms:
            return len(self.entries)
        times = (entry.timestamp_ns for entry in self.entries)
        return sum(1 for each in times if each is None or each // 1_000_000 >= from_ms)

    @property
    def covered_ms(self) -> int:
        """The stretch of time from its oldest entry to its newest, in ms."""
        times = [entry.timestamp_ns for entry in self.entries if entry.timestamp_ns is not None]
        return (max(times) - min(times)) // 1_000_000 if times else 0


class ProjectSource:
    """Lists windows and fetches details for one project.

    Args:
        client: Speaks to the Logs API.
        filters: The project's own.
        detail: Which records get a detail request.
        concurrency: How many of those are in flight at most, of each priority.
    """

    def __init__(
        self, client: LogsClient, filters: Sequence[Filter], detail: DetailPolicy, concurrency: int
    ) -> None:
        self.client = client
        self._filters = tuple(filters)
        self._policy = detail
        self._concurrency = concurrency
        # What happens now must not wait for a place that a re-check holds while it waits for budget.
        self._slots = {priority: asyncio.Semaphore(concurrency) for priority in Priority}
        # Parents fetched for a child in another window, kept so that their own turn costs no second request.
        self._parents: OrderedDict[str, Detail] = OrderedDict()

    async def listing(self, window: Window, priority: Priority, max_pages: int | None) -> Listing:
        """List a window to its end, or up to ``max_pages`` pages.

        Raises:
            SourceError: As the client.
        """
        entries: dict[str, Entry] = {}
        unreadable: list[UnreadableEntry] = []
        complete = True
        async for page in self.client.pages(
            from_ms=window.from_ms,
            to_ms=window.to_ms,
            filters=self._filters,
            whole=self._policy != "all",
            max_pages=max_pages,
            priority=priority,
        ):
            # A page-based cursor shifts when records arrive, so an id may come twice.
            entries.update((entry.id, entry) for entry in page.entries)
            unreadable.extend(page.unreadable)
            complete = page.next_cursor is None
        # The order of the list is not documented; oldest first is what a destination takes best.
        ordered = sorted(entries.values(), key=lambda entry: (entry.timestamp_ns or 0, entry.id))
        return Listing(ordered, unreadable, complete)

    async def count(self, from_ms: int, to_ms: int, priority: Priority) -> int | None:
        """How many tool calls ``[from_ms, to_ms)`` holds by the source's own count: one request.

        Returns:
            None where that count says nothing of what the bridge collects (the project has filters), or can't
            be had (the key may not read it, the route fails, the range is not accepted).

        Raises:
            SourceError: The source can't be asked at all.
        """
        if self._filters:
            return None
        try:
            summary = await self.client.usage_summary(from_ms=from_ms, to_ms=to_ms, priority=priority)
        except SourceRefused as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise
            return None
        except SourceFailed:
            return None
        return summary.tool_calls

    def details(
        self, entries: Sequence[Entry], priority: Priority, crowd: Crowd | None = None
    ) -> DetailStream:
        """The details of listed entries, in their order; what the policy leaves out keeps what the list said.

        Where the source as a whole can't be asked, reading raises a SourceError. A single record's failure is
        read in its place.
        """
        at_once = self._concurrency
        ahead = AHEAD_RECORDS if crowd is None else crowd.ahead(AHEAD_RECORDS, least=at_once)
        return DetailStream(entries, lambda entry: self._listed(entry, priority), at_once, ahead)

    def details_of(self, log_ids: Sequence[str], priority: Priority) -> DetailStream:
        """The details of these ids, whatever the policy; as ``details``."""
        entries = [Entry(id=log_id) for log_id in log_ids]
        return DetailStream(entries, lambda entry: self._detail(entry, priority), self._concurrency)

    async def _listed(self, entry: Entry, priority: Priority) -> Detail | Failure:
        if not self._wants_detail(entry):
            return Detail.of(entry)
        return await self._detail(entry, priority)

    def _wants_detail(self, entry: Entry) -> bool:
        return self._policy == "all" or (self._policy == "failed" and entry.status == "failed")

    async def parent(self, log_id: str, priority: Priority) -> Detail:
        """The detail of a parent that is in no batch at hand.

        Raises:
            SourceError: As the client's ``detail``; where it alone can't be had that is a ``SourceFailed``.
        """
        kept = self._parents.get(log_id)
        if kept is None:
            async with self._slots[priority]:
                # A child that is delivered without a parent that only failed in passing would come out
                # otherwise if a crash made it go out again.
                try:
                    kept = await self.client.detail(log_id, priority=priority, missing_retries=2)
                except (SourceRefused, SourceUnreachable) as error:
                    if _is_for_all(error):
                        raise
                    raise SourceFailed(str(error)) from None
            # A parent's own turn must find the same record, or its identity would differ from the one
            # that its children were given.
            kept = kept if self._wants_detail(kept) else kept.as_listed
            self._parents[log_id] = kept
            if len(self._parents) > _PARENTS_KEPT:
                self._parents.popitem(last=False)
        return kept

    async def _detail(self, entry: Entry, priority: Priority) -> Detail | Failure:
        kept = self._parents.pop(entry.id, None)
        if kept is not None:
            return kept
        try:
            async with self._slots[priority]:
                return await self.client.detail(entry.id, priority=priority)
        except RecordNotFound as error:
            return Failure(entry, Reason.NOT_FOUND, str(error))
        except RecordUnreadable as error:
            return Failure(entry, Reason.UNREADABLE, str(error))
        except SourceFailed as error:
            return Failure(entry, Reason.SOURCE_FAILED, str(error))
        except (SourceRefused, SourceUnreachable) as error:
            if _is_for_all(error):
                raise
            return Failure(entry, Reason.SOURCE_FAILED, str(error))


def _is_for_all(error: SourceRefused | SourceUnreachable) -> bool:
    """Whether it is the source as a whole that can't be asked, and not one record of it.

    A list was answered before a detail is asked for. So what is refused then is refused of that record; where
    all of a batch are, the pass ends as it does when all of them fail.
    """
    if isinstance(error, SourceUnreachable):
        return error.retry_after_s is not None  # the circuit is open
    return error.status not in _CLIENT_ERRORS or error.status in _NO_RECORD_S
