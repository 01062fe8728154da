"""Spans put in order for drawing: traces, and in each the spans under their parents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_bridge.signals import Delivery, Span


@dataclass(frozen=True, slots=True)
class Row:
    """One span's place in its trace's drawing.

    Attributes:
        last: For each of its ancestors below the root, and then itself, whether it is the last child. Empty
            for a root.
        parental: Whether spans stand under it.
    """

    delivery: Delivery
    span: Span
    last: tuple[bool, ...]
    parental: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one trace id, parents before children, children by their start."""

    trace_id: bytes
    rows: tuple[Row, ...]

    @property
    def start_ns(self) -> int:
        """When its first span began."""
        return min(row.span.start_ns for row in self.rows)

    @property
    def end_ns(self) -> int:
        """When its last span ended."""
        return max(max(row.span.start_ns, row.span.end_ns) for row in self.rows)


def traces(deliveries: Iterable[Delivery]) -> list[Trace]:
    """Group spans by trace, in the order in which the traces come, and order each as a tree.

    A span whose parent is not among them is a root. Parents that go round in a circle lose one link.
    """
    grouped: dict[bytes, list[tuple[Delivery, Span]]] = {}
    for delivery in deliveries:
        if delivery.span is not None:
            grouped.setdefault(delivery.span.trace_id, []).append((delivery, delivery.span))
    return [Trace(trace_id, _rows(members)) for trace_id, members in grouped.items()]


def _rows(members: Sequence[tuple[Delivery, Span]]) -> tuple[Row, ...]:
    members = sorted(members, key=lambda member: (member[1].start_ns, -member[1].end_ns))
    here = {span.span_id for _, span in members}
    children: dict[bytes | None, list[int]] = {}
    for number, (_, span) in enumerate(members):
        children.setdefault(span.parent_span_id if span.parent_span_id in here else None, []).append(number)

    rows: list[Row] = []
    drawn: set[int] = set()
    # Roots first; then, for what only a circle leads to, its earliest span as if it were a root.
    for root in (*children.get(None, ()), *range(len(members))):
        waiting: list[tuple[int, tuple[bool, ...]]] = [(root, ())]
        while waiting:
            number, last = waiting.pop()
            if number in drawn:
                continue
            drawn.add(number)
            delivery, span = members[number]
            under = [child for child in children.get(span.span_id, ()) if child not in drawn]
            rows.append(Row(delivery, span, last, parental=bool(under)))
            waiting.extend((child, (*last, child == under[-1])) for child in reversed(under))
    return tuple(rows)
