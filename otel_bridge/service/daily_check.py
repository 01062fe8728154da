"""The automatic comparison with the source: once a day a project, of what was sealed since the last one.

Each project does it at a time of day of its own, so that many of them do not ask at once. What is found
missing is delivered, and said: it means that a record became visible only after the last re-check.
"""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.errors import DestinationError, SourceError
from otel_bridge.ledger import Lane, Verification
from otel_bridge.service.comparison import Comparison, Repair
from otel_bridge.telemetry.events import event
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from otel_bridge.ledger import ProjectStatus
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.pipeline import Pipeline
    from otel_bridge.service.findings import Findings

_AGAIN_MS: Final = 10 * 60_000  # after a failure, or where nothing is sealed yet


class DailyCheck:
    """Compares what was sealed since the last comparison, and repairs it.

    Args:
        context: The project's.
        pipeline: Delivers what is missing.
        every_ms: How often; 0 for never.
    """

    def __init__(self, context: ProjectContext, pipeline: Pipeline, every_ms: int) -> None:
        self._context = context
        self._pipeline = pipeline
        self._every_ms = every_ms
        self._due_ms: int | None = None

    async def step(self) -> None:
        """Make the comparison if it is due.

        Raises:
            Stopped: The service stops.
            LedgerError: As the ledger.
        """
        now_ms = self._context.clock.now_ms()
        # A due time further away than it can be is from before the clock was set back.
        if not self._every_ms or (
            self._due_ms is not None and now_ms < self._due_ms <= now_ms + self._every_ms
        ):
            return
        status = await self._status()
        last = status.verification
        since_ms = await self._first_ms(now_ms) if last is None else last.at_ms
        self._due_ms = self._next_ms(min(since_ms, now_ms))
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + min(_AGAIN_MS, self._every_ms)
        to_ms = status.sealed_ms
        if to_ms is not None:
            from_ms = max(since_ms, to_ms - self._every_ms) if last is None else last.to_ms
            if from_ms < to_ms:
                await self._compare(from_ms, to_ms, now_ms)

    async def _status(self) -> ProjectStatus:
        project = self._context.project
        return (await self._context.ledger.status([project]))[0]

    async def _first_ms(self, now_ms: int) -> int:
        """Where the live lane begins; the present without any window."""
        windows = await self._context.ledger.windows(self._context.project, Lane.LIVE)
        return windows[0].from_ms if windows else now_ms

    def _next_ms(self, since_ms: int) -> int:
        """The project's own moment that comes after ``since_ms``."""
        offset = zlib.crc32(self._context.project.encode()) % self._every_ms
        return since_ms + self._every_ms - (since_ms - offset) % self._every_ms

    async def _compare(self, from_ms: int, to_ms: int, now_ms: int) -> None:
        context = self._context
        try:
            findings = await Comparison(context, self._pipeline, from_ms, to_ms, Repair.MISSING).run()
        except (SourceError, DestinationError) as error:
            event(
                logging.WARNING,
                "verify_failed",
                f"{context.project}: the comparison with the source failed and is made again: {error}",
                project=context.project,
            )
            return
        result = Verification(
            at_ms=now_ms,
            from_ms=from_ms,
            to_ms=to_ms,
            source=findings.source,
            ledger=findings.ledger.least,
            missing=findings.missing,
            repaired=findings.repaired,
        )
        await context.ledger.note_verification(context.project, result)
        self._due_ms = self._next_ms(now_ms)
        _say(findings)


def _say(findings: Findings) -> None:
    level, action, text = logging.INFO, "verified", f"{findings.project}: nothing is missing"
    if findings.missing:
        level, action = logging.WARNING, "verify_missing"
        missing = counted(findings.missing, "record")
        text = f"{findings.project}: {missing} missing, {findings.repaired:,} repaired"
    elif not findings.equal:
        level, action = logging.WARNING, "verify_differs"
        text = f"{findings.project}: the counts of a part whose ids are no longer kept differ"
    event(
        level,
        action,
        text,
        project=findings.project,
        window_from=format_time(findings.from_ms),
        window_to=format_time(findings.to_ms),
        source=findings.source,
        ledger=findings.ledger.least,
        **({"missing_ids": findings.missing_ids} if findings.missing_ids else {}),
    )
