"""One project's side of Composio's API: its client, its filters, and which records get a detail request."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from otel_bridge.errors import (
    AnswerTooLarge,
    RecordNotFound,
    RecordUnreadable,
    SourceBusy,
    SourceError,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.ledger import Reason
from otel_bridge.pipeline.setting_aside import FEW_TRIES, MOST_TRIES
from otel_bridge.receiver.models import Detail, Entry, Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from otel_bridge.ledger import SetAside
    from otel_bridge.pipeline.concurrency import Concurrency
    from otel_bridge.receiver.budget import Priority
    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.receiver.page import Page
    from otel_bridge.settings import DetailPolicy

    Grow = Callable[[int], Awaitable[None]]
    """Counts bytes of a body as they come, and waits while there is no room for them."""


class Shares(Protocol):
    """Gives the details that it asks for to others who need them."""

    async def shared(self, log_id: str) -> Detail | None:
        """The detail of a record that is asked for; None where it is not, or can't be had."""
        ...


_PARENTS_KEPT: Final = 128
_PARENTS_BYTES: Final = 8_000_000
_PARENTS_AT_ONCE: Final = 8
_CLIENT_ERRORS: Final = range(HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR)
_OF_THE_SOURCE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_REFUSED_IN_A_ROW: Final = 3
_FAILED_IN_A_ROW: Final = 8
_AROUND_MS: Final = 86_400_000
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A record whose detail can't be had.

    Attributes:
        entry: What the list showed; of a second try the id alone.
        reason: Why, for the ledger.
        missing: The same in a word, for a span that is made without the detail: ``not_found``, ``refused``,
            ``too_large``, ``unreadable``, ``failed``.
        error: What happened.
    """

    entry: Entry
    reason: Reason
    missing: str
    error: SourceError

    @property
    def tries(self) -> int:
        """How often the detail is asked for in all, before the record is delivered without it."""
        return MOST_TRIES if self.missing == "failed" else FEW_TRIES


Fetched = Detail | Failure


def id_of(fetched: Fetched) -> str:
    """The log id."""
    return fetched.id if isinstance(fetched, Detail) else fetched.entry.id


class ProjectSource:
    """Lists pages and fetches details for one project.

    Args:
        client: Speaks to the Logs API.
        filters: The project's own.
        detail: Which records get a detail request.
        concurrency: How many of those are in flight.
    """

    def __init__(
        self, client: LogsClient, filters: Sequence[Filter], detail: DetailPolicy, concurrency: Concurrency
    ) -> None:
        self.client = client
        self.concurrency = concurrency
        self._filters = tuple(filters)
        self._policy = detail
        # Parents fetched for a child in another window, kept so that their own turn costs no second request.
        self._parents: OrderedDict[str, Detail] = OrderedDict()
        self.fetchers: list[Shares] = []
        """Where records are asked for that may be parents of others."""
        self._parent_requests = asyncio.Semaphore(_PARENTS_AT_ONCE)
        # Records whose detail was refused, or failed, since one was last had: by them a source that is to
        # blame is told from records that are, however few come at a time.
        self._refused: set[str] = set()
        self._failed: set[str] = set()

    def pages(
        self, from_ms: int, to_ms: int, priority: Priority, max_pages: int | None
    ) -> AsyncIterator[Page]:
        """Walk the pages of ``[from_ms, to_ms]``; errors as the client."""
        return self.client.pages(
            from_ms=from_ms,
            to_ms=to_ms,
            filters=self._filters,
            whole=self._policy != "all",
            max_pages=max_pages,
            priority=priority,
        )

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

    # ── details ──────────────────────────────────────────────────────────────────────────────────────
    async def detail(self, entry: Entry, priority: Priority, grow: Grow | None = None) -> Fetched:
        """A listed record's detail; what the policy leaves out keeps what the list said.

        A body that is too large is the same however often it is asked for: the record is what the list says.

        Raises:
            SourceError: The source as a whole can't be asked. A single record's trouble is a ``Failure``.
        """
        if not self._wants_detail(entry):
            return Detail.of(entry)
        found = await self._ask(entry, priority, grow)
        if isinstance(found, Failure) and isinstance(found.error, AnswerTooLarge):
            moment = entry.timestamp_ns
            around_ms = self.client.now_ms() if moment is None else moment // _NS_PER_MS
            return await self._as_listed(found, around_ms, priority)
        return found

    async def second_try(self, aside: SetAside, priority: Priority, grow: Grow | None = None) -> Fetched:
        """The detail of a record that was set aside, whatever the policy.

        Once its tries are over, the record is what the list says of it: one request more.

        Raises:
            SourceError: As ``detail``.
        """
        found = await self._ask(Entry(id=aside.log_id), priority, grow)
        if not isinstance(found, Failure) or self._refuses:
            return found
        if isinstance(found.error, AnswerTooLarge) or aside.attempts + 1 >= found.tries:
            return await self._as_listed(found, aside.time_ms, priority)
        return found

    async def parent(self, log_id: str, priority: Priority) -> Detail:
        """The detail of a parent that is in no batch under way.

        Raises:
            SourceError: As the client's ``detail``; where it alone can't be had that is a ``SourceFailed``.
        """
        kept = self._parents.get(log_id)
        if kept is not None:
            return kept
        for fetcher in self.fetchers:
            found = await fetcher.shared(log_id)
            if found is not None:
                return found
        async with self._parent_requests:
            # A child that is delivered without a parent that only failed in passing would come out
            # otherwise if a crash made it go out again.
            try:
                kept = await self.client.detail(log_id, priority=priority, missing_retries=2)
            except (SourceRefused, SourceUnreachable) as error:
                if _is_for_all(error):
                    raise
                raise SourceFailed(str(error)) from None
        # A parent's own turn must find the same record, or its identity would differ from the one that its
        # children were given.
        kept = kept if self._wants_detail(kept) else kept.as_listed
        self._parents[log_id] = kept
        held = sum(each.body_bytes for each in self._parents.values())
        while len(self._parents) > _PARENTS_KEPT or held > _PARENTS_BYTES:
            held -= self._parents.popitem(last=False)[1].body_bytes
        return kept

    def check_blame(self, batch: Sequence[Fetched], *, second: bool) -> None:
        """See whether the source, and not the records, is why every detail of a batch can't be had.

        That is so where several records in a row are refused, or fail, and none is had between: a key that
        may list and not read, a source that is half down. Of second tries only refusals count, since those
        records have shown before that they fail by themselves.

        Raises:
            SourceError: It is; then none of the records is set aside.
        """
        failures = [each for each in batch if isinstance(each, Failure)]
        # What the list shows of a record says nothing of whether details can be had.
        had = any(isinstance(each, Detail) and each.body_bytes for each in batch)
        if not failures or had:
            return
        if any(each.reason is not Reason.SOURCE_FAILED for each in failures):
            return
        if self._refuses or (not second and len(self._failed) >= _FAILED_IN_A_ROW):
            raise failures[0].error

    @property
    def _refuses(self) -> bool:
        return len(self._refused) >= _REFUSED_IN_A_ROW

    def _wants_detail(self, entry: Entry) -> bool:
        return self._policy == "all" or (self._policy == "failed" and entry.status == "failed")

    async def _ask(self, entry: Entry, priority: Priority, grow: Grow | None) -> Fetched:
        kept = self._parents.pop(entry.id, None)
        if kept is not None:
            return kept
        try:
            found = await self.client.detail(entry.id, priority=priority, grow=grow)
        except SourceError as error:
            return self._failure(entry, error)
        if self._failed:
            self._refused.clear()
            self._failed.clear()
        return found

    def _failure(self, entry: Entry, error: SourceError) -> Failure:
        """What an error says of one record.

        Raises:
            SourceError: It says that the source as a whole can't be asked.
        """
        match error:
            case RecordNotFound():
                return Failure(entry, Reason.NOT_FOUND, "not_found", error)
            case RecordUnreadable():
                return Failure(entry, Reason.UNREADABLE, "unreadable", error)
            case AnswerTooLarge():
                return Failure(entry, Reason.SOURCE_FAILED, "too_large", error)
            case SourceBusy():
                raise error
            case SourceRefused() | SourceUnreachable() if _is_for_all(error):
                raise error
        self._failed.add(entry.id)
        if isinstance(error, SourceRefused):
            self._refused.add(entry.id)
            return Failure(entry, Reason.SOURCE_FAILED, "refused", error)
        return Failure(entry, Reason.SOURCE_FAILED, "failed", error)

    async def _as_listed(self, failure: Failure, around_ms: int, priority: Priority) -> Fetched:
        """What the list says of a record, in place of its detail; the failure, if it says nothing.

        Args:
            failure: Why the detail can't be had.
            around_ms: About the record's time, in ms since the epoch: the ledger keeps one inside the bounds
                of the window, which need not be the record's own.
            priority: Of the request.
        """
        log_id = failure.entry.id
        pages = self.client.pages(
            from_ms=around_ms - _AROUND_MS,
            to_ms=around_ms + _AROUND_MS,
            filters=(*self._filters, Filter(field="log_id", operator="==", value=log_id)),
            whole=True,
            max_pages=1,
            priority=priority,
        )
        async for page in pages:
            for entry in page.entries:
                if entry.id == log_id:
                    return Detail.of(entry).without_detail(failure.missing)
        return failure


def _is_for_all(error: SourceRefused | SourceUnreachable) -> bool:
    """Whether it is the source as a whole that can't be asked, and not one record of it.

    A list was answered before a detail is asked for. So what is refused then is refused of that record; where
    several in a row are, ``ProjectSource.check_blame`` says so.
    """
    if isinstance(error, SourceUnreachable):
        return error.retry_after_s is not None  # the circuit is open
    return error.status not in _CLIENT_ERRORS or error.status in _OF_THE_SOURCE
