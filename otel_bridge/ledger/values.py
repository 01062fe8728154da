"""What the ledger remembers: windows, delivered ids, and what was set aside. Never a payload."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from otel_bridge.frozen import value


class Lane(StrEnum):
    """Why a window is collected. Lanes of one project are separate lines of time."""

    LIVE = "live"
    BACKFILL = "backfill"


class Reason(StrEnum):
    """Why a record was set aside."""

    NOT_FOUND = "not_found"  # listed, but its detail is 404
    SOURCE_FAILED = "source_failed"  # its detail is 5xx or refused, never comes, is no JSON
    UNREADABLE = "unreadable"  # its bytes are no log entry
    UNMAPPABLE = "unmappable"  # the mapping or the encoder can't take it
    REFUSED = "refused"  # the destination refuses it
    WAITING_FOR_PARENT = "waiting_for_parent"  # its parent's log is not written yet
    WAITING_FOR_CORRELATION = "waiting_for_correlation"  # the application may still say where it belongs

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is wrong with the record: it only waits for a bounded time."""
        return self in {Reason.WAITING_FOR_PARENT, Reason.WAITING_FOR_CORRELATION}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a project's time: ``[from_ms, to_ms)``, in ms since the epoch.

    Attributes:
        passes: How often it has been listed to the end: 0 for a window not collected yet.
        due_ms: When the next pass is due; None once it is sealed.
        records: How many distinct records its passes have delivered or set aside.
    """

    project: str
    lane: Lane
    from_ms: int
    to_ms: int
    passes: int = 0
    due_ms: int | None = 0
    records: int = 0

    @property
    def sealed(self) -> bool:
        """Whether no further pass will come."""
        return self.due_ms is None

    @property
    def length_ms(self) -> int:
        """Its length in ms."""
        return self.to_ms - self.from_ms

    def part(self, from_ms: int, to_ms: int) -> Window:
        """A stretch of it, with the records left uncounted."""
        return replace(self, from_ms=from_ms, to_ms=to_ms, records=0)


@value(frozen=True, slots=True)
class DeliveredRecord:
    """One record that every destination has acknowledged, with the identity it was given.

    Attributes:
        time_ms: The entry's time, which says when the row can be forgotten.
        trace_id: 16 bytes.
        span_id: 8 bytes.
        parent_span_id: 8 bytes, or None for a root.
        depth: How many known ancestors stand above it.
        tool_call: Whether it is a tool call: the log holds other entries as well.
        sampled: False where its span was left out because the application did not sample the trace.
    """

    log_id: str
    time_ms: int
    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None = None
    depth: int = 0
    tool_call: bool = True
    sampled: bool = True


@dataclass(frozen=True, slots=True)
class SetAside:
    """One record that could not be delivered.

    Attributes:
        time_ms: The entry's time, or where it has none the window's start.
        reason: Why.
        message: One line for people, without payload or secret.
        attempts: How often it was tried.
        since_ms: When it was first set aside.
        retry_ms: When it will be tried again; None for never by itself.
        tool_call: Whether it is a tool call; what can't be read is taken for one.
    """

    log_id: str
    time_ms: int
    reason: Reason
    message: str
    attempts: int
    since_ms: int
    retry_ms: int | None
    tool_call: bool = True


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """How many tool calls of a range of time the ledger knows: delivered, or set aside.

    Attributes:
        least: At least so many.
        most: At most so many; None where nobody has counted. The same as ``least`` where every id is kept.
        set_aside: Those of them that are set aside, by reason.
        forgotten: The stretches ``[from, to)`` of the range of which ids are no longer kept, in ms.
    """

    least: int
    most: int | None
    set_aside: dict[str, int]
    forgotten: tuple[tuple[int, int], ...]

    @property
    def exact(self) -> bool:
        """Whether the count is known and not only bounded."""
        return self.least == self.most

    def may_be(self, count: int) -> bool:
        """Whether so many agrees with what is known."""
        return self.least <= count and (self.most is None or count <= self.most)


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of one automatic comparison with the source; times in ms since the epoch.

    Attributes:
        at_ms: When.
        from_ms: Where the compared range begins.
        to_ms: Where it ends.
        source: Tool calls the source has.
        ledger: Tool calls the ledger knew, at least.
        missing: Records the source showed and the ledger did not know.
        repaired: How many of those were delivered then.
    """

    at_ms: int
    from_ms: int
    to_ms: int
    source: int
    ledger: int
    missing: int
    repaired: int


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """What the ledger knows of a project.

    Attributes:
        watermark_ms: Everything of the live lane before it has been collected at least once; None at first.
        sealed_ms: Everything of the live lane before it is sealed; None where nothing is.
        delivered: Records delivered in all, pruned ones included.
        set_aside: Count by reason.
        open_windows: Windows with a pass still to come.
        last_error: The newest error of a poll or a delivery, in one line; None when the last one succeeded.
        last_error_ms: When that was.
        last_success_ms: When a pass last ended well.
        verification: The last automatic comparison with the source; None before the first.
    """

    project: str
    watermark_ms: int | None
    sealed_ms: int | None
    delivered: int
    set_aside: dict[str, int]
    open_windows: int
    last_error: str | None
    last_error_ms: int | None
    last_success_ms: int | None
    verification: Verification | None = None
