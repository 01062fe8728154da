"""The latest tool calls as small waterfalls, each under its trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.exporter.sender import one_line
from otel_bridge.exporter.trace_tree import Trace, traces
from otel_bridge.mapping import conventions as c
from otel_bridge.settings.links import filled
from otel_bridge.signals import StatusCode
from otel_bridge.times import format_time
from otel_bridge.web import drawing, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.exporter.trace_tree import Row
    from otel_bridge.signals import Delivery, Span
    from otel_bridge.web.drawing import Bar
    from otel_bridge.web.snapshot import Snapshot

MOST_TRACES: Final = 12
MOST_ROWS: Final = 100
"""Calls shown in all."""
MOST_ROWS_OF_TRACE: Final = 25
_MOST_DEPTH: Final = 6
_MOST_NAME: Final = 70
_PREFIX: Final = f"{c.EXECUTE_TOOL} "
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class CallView:
    """One call in a waterfall."""

    name: list[str]
    depth: int
    failed: bool
    bar: Bar
    place: str
    duration: str
    error: str


@dataclass(frozen=True, slots=True)
class TraceView:
    """One trace, newest calls first among traces."""

    trace_id: str
    project: str
    facts: str
    failed: int
    when: str
    ago: str
    links: list[tuple[str, str]]
    calls: list[CallView]
    left_out: int


def trace_views(snapshot: Snapshot, links: Mapping[str, str], part: float) -> list[TraceView]:
    """The latest traces of all projects, the newest first.

    Args:
        snapshot: Has the calls.
        links: Names, each with the URL template of a trace.
        part: How much of what can be shown is, 0 to 1.
    """
    found = [
        (trace, one_line(project.name)) for project in snapshot.projects for trace in traces(project.calls)
    ]
    found.sort(key=lambda each: each[0].end_ns, reverse=True)
    views: list[TraceView] = []
    room = math.ceil(MOST_ROWS * part)
    for trace, project in found[:MOST_TRACES]:
        rows = trace.rows[: min(MOST_ROWS_OF_TRACE, room)]
        if not rows:
            break
        room -= len(rows)
        views.append(_trace(trace, rows, project, links, snapshot.now_ms))
    return views


def _trace(
    trace: Trace, rows: tuple[Row, ...], project: str, links: Mapping[str, str], now_ms: int
) -> TraceView:
    failed = sum(row.span.status is StatusCode.ERROR for row in trace.rows)
    facts = f"{words.count(len(trace.rows), 'call')}, {words.duration(trace.end_ns - trace.start_ns)}"
    end_ms = trace.end_ns // _NS_PER_MS
    values = _values(trace, rows[0], project)
    return TraceView(
        trace_id=trace.trace_id.hex(),
        project=project,
        facts=facts,
        failed=failed,
        when=format_time(end_ms),
        ago=words.ago(max(0, now_ms - end_ms)),
        links=[(name, filled(template, values)) for name, template in links.items()],
        calls=[_call(row, trace) for row in rows],
        left_out=len(trace.rows) - len(rows),
    )


def _values(trace: Trace, first: Row, project: str) -> dict[str, str]:
    return {
        "trace_id": trace.trace_id.hex(),
        "trace_id_low": str(int.from_bytes(trace.trace_id[8:])),
        "span_id": first.span.span_id.hex(),
        "start_ms": str(trace.start_ns // _NS_PER_MS),
        "end_ms": str(trace.end_ns // _NS_PER_MS + 1),
        "project": project,
    }


def _call(row: Row, trace: Trace) -> CallView:
    span = row.span
    failed = span.status is StatusCode.ERROR
    kind = span.attributes.get(c.ERROR_TYPE)
    return CallView(
        name=_parts(row.delivery),
        depth=min(len(row.last), _MOST_DEPTH),
        failed=failed,
        bar=drawing.span_bar(span, trace),
        place=f"starts after {words.duration(span.start_ns - trace.start_ns)}",
        duration=words.duration(span.end_ns - span.start_ns),
        error=_error(span, kind if isinstance(kind, str) else "") if failed else "",
    )


def _error(span: Span, kind: str) -> str:
    """Why a call failed, with that word in it: colour alone is not seen by everybody."""
    # Composio's messages begin with the tool's name, which stands above.
    said = one_line(span.status_message or kind).removeprefix(f"{span.name.removeprefix(_PREFIX)} ")
    if "fail" in said.lower():
        return said
    return f"failed: {said}" if said else "failed"


def _parts(delivery: Delivery) -> list[str]:
    """A call's name, in the parts between which a line may break."""
    span = delivery.span
    name = one_line("" if span is None else span.name.removeprefix(_PREFIX))[:_MOST_NAME] or "no name"
    pieces = name.split("_")
    return [f"{piece}_" for piece in pieces[:-1]] + pieces[-1:]
