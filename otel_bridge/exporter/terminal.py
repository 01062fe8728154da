"""Traces as a waterfall in the terminal.

Everything that comes from data is cleaned before it is drawn: a name can't move the cursor, set a colour or
turn the direction of writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from otel_bridge.exporter.sender import one_line
from otel_bridge.exporter.trace_tree import Row, Trace, traces
from otel_bridge.signals import Delivery, LogRecord, Outcome, Severity, StatusCode
from otel_bridge.times import format_length, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_SHOWN: Final = ("session.id", "user.id")
"""Attributes that a trace's header shows, where its spans have them."""

_PREFIX: Final = "execute_tool "
_PALETTE: Final = ("cyan", "magenta", "yellow", "blue", "green", "bright_cyan", "bright_magenta")
_ERROR: Final = "red"
_QUIET: Final = "dim"
_LENGTH_CELLS: Final = 8
_MOST_LABEL: Final = 60
_LEAST_WIDTH: Final = 40
_NS_PER_MS: Final = 1_000_000
_SEVERITY_STYLE: Final = {Severity.INFO: _QUIET, Severity.WARN: "yellow", Severity.ERROR: _ERROR}


@dataclass(frozen=True, slots=True)
class Look:
    """What a drawing shows.

    Attributes:
        shown: Attributes for the header of a trace.
        colored_by: The attribute whose values get a colour each; None for one colour.
    """

    shown: tuple[str, ...] = DEFAULT_SHOWN
    colored_by: str | None = None


class TerminalExporter:
    """Draws what it is given; all of it counts as delivered.

    Args:
        console: Where to draw; standard output without one. No colour where that is no terminal.
        look: What to show.
    """

    def __init__(self, console: Console | None = None, look: Look | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._look = look or Look()

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Draw, one waterfall a trace."""
        if deliveries:
            self._console.print(render_traces(deliveries, self._console.width, self._look), highlight=False)
        return Outcome(delivered=[delivery.key for delivery in deliveries])

    async def aclose(self) -> None:
        """Nothing to let go of."""


def render_traces(deliveries: Sequence[Delivery], width: int, look: Look | None = None) -> Group:
    """Draw traces, and log records that have no span, for a number of columns.

    Args:
        deliveries: What to draw; spans of one trace come together.
        width: Columns, 40 or more.
        look: What to show.

    Returns:
        Something for a rich console to print.
    """
    look = look or Look()
    width = max(width, _LEAST_WIDTH)
    palette: dict[str, str] = {}
    lines: list[Text] = []
    for trace in traces(deliveries):
        lines += _trace_lines(trace, width, look, palette)
        lines.append(Text())
    events = [delivery.log for delivery in deliveries if delivery.log is not None and delivery.span is None]
    lines += [_event_line(event, width) for event in events]
    if events:
        lines.append(Text())
    return Group(*lines)


def _trace_lines(trace: Trace, width: int, look: Look, palette: dict[str, str]) -> list[Text]:
    # The same for every trace of a width that has no call of minutes, so that bars stand in line from one
    # trace to the next.
    lengths = [_length(row.span.start_ns, row.span.end_ns) for row in trace.rows]
    length_cells = max(_LENGTH_CELLS, *map(len, lengths))
    label_cells = min(width * 45 // 100, _MOST_LABEL)
    bar_cells = width - len(" ") - label_cells - len("  ") - len(" ") - length_cells
    lines = _header(trace, width, look)
    for row, length in zip(trace.rows, lengths, strict=True):
        failed = row.span.status is StatusCode.ERROR
        guide = _guide(row, label_cells)
        name = Text(_name(row), _ERROR if failed else "default", no_wrap=True)
        name.truncate(label_cells - cell_len(guide), overflow="ellipsis", pad=True)
        line = Text(no_wrap=True).append(f" {guide}", _QUIET).append(name).append("  ")
        line.append(_bar(row, trace, bar_cells), _ERROR if failed else _color(row, look, palette))
        line.append(f" {length:>{length_cells}}", _QUIET)
        lines.append(line)
        if failed and row.span.status_message:
            lines.append(_message(row, width))
    return lines


def _header(trace: Trace, width: int, look: Look) -> list[Text]:
    first = trace.rows[0]
    failures = sum(row.span.status is StatusCode.ERROR for row in trace.rows)
    calls = len(trace.rows)
    title = Text("● ", style=_ERROR if failures else "green", no_wrap=True)
    title.append(
        _attribute(dict(first.delivery.resource.attributes), "service.name") or "trace", "bold default"
    )
    facts = [f"{calls} call{'s' if calls != 1 else ''}", _length(trace.start_ns, trace.end_ns)]
    title.append(f"  {' · '.join(facts)}", "default")
    if failures:
        title.append(f" · {failures} failed", f"bold {_ERROR}")
    when = format_time(trace.start_ns // _NS_PER_MS)[:19].replace("T", " ")
    room = width - title.cell_len - len(when)
    if room > 1:
        title.append(f"{' ' * room}{when}", f"{_QUIET} default")
    title.truncate(width, overflow="ellipsis")
    described = []
    for name in look.shown:
        value = next((v for row in trace.rows if (v := _attribute(row.span.attributes, name))), None)
        if value is not None:
            described.append(f"{name.partition('.')[0]} {value}")
    described.append(f"trace {trace.trace_id.hex()}")
    return [title, _fitted(f"  {' · '.join(described)}", width, _QUIET)]


def _event_line(log: LogRecord, width: int) -> Text:
    when = format_time(log.time_ns // _NS_PER_MS)[11:19]
    text = f"{when} {log.severity.name:<5} {_clean(log.event_name)}  {_clean(log.body)}"
    return _fitted(text, width, _SEVERITY_STYLE[log.severity])


def _guide(row: Row, label_cells: int) -> str:
    guide = "".join("   " if last else "│  " for last in row.last[:-1])
    if row.last:
        guide += "└─ " if row.last[-1] else "├─ "
    if len(guide) > label_cells // 2:
        return f"{len(row.last)}┄ "  # too deep to draw: the depth as a number
    return guide


def _name(row: Row) -> str:
    return _clean(row.span.name.removeprefix(_PREFIX)) or "(no name)"


def _color(row: Row, look: Look, palette: dict[str, str]) -> str:
    value = _attribute(row.span.attributes, look.colored_by) if look.colored_by else None
    return palette.setdefault(value or "", _PALETTE[len(palette) % len(_PALETTE)])


def _bar(row: Row, trace: Trace, cells: int) -> str:
    """Draw a bar to half a cell: a span of no length is half a cell wide."""
    whole = max(trace.end_ns - trace.start_ns, 1)
    halves = cells * 2
    begin = min((row.span.start_ns - trace.start_ns) * halves // whole, halves - 1)
    end = max(-((trace.start_ns - row.span.end_ns) * halves // whole), begin + 1)
    drawn = []
    for cell in range(cells):
        left, right = (begin <= half < end for half in (2 * cell, 2 * cell + 1))
        drawn.append("━" if left and right else "╸" if left else "╺" if right else " ")
    return "".join(drawn)


def _message(row: Row, width: int) -> Text:
    guide = "".join("   " if last else "│  " for last in row.last)
    guide += "│  " if row.parental else "   "
    if len(guide) > width // 4:
        guide = "   "
    line = Text(f" {guide}", style=_QUIET, no_wrap=True)
    line.append(f"✗ {_clean(row.span.status_message)}", f"not dim {_ERROR}")
    line.truncate(width, overflow="ellipsis")
    return line


def _fitted(text: str, width: int, style: str) -> Text:
    line = Text(text, style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _attribute(attributes: Mapping[str, object], name: str) -> str | None:
    value = attributes.get(name)
    return _clean(value) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """Leave what can be drawn: no control, direction or layout characters, and not too much of it."""
    return one_line(text)


def _length(start_ns: int, end_ns: int) -> str:
    return format_length((end_ns - start_ns) / _NS_PER_MS)
