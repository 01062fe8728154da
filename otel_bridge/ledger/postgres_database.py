"""One PostgreSQL database behind a pool: opened, migrated, used a transaction at a time, closed.

A connection that is lost (a restart, a failover) is replaced, and the work begins again on the new one,
unless its COMMIT was under way: then nobody knows whether it happened, and the caller is told. What stays
down is an error at once, with the cause; the caller has its own way of trying again.

A process that is stopped in the middle of a transaction, or cut off, would hold its locks for as long as the
server believes in the connection. So each session ends a transaction that has been idle for ``IDLE_S``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor, IsolationLevel
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.postgres_faults import explain, is_connection_lost, is_passing, is_worth_waiting
from otel_bridge.ledger.postgres_migrate import migrate, steps
from otel_bridge.ledger.postgres_session import connect, prepare
from otel_bridge.retry import Backoff
from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.times import Clock

CONNECTIONS: Final = 8
"""The most connections of one process's ledger."""
IDLE_S: Final = 10
CALL_S: Final = 30.0
LAST_CALL_S: Final = 0.25
"""What a call has that begins when a service should have stopped."""
PATIENCE_S: Final = 6.0
"""How long a commit waits for a database that restarts: less than a stop may take."""
_POOL_S: Final = 10.0
_SESSION: Final = (
    f"SET idle_in_transaction_session_timeout = '{IDLE_S}s';"
    " SET statement_timeout = '20s'; SET lock_timeout = '15s'"
)

Cursor = AsyncCursor[tuple[Any, ...]]
T = TypeVar("T")

# psycopg warns of what is also raised here; without a handler Python would print that on standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class DatabaseLost(LedgerError):  # noqa: N818 - as the tree of errors
    """The database can't be reached now."""


class PostgresDatabase:
    """See the module.

    Args:
        address: Where. It may be renewed: each new connection takes the present one.
        clock: Sleeps between tries.
        connections: The most connections at once.
    """

    def __init__(self, address: Renewable[Address], clock: Clock, connections: int = CONNECTIONS) -> None:
        self.where = address.get().where
        self.address = address
        self._clock = clock
        self._connections = connections
        self._pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] | None = None
        self._doubtful = False
        self._leave_at_s: float | None = None
        self._under_way: set[asyncio.Timeout] = set()

    def leave_within(self, seconds: float) -> None:
        """End every call by then: a service that stops has no time to wait for locks.

        A call that begins after that has ``LAST_CALL_S``.
        """
        self._leave_at_s = asyncio.get_running_loop().time() + seconds
        for timeout in self._under_way:
            if not timeout.expired():  # such a call is ending already, and its bound can't be moved
                timeout.reschedule(self._end_s(timeout.when()))

    async def open(self, *, patient: bool = True) -> None:
        """Connect, and migrate the schema; harmless where that is done.

        Args:
            patient: Wait some seconds for a database that is just starting.

        Raises:
            LedgerError: It can't be used, or a newer program has written it.
        """
        if self._pool is not None:
            return
        backoff = Backoff(first_s=0.5, most_s=4.0, attempts=5 if patient else 1)
        failures = 0
        while True:
            try:
                async with await connect(self.address.get()) as connection:
                    await migrate(connection, self.where, steps())
                break
            except psycopg.Error as error:
                failures += 1
                wait_s = backoff.wait_s(failures) if is_worth_waiting(error) else None
                if wait_s is None:
                    raise self._explained(error) from None
                await self._clock.sleep(wait_s)
        pool = AsyncConnectionPool(
            lambda: self.address.get().conninfo,
            min_size=1,
            max_size=self._connections,
            kwargs={"autocommit": True},
            configure=_configure,
            # Trying again is decided here, by whoever calls, not by the pool as well.
            reconnect_timeout=0,
            timeout=_POOL_S,
            open=False,
        )
        await pool.open()
        self._pool = pool

    async def close(self) -> None:
        """Let go of all connections; harmless where there are none."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def read(self, work: Callable[[Cursor], Awaitable[T]]) -> T:
        """Do some reading that sees one state of the database, whatever others write meanwhile.

        Raises:
            LedgerError: The database can't be used.
        """
        return await self._run(work, IsolationLevel.REPEATABLE_READ)

    async def read_one(self, work: Callable[[Cursor], Awaitable[T]]) -> T:
        """Do some reading that is one statement.

        Raises:
            LedgerError: The database can't be used.
        """
        return await self._run(work, None)

    async def write(self, work: Callable[[Cursor], Awaitable[T]]) -> T:
        """Do some work in one transaction: all of it is kept, or nothing. It may be begun more than once.

        Raises:
            LedgerError: The database can't be used.
        """
        return await self._run(work, IsolationLevel.READ_COMMITTED)

    async def insist(self, work: Callable[[Cursor], Awaitable[T]]) -> T:
        """As ``write``, for work that does no harm when it is done twice, and that costs much when it fails.

        A database that restarts is waited for, up to ``PATIENCE_S``.

        Raises:
            LedgerError: The database can't be used.
        """
        end_s = self._clock.monotonic_s() + PATIENCE_S
        while True:
            try:
                return await self._run(work, IsolationLevel.READ_COMMITTED, repeatable=True)
            except DatabaseLost as error:
                if self._clock.monotonic_s() >= end_s:
                    raise LedgerError(str(error)) from None
                await self._clock.sleep(0.25)

    async def _run(
        self,
        work: Callable[[Cursor], Awaitable[T]],
        isolation: IsolationLevel | None,
        *,
        repeatable: bool = False,
    ) -> T:
        backoff = Backoff(first_s=0.1, most_s=1.0, attempts=4)
        failures = 0
        while True:
            attempt = _Attempt()
            try:
                return await self._in_time(work, isolation, attempt)
            except TimeoutError:
                self._doubtful = self._leave_at_s is None
                within = "before the stop" if self._leave_at_s else f"within {format_seconds(CALL_S)}"
                raise LedgerError(f"The ledger {self.where} did not answer {within}") from None
            except PoolTimeout:
                self._doubtful = True
                failures += 1
                if failures == 1:
                    continue  # a connection of one's own tells what is wrong, or that it has passed
                raise LedgerError(
                    f"The ledger {self.where} gave no connection within {format_seconds(_POOL_S)}: it has "
                    "too few, or it can't be reached"
                ) from None
            except psycopg.Error as error:
                self._doubtful = self._doubtful or is_connection_lost(error)
                failures += 1
                again = is_passing(error) and (repeatable or not attempt.committing)
                wait_s = backoff.wait_s(failures) if again else None
                # A connection that can't even be made has been told in full already.
                if wait_s is None or attempt.probing:
                    raise self._explained(error) from None
                await self._clock.sleep(wait_s)

    async def _in_time(
        self, work: Callable[[Cursor], Awaitable[T]], isolation: IsolationLevel | None, attempt: _Attempt
    ) -> T:
        async with asyncio.timeout_at(self._end_s(None)) as timeout:
            self._under_way.add(timeout)
            try:
                return await self._try(work, isolation, attempt)
            finally:
                self._under_way.discard(timeout)

    def _end_s(self, was_s: float | None) -> float:
        """When a call has to end, on the loop's clock; for one that is under way not later than it had to."""
        now_s = asyncio.get_running_loop().time()
        end_s = was_s or now_s + CALL_S
        if self._leave_at_s is None:
            return end_s
        return min(end_s, max(self._leave_at_s, now_s + LAST_CALL_S))

    async def _try(
        self, work: Callable[[Cursor], Awaitable[T]], isolation: IsolationLevel | None, attempt: _Attempt
    ) -> T:
        if self._pool is None:
            raise LedgerError(f"The ledger {self.where} is not open")
        if self._doubtful:
            # The pool would only say that it has no connection; this says why.
            attempt.probing = True
            await (await connect(self.address.get())).close()
            attempt.probing = self._doubtful = False
            await self._pool.check()
        async with self._pool.connection() as connection:
            if isolation is None:
                async with connection.cursor(binary=True) as cursor:
                    return await work(cursor)
            if connection.isolation_level is not isolation:
                await connection.set_isolation_level(isolation)
            async with connection.transaction(), connection.cursor(binary=True) as cursor:
                result = await work(cursor)
                attempt.committing = isolation is IsolationLevel.READ_COMMITTED
            return result

    def _explained(self, error: psycopg.Error) -> LedgerError:
        explained = explain(error, self.where, self.address.get().secrets)
        return DatabaseLost(str(explained)) if is_connection_lost(error) else explained


class _Attempt:
    """How far one try came."""

    __slots__ = ("committing", "probing")

    def __init__(self) -> None:
        self.committing = False
        self.probing = False


async def _configure(connection: AsyncConnection[Any]) -> None:
    await prepare(connection)
    await connection.execute(_SESSION)
