"""A process as one of several replicas: it takes turns at the work of its projects until it is stopped.

There is no leader. Each replica looks now and then for what is due, one of them at a time; each takes what it
finds. One that stops hands back what it holds; of one that is gone the leases run out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from procrastinate.exceptions import ProcrastinateException

from otel_bridge.errors import BridgeError
from otel_bridge.retry import Backoff
from otel_bridge.service.logs import event
from otel_bridge.service.replicas.parts import WORKERS
from otel_bridge.service.replicas.queue import Queue
from otel_bridge.service.replicas.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.leases import ReplicaStatus, SharedLedger
    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.service.worker import ProjectWorker
    from otel_bridge.times import Clock


def replica_name() -> str:
    """This process among its like: where it runs, and something that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(3)}"


class Replica:
    """Takes part in the work.

    Args:
        address: The database of ledger and queue.
        ledger: Opened.
        workers: By project; their ledger is ``turns.guarded``. May change while it runs.
        clock: The time.
        lease_s: How long a lease holds unless it is renewed, in seconds.
        stop: Set when the service stops.
    """

    def __init__(  # noqa: PLR0913 - what there is of a replica
        self,
        address: Renewable[Address],
        ledger: SharedLedger,
        workers: Mapping[str, ProjectWorker],
        *,
        clock: Clock,
        lease_s: float,
        stop: asyncio.Event,
    ) -> None:
        self.name = replica_name()
        self._clock = clock
        self._stop = stop
        self.turns = Turns(
            ledger,
            workers,
            clock=clock,
            holder=self.name,
            lease_s=lease_s,
            others_wait=self._others_wait,
            stop=stop,
        )
        self._queue = Queue(
            address,
            ledger,
            self.turns,
            replica=self.name,
            clock=clock,
            # Not before its leases have run out, or who takes its jobs finds them held.
            silent_s=lease_s * 1.25,
        )

    async def _others_wait(self) -> bool:
        return await self._queue.others_wait()

    async def run(self, others: Callable[[Sequence[ReplicaStatus]], Awaitable[None]]) -> None:
        """Take turns until the service stops.

        Args:
            others: Called now and then with all replicas that are alive, this one among them.

        Raises:
            LedgerError: The queue could not even be made.
        """
        async with self._queue.opened():
            event(logging.INFO, "joined", f"takes part as {self.name}", replica=self.name)
            keeping = asyncio.create_task(self.turns.keep(others))
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(_quiet)  # to the end: such errors show when they are collected
            try:
                await asyncio.gather(
                    *(
                        self._again(partial(self._queue.work, kind, concurrency, self._stop))
                        for kind, concurrency in WORKERS.items()
                    )
                )
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await self.turns.leave()

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        """Go on with it whenever it fails, until the service stops."""
        backoff = Backoff(first_s=0.5, most_s=10.0, attempts=None)
        failures = 0
        while not self._stop.is_set():
            started_s = self._clock.monotonic_s()
            try:
                await work()
            except BridgeError as error:
                # Long after the last trouble this is a new one.
                calm = self._clock.monotonic_s() - started_s > backoff.most_s
                failures = 1 if calm else failures + 1
                wait_s = backoff.wait_s(failures) or 0.0
                if not self._stop.is_set():
                    event(logging.WARNING, "queue_failed", str(error), retry_in_s=round(wait_s, 1))
                    await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        stopping = asyncio.create_task(self._stop.wait())
        _, pending = await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A job whose end could not be told to the database leaves an error that nobody asks for.

    The next who looks for what is due finds that job left behind, so there is nothing to say.
    """
    if not isinstance(context.get("exception"), ProcrastinateException):
        loop.default_exception_handler(context)
