"""One project's ledger compared with the source, for a range of past time.

By counts first: the source's own count is one request for any range. Where the counts differ the range is
halved until the part that differs is small, and only that is listed. Parts whose ids the ledger no longer
keeps are compared by counts alone: every id of a list would seem to be missing there.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Lane
from otel_bridge.pipeline.list import listings, work_of
from otel_bridge.pipeline.pipeline import just
from otel_bridge.receiver.budget import Priority
from otel_bridge.service.findings import Findings, Part
from otel_bridge.service.ranges import uncovered

if TYPE_CHECKING:
    from otel_bridge.ledger import Window
    from otel_bridge.pipeline.context import ProjectContext
    from otel_bridge.pipeline.list import Listing
    from otel_bridge.pipeline.pipeline import Pipeline

_LISTED_RECORDS: Final = 500  # two counts cost as much as two pages: below this, halving no longer pays


class Repair(Enum):
    """What is done about what is missing."""

    NOTHING = "name it"
    MISSING = "deliver what is missing by its id"
    AGAIN = "and deliver again whole parts whose ids are no longer kept and whose counts differ"


class Comparison:
    """Compares ``[from_ms, to_ms)``; for one use.

    Args:
        context: The project's.
        pipeline: Delivers what is missing.
        from_ms: In ms since the epoch.
        to_ms: The same, later.
        repair: What is done about what is missing.
    """

    def __init__(
        self, context: ProjectContext, pipeline: Pipeline, from_ms: int, to_ms: int, repair: Repair
    ) -> None:
        self._context = context
        self._pipeline = pipeline
        self._project = context.project
        self._range = (from_ms, to_ms)
        self._repair = repair
        self._counts = True  # until the source says that its own count can't be had

    async def run(self) -> Findings:
        """Compare, and repair what was asked for.

        Raises:
            Stopped: The service stops; what was delivered is committed.
            BridgeError: The source, a destination or the ledger did not do its part.
        """
        from_ms, to_ms = self._range
        known = await self._context.ledger.tool_calls(self._project, from_ms, to_ms)
        source = await self._source_count(from_ms, to_ms)
        findings = Findings(self._project, from_ms, to_ms, source or 0, known)
        if known.exact and source == known.least:
            return findings
        gaps, forgotten, kept = await self._parts(findings)
        counted = [await self._compare_counts(findings.not_collected, *span) for span in gaps]
        for span in forgotten:
            counted.append(await self._compare_counts(findings.forgotten, *span))
            if self._repair is Repair.AGAIN and not findings.forgotten[-1].agrees:
                await self._deliver_again(findings, *span)
        for span in kept:
            already = source if span == self._range else None
            counted += [await self._compare_ids(findings, *span, already)]
        if source is None:
            findings.source = sum(counted)
        return findings

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────
    async def _parts(self, findings: Findings) -> tuple[list[tuple[int, int]], ...]:
        """The range's parts: never collected, collected with ids forgotten, collected with ids kept."""
        ledger = self._context.ledger
        from_ms, to_ms = self._range
        windows = [
            window
            for lane in Lane
            for window in await ledger.windows(self._project, lane, from_ms=from_ms, to_ms=to_ms)
            if window.passes
        ]
        findings.ahead_ms = await ledger.watermark_ms(self._project, Lane.LIVE)
        findings.open_ms = min(
            (max(window.from_ms, from_ms) for window in windows if not window.sealed), default=None
        )
        gaps = uncovered(from_ms, to_ms, [(window.from_ms, window.to_ms) for window in windows])
        forgotten = [part for span in findings.ledger.forgotten for part in uncovered(*span, gaps)]
        return gaps, forgotten, uncovered(from_ms, to_ms, [*gaps, *forgotten])

    async def _compare_counts(self, parts: list[Part], from_ms: int, to_ms: int) -> int:
        known = await self._context.ledger.tool_calls(self._project, from_ms, to_ms)
        source = await self._source_count(from_ms, to_ms)
        if source is None:
            source = 0
            async for _, listing in listings(self._context, from_ms, to_ms):
                source += _tool_calls(listing)
        parts.append(Part(from_ms, to_ms, source, known))
        return source

    async def _deliver_again(self, findings: Findings, from_ms: int, to_ms: int) -> None:
        async for part, listing in listings(self._context, from_ms, to_ms):
            work = work_of(part, listing)
            await self._pipeline.run(just(work))
            findings.delivered_again += work.tally.delivered
        known = await self._context.ledger.tool_calls(self._project, from_ms, to_ms)
        findings.forgotten[-1] = replace(findings.forgotten[-1], known=known)

    async def _compare_ids(
        self, findings: Findings, from_ms: int, to_ms: int, source: int | None = None
    ) -> int:
        """Compare a part whose ids are kept; gives how many tool calls the source has there."""
        known = await self._context.ledger.tool_calls(self._project, from_ms, to_ms)
        if source is None:
            source = await self._source_count(from_ms, to_ms)
        if source == known.least:
            return source
        if source is None or source <= _LISTED_RECORDS or to_ms - from_ms == 1:
            return await self._compare_list(findings, from_ms, to_ms)
        middle = from_ms + (to_ms - from_ms) // 2
        first = await self._source_count(from_ms, middle)
        rest = None if first is None else source - first
        await self._compare_ids(findings, from_ms, middle, first)
        await self._compare_ids(findings, middle, to_ms, rest)
        return source

    async def _compare_list(self, findings: Findings, from_ms: int, to_ms: int) -> int:
        counted = 0
        async for part, listing in listings(self._context, from_ms, to_ms):
            counted += _tool_calls(listing)
            ids = [entry.id for entry in listing.entries]
            ids += [each.log_id for each in listing.unreadable if each.log_id]
            known = await self._context.ledger.known(self._project, ids)
            missing = [log_id for log_id in ids if log_id not in known]
            if missing and (await self._ids_went(part)):
                # The service has pruned meanwhile: what its ledger knew a moment ago is not missing.
                continue
            findings.miss(missing)
            if missing and self._repair is not Repair.NOTHING:
                work = work_of(part, listing)
                await self._pipeline.run(just(work))
                findings.repaired += work.tally.delivered
                for reason, count in work.tally.set_aside.items():
                    findings.put_aside[reason] = findings.put_aside.get(reason, 0) + count
        return counted

    async def _ids_went(self, part: Window) -> bool:
        now_known = await self._context.ledger.tool_calls(self._project, part.from_ms, part.to_ms)
        return bool(now_known.forgotten)

    # ── the source ───────────────────────────────────────────────────────────────────────────────────
    async def _source_count(self, from_ms: int, to_ms: int) -> int | None:
        self._context.leave_if_stopped()
        if not self._counts:
            return None
        count = await self._context.source.count(from_ms, to_ms, Priority.BACKFILL)
        self._counts = count is not None
        return count


def _tool_calls(listing: Listing) -> int:
    return sum(entry.is_tool_execution for entry in listing.entries) + len(listing.unreadable)
