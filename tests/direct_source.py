"""What a client of the source can be asked, answered from a store without HTTP: for long simulations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_bridge.emulator.queries import ListQuery
from otel_bridge.errors import RecordNotFound
from otel_bridge.receiver.budget import Priority
from otel_bridge.receiver.models import Detail, Entry, UsageSummary
from otel_bridge.receiver.page import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_bridge.emulator import LogStore
    from otel_bridge.times import Clock


class DirectSource:
    """Stands for ``LogsClient``; counts what would have been requests."""

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self.store = store
        self.now_ms = clock.now_ms
        self.requests: Counter[str] = Counter()

    async def asked(self, route: str, _: Priority) -> None:
        """Note a request."""
        self.requests[route] += 1

    async def pages(
        self,
        *,
        from_ms: int,
        to_ms: int,
        max_pages: int | None,
        priority: Priority = Priority.HEAD,
        **_others: Any,
    ) -> AsyncIterator[Page]:
        number = 0
        while max_pages is None or number < max_pages:
            number += 1
            await self.asked("list", priority)
            page = self.store.page(ListQuery(limit=100, page=number, from_ms=from_ms, to_ms=to_ms))
            entries: list[Entry] = [Detail.read(record.entry) for record in page.records]
            yield Page(entries, [], None if page.next_page is None else str(page.next_page))
            if page.next_page is None:
                return

    async def usage_summary(
        self, *, from_ms: int, to_ms: int, priority: Priority = Priority.HEAD
    ) -> UsageSummary:
        await self.asked("usage", priority)
        query = ListQuery(limit=1_000_000, page=1, from_ms=from_ms, to_ms=to_ms)
        return UsageSummary(len(self.store.page(query).records))

    async def detail(self, log_id: str, *, priority: Priority = Priority.HEAD, **_others: Any) -> Detail:
        await self.asked("detail", priority)
        record = self.store.get(log_id)
        if record is None:
            raise RecordNotFound(log_id)
        return Detail.read(record.detail)
