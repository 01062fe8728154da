"""The page: from a snapshot to HTML that needs no script and nothing from elsewhere.

Whatever is read from a record is text to the template, which escapes it. The page stays under 100 KB
whatever there is to show: so many projects in full, so many calls, and the rest in a word.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from otel_bridge import __version__
from otel_bridge.exporter.sender import one_line
from otel_bridge.exporter.trace_tree import Trace, traces
from otel_bridge.mapping import conventions as c
from otel_bridge.settings.links import filled
from otel_bridge.signals import StatusCode
from otel_bridge.times import format_time
from otel_bridge.web import drawing, words
from otel_bridge.web.guard import HEADERS
from otel_bridge.web.replicas import replica_views
from otel_bridge.web.status import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.exporter.trace_tree import Row
    from otel_bridge.ledger import SetAside
    from otel_bridge.signals import Delivery
    from otel_bridge.web.drawing import Bar, BudgetBar
    from otel_bridge.web.snapshot import ProjectSnapshot, Snapshot

REFRESH_S: Final = 10
MOST_PROJECTS: Final = 12
"""So many projects are shown in full, troubled ones first."""
MOST_NAMED: Final = 100
"""So many more by name and a sentence."""
MOST_TRACES: Final = 12
MOST_ROWS: Final = 100
"""Calls shown in all."""
MOST_ROWS_OF_TRACE: Final = 25
MOST_BYTES: Final = 98_000
"""The page's size, in UTF-8."""
_PARTS: Final = (1.0, 0.4, 0.1)
_LEAST_PART: Final = 0.01
_MARK: Final = "<!-- refresh -->"
_MOST_ASIDE: Final = 20
_MOST_DEPTH: Final = 6
_MOST_NAME: Final = 70
_PREFIX: Final = f"{c.EXECUTE_TOOL} "
_NS_PER_MS: Final = 1_000_000

_STYLE: Final = files(__package__).joinpath("page.css").read_text("utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = f"{HEADERS['content-security-policy']}; style-src 'sha256-{_STYLE_HASH}'"

_HEADLINES: Final = {
    "ready": "Everything is delivered as it happens.",
    "starting": "Starting: collecting what there was before.",
    "not_ready": "Something needs a look.",
}


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


@dataclass(frozen=True, slots=True)
class ProjectView:
    """One project in full."""

    name: str
    state: str
    sentence: str
    snapshot: ProjectSnapshot
    spark: str
    spark_failed: str
    spark_words: str
    most: int
    budget: BudgetBar | None
    budget_words: str | None
    waits: str | None


@dataclass(frozen=True, slots=True)
class AsideView:
    """One record that is set aside."""

    project: str
    log_id: str
    why: str
    message: str
    tries: str
    again: str


def refresh_s(asked: str | None) -> int:
    """How often the page refreshes itself, in seconds; 0 for never: ``?refresh=off``."""
    return 0 if asked == "off" else REFRESH_S


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was made, for those who let it refresh itself and those who do not.

    Attributes:
        html: With a mark in the place where the two differ.
    """

    html: str

    def refreshing(self) -> str:
        """The page that refreshes itself, and how to pause that."""
        quiet = f'<span class="quiet">refreshes every {REFRESH_S} s</span>'
        return self.html.replace(_MARK, f'{quiet} <a href="/?refresh=off">Pause</a>', 1)

    def paused(self) -> str:
        """The page that stays as it is, and how to let it go on."""
        return self.html.replace(_MARK, f'<a href="/">Refresh every {REFRESH_S} s</a>', 1)


def render(snapshot: Snapshot, links: Mapping[str, str]) -> Page:
    """The page; less of everything is shown where it would be too large.

    Args:
        snapshot: What to show.
        links: Names, each with the URL template of a trace.
    """
    for part in _PARTS:
        html = _html(snapshot, links, part)
        if len(html.encode()) <= MOST_BYTES:
            return Page(html)
    return Page(_html(snapshot, links, _LEAST_PART))


def _html(snapshot: Snapshot, links: Mapping[str, str], part: float) -> str:
    """The page with a part of what it can show at most."""
    # Those in trouble, those that had something to do, the others: the first are shown in full.
    ordered = sorted(snapshot.projects, key=lambda project: (not project.reasons, not _busy(project)))
    most = math.ceil(MOST_PROJECTS * part)
    named = math.ceil(MOST_NAMED * part)
    shown, others = ordered[:most], ordered[most:]
    aside = [each for project in ordered for each in _aside(project, snapshot.now_ms)]
    state = state_of(snapshot.reasons)
    return _TEMPLATE.render(
        style=Markup(_STYLE),  # noqa: S704 - our own file; its hash stands in the policy
        version=__version__,
        state=state,
        headline=_HEADLINES[state],
        refresh=Markup(_MARK),  # noqa: S704 - our own
        reasons=snapshot.reasons[:most],
        more_reasons=len(snapshot.reasons[most:]),
        trouble=snapshot.trouble,
        now=format_time(snapshot.now_ms)[:19].replace("T", " "),
        up=words.rounded(snapshot.now_ms - snapshot.started_ms),
        projects=[_project(project, snapshot.now_ms) for project in shown],
        others=[(one_line(each.name), words.sentence(each)) for each in others[:named]],
        unnamed=len(others[named:]),
        several=len(snapshot.projects) > 1,
        aside=aside[: math.ceil(_MOST_ASIDE * part)],
        aside_known=sum(sum(p.ledger.set_aside.values()) for p in ordered if p.ledger),
        circuits=snapshot.circuits[:most],
        replicas=replica_views(snapshot.work, snapshot.now_ms, most),
        traces=_traces(snapshot, links, part),
        since=lambda ms: words.ago(snapshot.now_ms - ms),
    )


def _busy(project: ProjectSnapshot) -> bool:
    return any(minute.delivered or minute.failed or minute.set_aside for minute in project.hour)


def _project(project: ProjectSnapshot, now_ms: int) -> ProjectView:
    delivered = [minute.delivered for minute in project.hour]
    failed = [minute.failed + minute.set_aside for minute in project.hour]
    most = max(*delivered, *failed)
    total, bad = sum(delivered), sum(minute.failed for minute in project.hour)
    aside = sum(minute.set_aside for minute in project.hour)
    budget = project.budget
    waits = None
    if budget is not None and budget.blocked_until_ms is not None:
        wait = words.rounded(budget.blocked_until_ms - now_ms)
        waits = f"No request is sent for {wait}, to leave the rest."
    return ProjectView(
        name=one_line(project.name),
        state=state_of(project.reasons),
        sentence=words.sentence(project),
        snapshot=project,
        spark=drawing.spark_path(delivered, most),
        spark_failed=drawing.spark_path(failed, most),
        spark_words=(
            f"Last hour, by the minute: {total:,} delivered, {words.count(bad, 'failed call')} among them, "
            f"{aside:,} set aside; {most:,} in the busiest minute."
        ),
        most=most,
        budget=None if budget is None else drawing.budget_bar(budget),
        budget_words=None if budget is None else words.budget(budget),
        waits=waits,
    )


def _aside(project: ProjectSnapshot, now_ms: int) -> list[AsideView]:
    def again(each: SetAside) -> str:
        if each.retry_ms is None:
            return "not by itself"
        return "now" if each.retry_ms <= now_ms else f"in {words.rounded(each.retry_ms - now_ms)}"

    return [
        AsideView(
            project=one_line(project.name),
            log_id=one_line(each.log_id),
            why=words.ASIDE[each.reason],
            message=one_line(each.message),
            tries=words.count(each.attempts, "try", "tries"),
            again=again(each),
        )
        for each in project.aside
    ]


def _traces(snapshot: Snapshot, links: Mapping[str, str], part: float) -> list[TraceView]:
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
        error=one_line(span.status_message or (kind if isinstance(kind, str) else "")) if failed else "",
    )


def _parts(delivery: Delivery) -> list[str]:
    """A call's name, in the parts between which a line may break."""
    span = delivery.span
    name = one_line("" if span is None else span.name.removeprefix(_PREFIX))[:_MOST_NAME] or "no name"
    pieces = name.split("_")
    return [f"{piece}_" for piece in pieces[:-1]] + pieces[-1:]


_ENVIRONMENT: Final = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATE: Final = _ENVIRONMENT.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
