"""The queue of work, by procrastinate: a task queue in the ledger's own database.

A periodic job, of which there is one a second for all replicas together, looks for what is due and makes a
job of each part of a project's work that nobody is at. A job is a turn, never a record. It is deleted when it
ends: what a turn came to stands in the ledger, with the time of the next one and how often it failed, so
procrastinate itself tries nothing again. A job that was left behind is found by its lease, which has run out.

A job's end is not fenced: a replica that comes back ends a job that others have taken over long since.
Nothing hangs on that, since whoever takes a turn needs its lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ProcrastinateException
from procrastinate.jobs import Status

from otel_bridge.errors import BridgeError, LedgerError
from otel_bridge.service.logs import event
from otel_bridge.service.replicas.parts import BY_NAME, PARTS, Waiting, dealt, moved, queue_of
from otel_bridge.service.replicas.queue_schema import make_queue, prepare_queue
from otel_bridge.service.stopping import STOP_GRACE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from procrastinate.jobs import Job
    from procrastinate.worker import Worker

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.leases import ReplicaStatus, SharedLedger
    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.service.replicas.turns import Turns
    from otel_bridge.times import Clock

SCHEDULE: Final = "schedule"
EVERY_SECOND: Final = "* * * * * *"
_LEFT_BEHIND: Final = """
SELECT job.id, COALESCE(job.lock, job.task_name) AS name FROM procrastinate_jobs AS job
WHERE job.status = 'todo' AND job.queue_name <> ALL (%(queues)s::text[])
    OR job.status = 'doing' AND (SELECT max(event.at) FROM procrastinate_events AS event
        WHERE event.job_id = job.id AND event.type = 'started') < now() - make_interval(secs => %(silent_s)s)
    AND NOT EXISTS (
        SELECT 1 FROM otel_bridge.leases AS l JOIN otel_bridge.projects AS p ON p.id = l.project_id
        WHERE p.name = job.args ->> 'project' AND l.scope = job.args ->> 'part'
            AND l.holder IS NOT NULL AND l.expires_at > clock_timestamp())
"""
_MOVE: Final = """
UPDATE procrastinate_jobs AS job SET queue_name = given.queue
FROM unnest(%(numbers)s::bigint[], %(queues)s::text[]) AS given (number, queue)
WHERE job.id = given.number AND job.status = 'todo'
"""
_CONNECTIONS: Final = 4

# What it has to say of jobs is said by whoever takes a turn.
logging.getLogger("procrastinate").addHandler(logging.NullHandler())
logging.getLogger("procrastinate").propagate = False


class Queue:
    """Makes jobs of what is due, and hands them to ``Turns``.

    Args:
        address: The ledger's database.
        ledger: Says what is due.
        turns: Takes them.
        replica: This replica's name.
        clock: The time.
        silent_s: After so long without a sign of life a replica's jobs are given to others, in seconds.
    """

    def __init__(  # noqa: PLR0913 - what there is between the queue and the work
        self,
        address: Renewable[Address],
        ledger: SharedLedger,
        turns: Turns,
        *,
        replica: str,
        clock: Clock,
        silent_s: float,
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._replica = replica
        self._clock = clock
        self._silent_s = silent_s
        self._address = address
        self._app = App(
            connector=PsycopgConnector(
                conninfo=lambda: address.get().conninfo,
                configure=prepare_queue,
                min_size=1,
                max_size=_CONNECTIONS,
                reconnect_timeout=0,
                timeout=10.0,
            )
        )
        self._collect = self._app.task(name="collect")(self._turn)
        # No lock: one that is left behind must not keep the next one from finding that out.
        schedule = self._app.task(name="schedule", queue=SCHEDULE, priority=90)(self._schedule)
        self._app.periodic(cron=EVERY_SECOND, queueing_lock=SCHEDULE)(schedule)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Make the queue's tables where they are missing, and connect.

        Raises:
            LedgerError: The database can't be used.
        """
        try:
            await make_queue(self._address)
            async with self._app.open_async():
                yield
        except (psycopg.Error, ProcrastinateException) as error:
            raise self._explained(error) from None

    @property
    def queues(self) -> dict[str, str]:
        """Where this replica's jobs are: by what is in them, each for workers of its own."""
        return {
            "head": queue_of(self._replica, urgent=True),
            "rest": queue_of(self._replica, urgent=False),
            # Looking for what is due: nothing that takes long is ever before it.
            "schedule": SCHEDULE,
        }

    async def work(self, kind: str, concurrency: int, stop: asyncio.Event) -> None:
        """Do jobs until the service stops; what is under way then ends by itself first.

        Args:
            kind: Of ``queues``.
            concurrency: How many jobs at once.
            stop: Set when the service stops.

        Raises:
            LedgerError: The database can't be used (now).
        """
        worker = self._app._worker(  # noqa: SLF001 - the public call has no way to stop it without a signal
            queues=[self.queues[kind]],
            name=kind,
            concurrency=concurrency,
            fetch_job_polling_interval=0.25,
            abort_job_polling_interval=3600.0,
            # Polling finds a job as soon, and does not hang on a connection of its own.
            listen_notify=False,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=self._silent_s / 3,
            stalled_worker_timeout=self._silent_s,
            shutdown_graceful_timeout=STOP_GRACE_S,
        )
        stopping = asyncio.create_task(_stop_when(stop, worker))
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        except (psycopg.Error, ProcrastinateException) as error:
            raise self._explained(error) from None
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
        if not stop.is_set():
            raise LedgerError(
                "The queue of work ended by itself, most likely because its connection was lost"
            )

    async def others_wait(self) -> bool:
        """Whether a job waits that this replica could do, if one of its turns ended.

        Raises:
            LedgerError: The database can't be used (now).
        """
        own = {self.queues["head"], self.queues["rest"]}
        try:
            return any(job.queue in own for job in await self._jobs("todo"))
        except (psycopg.Error, ProcrastinateException) as error:
            raise self._explained(error) from None

    async def _turn(self, project: str, part: str) -> None:
        try:
            await self._turns.take(project, part)
        except BridgeError as error:
            event(logging.WARNING, "ledger_failed", f"{project}: {error}", project=project)

    async def _schedule(self, timestamp: int) -> None:
        """Look for what is due; also gives the jobs of replicas that have gone silent to the others."""
        del timestamp
        try:
            await self._recover()
            scopes = [part.scope for part in PARTS]
            projects = {project for each in await self._alive() for project in each.projects}
            due = await self._ledger.due(sorted(projects), scopes, self._clock.now_ms())
            jobs = [*await self._jobs("todo"), *await self._jobs("doing")]
            if due:
                await self._defer(due, jobs)
            await self._move(jobs)
        except (BridgeError, psycopg.Error, ProcrastinateException) as error:
            shown = error if isinstance(error, BridgeError) else self._explained(error)
            event(logging.WARNING, "queue_failed", str(shown))

    async def _move(self, jobs: Sequence[Job]) -> None:
        """Let those that are idle do what waits for others."""
        waiting = [
            Waiting(job.id, str(job.task_kwargs["project"]), str(job.task_kwargs["part"]), job.queue)
            for job in jobs
            if job.status == "todo" and job.id is not None and job.task_kwargs.get("part") in BY_NAME
        ]
        moves = moved(waiting, await self._alive(), Counter(job.queue for job in jobs))
        if moves:
            await self._app.connector.execute_query_async(
                _MOVE, numbers=[number for number, _ in moves], queues=[queue for _, queue in moves]
            )

    async def _defer(self, due: Sequence[tuple[str, str]], jobs: Sequence[Job]) -> None:
        waiting = {job.queueing_lock for job in jobs if job.status == "todo"}
        load = Counter(job.queue for job in jobs)
        wanted = [each for each in due if _name(*each) not in waiting]
        for project, part, queue in dealt(wanted, await self._alive(), load):
            deferrer = self._collect.configure(
                queue=queue,
                lock=_name(project, part),
                queueing_lock=_name(project, part),
                priority=BY_NAME[part].priority,
            )
            with suppress(AlreadyEnqueued):
                await deferrer.defer_async(project=project, part=part)

    async def _jobs(self, status: str) -> list[Job]:
        return list(await self._app.job_manager.list_jobs_async(status=status))

    async def _alive(self) -> list[ReplicaStatus]:
        return [each for each in await self._ledger.replicas() if each.silent_ms < self._silent_s * 1000]

    async def _recover(self) -> None:
        """Take jobs out that nobody is at: whoever took them is gone, or could not say that they had ended.

        What was left undone is due again, and comes back as a new job.
        """
        silent_s = self._silent_s
        queues = [
            queue_of(each.name, urgent=urgent) for each in await self._alive() for urgent in (True, False)
        ]
        rows = await self._app.connector.execute_query_all_async(
            _LEFT_BEHIND, silent_s=silent_s, queues=[SCHEDULE, *queues]
        )
        for row in rows:
            with suppress(ProcrastinateException):  # it may have ended meanwhile
                await self._app.job_manager.finish_job_by_id_async(
                    job_id=row["id"], status=Status.ABORTED, delete_job=True
                )
        if rows:
            event(
                logging.WARNING,
                "jobs_recovered",
                f"{len(rows)} jobs of a replica that has gone silent are given to the others",
                count=len(rows),
                jobs=sorted(row["name"] for row in rows),
            )

    def _explained(self, error: Exception) -> LedgerError:
        address = self._address.get()
        from otel_bridge.ledger.postgres_faults import explain  # noqa: PLC0415

        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, psycopg.Error):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, psycopg.Error):
            return explain(cause, address.where, address.secrets)
        return LedgerError(f"The queue in {address.where} can't be used: {type(error).__name__}")


async def _stop_when(stop: asyncio.Event, worker: Worker) -> None:
    await stop.wait()
    worker.stop()  # type: ignore[no-untyped-call]


def _name(project: str, part: str) -> str:
    return f"{part}/{project}"
