"""What a comparison of the ledger with the source has found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.service.status import describe_set_aside
from otel_bridge.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_bridge.ledger import ToolCalls

NAMED_IDS: Final = 50
"""How many missing ids are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the range that can be compared by counts only; times in ms since the epoch.

    Attributes:
        source: Tool calls the source has there.
        known: What the ledger knows of it.
    """

    from_ms: int
    to_ms: int
    source: int
    known: ToolCalls

    @property
    def agrees(self) -> bool:
        """Whether the ledger's count, as far as it is known, says the same as the source's."""
        return self.known.most is not None and self.known.may_be(self.source)

    @property
    def lacking(self) -> int:
        """How many tool calls of the source the ledger can't account for."""
        return max(0, self.source - self.known.least)

    @property
    def span(self) -> str:
        """Its two ends in words."""
        return f"{format_time(self.from_ms)} to {format_time(self.to_ms)}"


@dataclass(slots=True)
class Findings:
    """What was found in ``[from_ms, to_ms)`` of one project.

    Attributes:
        source: Tool calls the source has.
        ledger: Tool calls the ledger knew before anything was repaired.
        missing: Records the source lists and the ledger does not know.
        missing_ids: The first ``NAMED_IDS`` of them.
        repaired: How many of them were delivered.
        put_aside: How many of them could not be, by reason.
        not_collected: Parts that were never collected.
        ahead_ms: Where what is still to be collected by ``run`` begins; None without a live window.
        forgotten: Parts whose ids are no longer kept.
        delivered_again: Records delivered of such parts because the counts differed.
        open_ms: Where the first window of the range begins that will be listed again; None where all are
            sealed.
    """

    project: str
    from_ms: int
    to_ms: int
    source: int
    ledger: ToolCalls
    missing: int = 0
    missing_ids: list[str] = field(default_factory=list)
    repaired: int = 0
    put_aside: dict[str, int] = field(default_factory=dict)
    not_collected: list[Part] = field(default_factory=list)
    ahead_ms: int | None = None
    forgotten: list[Part] = field(default_factory=list)
    delivered_again: int = 0
    open_ms: int | None = None

    @property
    def equal(self) -> bool:
        """Whether the ledger knows all that the source has, what was repaired included."""
        return (
            self.missing == self.repaired
            and not any(part.lacking for part in self.not_collected)
            and all(part.agrees for part in self.forgotten)
        )

    def miss(self, log_ids: Iterable[str]) -> None:
        """Count missing records, and keep the first ids."""
        for log_id in log_ids:
            self.missing += 1
            if len(self.missing_ids) < NAMED_IDS:
                self.missing_ids.append(log_id)

    def lines(self) -> Iterator[str]:
        """For people: the verdict first."""
        yield (
            f"{self.project}: {format_time(self.from_ms)} to {format_time(self.to_ms)}: "
            f"the source has {_calls(self.source)}, the ledger {_bounds(self.ledger)}: {self._verdict()}"
        )
        if self.missing:
            yield from self._missing_lines()
        if self.ledger.set_aside:
            total = sum(self.ledger.set_aside.values())
            yield f"  {total:,} set aside: {describe_set_aside(self.ledger.set_aside)}"
        for part in self.not_collected:
            if part.lacking:
                yield f"  {self._not_collected(part)}"
        for part in self.forgotten:
            yield f"  ids of {part.span} are no longer kept; {_compared(part)}"
        if self.delivered_again:
            yield f"  {counted(self.delivered_again, 'record')} delivered again"

    def _missing_lines(self) -> Iterator[str]:
        for log_id in self.missing_ids:
            yield f"  {log_id}" if log_id.isprintable() else f"  {log_id!r}"
        if self.missing > len(self.missing_ids):
            yield f"  and {self.missing - len(self.missing_ids):,} more"
        if self.open_ms is not None:
            yield f"  late records from {format_time(self.open_ms)} on are still looked for by re-checks"
        if self.put_aside:
            yield f"  not delivered and set aside now: {describe_set_aside(self.put_aside)}"

    def _verdict(self) -> str:
        if self.missing:
            repaired = f", {self.repaired:,} repaired" if self.repaired or self.put_aside else ""
            return f"{self.missing:,} missing{repaired}"
        if not self.equal:
            return "not equal"
        if self.ledger.exact and self.source == self.ledger.least:
            return "equal"
        return "nothing is missing"

    def _not_collected(self, part: Part) -> str:
        if self.ahead_ms is not None and part.from_ms >= self.ahead_ms:
            return f"not collected yet: {part.span}, {_calls(part.lacking)}; `otel-bridge run` goes on there"
        ends = f"--from {format_time(part.from_ms)} --to {format_time(part.to_ms)}"
        return f"never collected: {_calls(part.lacking)}; `otel-bridge backfill {ends}` delivers them"


def _compared(part: Part) -> str:
    if part.known.most is None:
        return "an older version did not count them, so nothing can be said"
    counts = f"the source has {_calls(part.source)}, the ledger counted {_bounds(part.known)}"
    return counts if part.agrees else f"{counts}: they differ (--repair --again delivers the part again)"


def _bounds(known: ToolCalls) -> str:
    if known.exact:
        return f"{known.least:,}"
    return (
        f"at least {known.least:,}" if known.most is None else f"between {known.least:,} and {known.most:,}"
    )


def _calls(count: int) -> str:
    return counted(count, "tool call")
