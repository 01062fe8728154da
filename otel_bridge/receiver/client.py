"""The client of Composio's Logs API: what can be asked of one project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from otel_bridge.errors import RecordNotFound, RecordUnreadable, SourceFailed
from otel_bridge.receiver.answers import tidy
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.receiver.channel import Channel
from otel_bridge.receiver.decoding import WrongShape
from otel_bridge.receiver.models import Detail, Filter, UsageSummary
from otel_bridge.receiver.page import Page, read_page
from otel_bridge.receiver.routes import Route, quote_id
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    import httpx
    from pydantic import SecretStr

    from otel_bridge.circuit import Circuit
    from otel_bridge.file_values import Renewable
    from otel_bridge.receiver.exchange import Grow
    from otel_bridge.times import Clock

MOST_BODY_BYTES: Final = 32 * 1024 * 1024
"""The default bound of an answer's body."""
_DEFAULT_BACKOFF: Final = Backoff()
_MISSING: Final = Backoff(first_s=0.25, most_s=2.0, attempts=None)


class LogsClient:
    """Reads the tool calls of one Composio project.

    Callers bound how many requests are under way.

    Args:
        base_url: The address of Composio's API.
        api_key: The project's API key, which may be renewed. It is sent to ``base_url`` alone and appears in
            no repr and no error.
        key_from: Where the key comes from, for messages: a variable, or a file and what it is called there.
        budget: The request budget of the project's organisation, shared by the clients of its projects.
        clock: Tells the time and sleeps between tries.
        timeout_s: Seconds for one try, from connecting to the body's last byte.
        concurrency: How many connections are kept open for further requests.
        backoff: When to try again after a failure that may pass.
        most_body_bytes: The most bytes of one answer, decompressed, that are held in memory.
        transport: What carries requests in place of the network, for tests.
        on_request: Called after each try with the route (``list``, ``detail``, ``usage``), the HTTP
            status, 0 where no answer came, and the seconds it took.
        circuit: The circuit of this base URL, from ``source_circuit``, shared by the clients of its projects;
            None for one of its own.

    Raises:
        SettingsError: The key can't be sent in a header, or the base URL is none.
    """

    def __init__(  # noqa: PLR0913 - each is a setting with a name
        self,
        *,
        base_url: str,
        api_key: SecretStr | Renewable[SecretStr],
        key_from: str = "api_key",
        budget: Budget,
        clock: Clock,
        timeout_s: float = 30.0,
        concurrency: int = 16,
        backoff: Backoff = _DEFAULT_BACKOFF,
        most_body_bytes: int = MOST_BODY_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
        on_request: Callable[[str, int, float], None] | None = None,
        circuit: Circuit | None = None,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._channel = Channel(
            base_url=base_url,
            api_key=api_key,
            key_from=key_from,
            budget=budget,
            clock=clock,
            timeout_s=timeout_s,
            concurrency=concurrency,
            backoff=backoff,
            most_body_bytes=most_body_bytes,
            transport=transport,
            on_request=on_request,
            circuit=circuit,
        )

    def __repr__(self) -> str:
        return f"LogsClient(base_url={self._channel.base_url!r}, api_key='***')"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; twice does no harm."""
        await self._channel.aclose()

    @property
    def budget(self) -> Budget:
        """The request budget of the project's organisation."""
        return self._budget

    def now_ms(self) -> int:
        """The source's present in ms since the epoch, see ``SourceClock``."""
        return self._channel.source_clock.now_ms()

    def clock_ahead_ms(self) -> int | None:
        """How far the machine's clock is ahead of the source's, see ``SourceClock``."""
        return self._channel.source_clock.ahead_ms()

    # ── what can be asked ────────────────────────────────────────────────────────────────────────────
    async def list_page(  # noqa: PLR0913 - the request's own parameters, by name
        self,
        *,
        from_ms: int,
        to_ms: int,
        filters: Sequence[Filter] = (),
        cursor: str | None = None,
        limit: int = 100,
        whole: bool = True,
        priority: Priority = Priority.HEAD,
    ) -> Page:
        """Ask for one page of the log entries of a time range.

        Args:
            from_ms: Where the range begins, in ms since the epoch, inclusive.
            to_ms: Where it ends; whether inclusive is not documented.
            filters: Conditions, combined by AND.
            cursor: The ``next_cursor`` of the page before, of the same range and filters; None for the first.
            limit: The most entries on the page; the source takes 1 to 100.
            whole: Whether its entries hold all that the list shows, see ``read_page``.
            priority: The request's place in the budget.

        Raises:
            SourceError: What went wrong, after the tries that could help.
        """
        wanted: dict[str, Any] = {"limit": limit, "time_range": {"from": from_ms, "to": to_ms}}
        if filters:
            wanted["filters"] = [condition.model_dump() for condition in filters]
        if cursor is not None:
            wanted["cursor"] = cursor
        return await self._channel.ask(Route.LIST, priority, partial(read_page, whole=whole), wanted)

    async def pages(  # noqa: PLR0913 - as list_page
        self,
        *,
        from_ms: int,
        to_ms: int,
        filters: Sequence[Filter] = (),
        limit: int = 100,
        whole: bool = True,
        priority: Priority = Priority.HEAD,
        max_pages: int | None = None,
    ) -> AsyncIterator[Page]:
        """Walk all pages of a time range, which stays as it is for the whole walk.

        It goes on until the source says that there is no further page, or to ``max_pages``: then the last
        page's ``next_cursor`` is not None. Entries may come in any order, and more than once.

        Args:
            from_ms: As for ``list_page``, and so the others.
            to_ms: See there.
            filters: See there.
            limit: See there.
            whole: See there.
            priority: See there.
            max_pages: The most pages that are asked for; None for all.

        Raises:
            SourceFailed: A cursor came again: the walk would never end. The pages before have been given out.
            SourceError: As for ``list_page``.
        """
        seen: set[str] = set()
        cursor: str | None = None
        count = 0
        while max_pages is None or count < max_pages:
            page = await self.list_page(
                from_ms=from_ms,
                to_ms=to_ms,
                filters=filters,
                cursor=cursor,
                limit=limit,
                whole=whole,
                priority=priority,
            )
            count += 1
            yield page
            if page.next_cursor is None:
                return
            if page.next_cursor in seen:
                raise SourceFailed(
                    f"{Route.LIST.label}: page {count} names a cursor that came before, so there is no end"
                )
            cursor = page.next_cursor
            seen.add(cursor)

    async def detail(
        self,
        log_id: str,
        *,
        priority: Priority = Priority.HEAD,
        missing_retries: int = 3,
        grow: Grow | None = None,
    ) -> Detail:
        """Ask for one log entry in full.

        Args:
            log_id: Which one; any text.
            priority: The request's place in the budget.
            missing_retries: How often a 404 is asked again: a log just listed may not be there for a moment.
            grow: Counts a large body while it comes, see ``exchange``.

        Raises:
            RecordNotFound: The source has no log of this id (now).
            RecordUnreadable: The answer is JSON, but no log entry, or another one's.
            SourceError: What else went wrong, after the tries that could help.
        """
        if not log_id:
            raise RecordNotFound("a log without an id can't be asked for")

        def name() -> str:
            return f"log {tidy(log_id, self._channel.secret)}"

        def read(body: bytes) -> Detail:
            try:
                detail = Detail.read(body)
            except WrongShape as error:
                raise RecordUnreadable(f"{name()}: the answer is no log entry ({error})") from None
            if detail.id != log_id:
                raise RecordUnreadable(f"{name()}: the answer is the entry of another log")
            return detail

        misses = 0
        while True:
            try:
                return await self._channel.ask(Route.DETAIL, priority, read, tail=quote_id(log_id), grow=grow)
            except RecordNotFound as error:
                misses += 1
                wait_s = _MISSING.wait_s(misses)
                if misses > missing_retries or wait_s is None:
                    raise RecordNotFound(f"{name()}: {error}") from None
            await self._clock.sleep(wait_s)

    async def usage_summary(
        self, *, from_ms: int, to_ms: int, priority: Priority = Priority.HEAD
    ) -> UsageSummary:
        """Ask how many tool calls a time range holds.

        Args:
            from_ms: Where the range begins, in ms since the epoch, inclusive.
            to_ms: Where it ends, exclusive.
            priority: The request's place in the budget.

        Raises:
            SourceError: What went wrong, after the tries that could help.
        """
        wanted = {"from": from_ms, "to": to_ms, "entity_types": ["tool_calls"]}
        return await self._channel.ask(Route.USAGE, priority, UsageSummary.read, wanted)
