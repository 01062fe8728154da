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
from otel_bridge.times import format_seconds, format_time
from otel_bridge.web import drawing, words
from otel_bridge.web.guard import HEADERS
from otel_bridge.web.replicas import replica_views
from otel_bridge.web.status import state_of
from otel_bridge.web.troubles import lately_down, standing
from otel_bridge.web.waterfall import trace_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.ledger import SetAside
    from otel_bridge.web.drawing import BudgetBar
    from otel_bridge.web.snapshot import ProjectSnapshot, Snapshot

REFRESH_S: Final = 10
_EVERY: Final = format_seconds(REFRESH_S)
MOST_PROJECTS: Final = 6
"""So many projects are shown in full, troubled ones first."""
MOST_NAMED: Final = 100
"""So many more by name and a sentence."""
MOST_BYTES: Final = 98_000
"""The page's size, in UTF-8."""
_PARTS: Final = (1.0, 0.4, 0.1)
_LEAST_PART: Final = 0.01
_MARK: Final = "<!-- refresh -->"
_BASE: Final = "<!-- base -->"
_MOST_ASIDE: Final = 20

_STYLE: Final = files(__package__).joinpath("page.css").read_text("utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = f"{HEADERS['content-security-policy']}; style-src 'sha256-{_STYLE_HASH}'"

_TITLES: Final = {"ready": "", "aside": "set aside · ", "starting": "starting · ", "not_ready": "trouble · "}


@dataclass(frozen=True, slots=True)
class ProjectView:
    """One project in full."""

    name: str
    state: str
    sentence: str
    spark: str
    spark_failed: str
    spark_words: str
    most: int
    budget: BudgetBar | None
    budget_words: str | None
    budget_of: str
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

    Its links are relative, so that it works at any path of a reverse proxy. One that says its path has them
    with it: without a slash at the end of the address they would lead elsewhere.

    Attributes:
        html: With a mark in the place where the two differ, and one before each link.
    """

    html: str

    def refreshing(self, base: str = "") -> str:
        """The page that refreshes itself, and how to pause that."""
        quiet = f'<span class="quiet">refreshes every {_EVERY}</span>'
        return self._with(f'{quiet} <a href="{base}?refresh=off">Pause</a>', base)

    def paused(self, base: str = "") -> str:
        """The page that stays as it is, and how to let it go on."""
        return self._with(f'<a href="{base or "./"}">Refresh every {_EVERY}</a>', base)

    def _with(self, what: str, base: str) -> str:
        return self.html.replace(_MARK, what, 1).replace(_BASE, base)


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
    known = words.by_reason(snapshot)
    stands = standing(snapshot)
    return _TEMPLATE.render(
        style=Markup(_STYLE),  # noqa: S704 - our own file; its hash stands in the policy
        version=__version__,
        title=_TITLES[stands.state],
        stands=stands,
        refresh=Markup(_MARK),  # noqa: S704 - our own
        base=Markup(_BASE),  # noqa: S704 - our own
        troubles=stands.troubles[:most],
        more_troubles=len(stands.troubles[most:]),
        unread=snapshot.trouble,
        now=format_time(snapshot.now_ms)[:19].replace("T", " "),
        up=words.rounded(snapshot.now_ms - snapshot.started_ms),
        projects=[_project(project, snapshot.now_ms) for project in shown],
        others=[_other(each) for each in others[:named]],
        unnamed=len(others[named:]),
        several=len(snapshot.projects) > 1,
        aside=aside[: math.ceil(_MOST_ASIDE * part)],
        aside_known=sum(known.values()),
        aside_words=words.reasons(known),
        # Told above once they have stayed down.
        circuits=lately_down(snapshot)[:most],
        all_up=not snapshot.circuits,
        replicas=replica_views(snapshot.work, snapshot.now_ms, most),
        traces=trace_views(snapshot, links, part),
        since=lambda ms: words.ago(snapshot.now_ms - ms),
    )


def _other(project: ProjectSnapshot) -> tuple[str, str, str]:
    return one_line(project.name), state_of(project.reasons), words.sentence(project)


def _busy(project: ProjectSnapshot) -> bool:
    return any(minute.delivered or minute.failed or minute.set_aside for minute in project.hour)


def _project(project: ProjectSnapshot, now_ms: int) -> ProjectView:
    delivered = [minute.delivered for minute in project.hour]
    failed = [minute.failed + minute.set_aside for minute in project.hour]
    most = max(*delivered, *failed)
    total, bad = sum(delivered), sum(minute.failed for minute in project.hour)
    aside = sum(minute.set_aside for minute in project.hour)
    budget = project.budget
    return ProjectView(
        name=one_line(project.name),
        state=state_of(project.reasons),
        sentence=words.sentence(project),
        spark=drawing.spark_path(delivered, most),
        spark_failed=drawing.spark_path(failed, most),
        spark_words=(
            f"Last hour, by the minute: {total:,} delivered, {words.count(bad, 'failed call')} among them, "
            f"{aside:,} set aside; {most:,} in the busiest minute."
        ),
        most=most,
        budget=None if budget is None else drawing.budget_bar(budget),
        budget_words=None if budget is None else words.budget(budget),
        budget_of=budget.name if budget is not None and budget.name != project.name else "",
        waits=None if budget is None else words.waits(budget, now_ms),
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


_ENVIRONMENT: Final = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATE: Final = _ENVIRONMENT.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
