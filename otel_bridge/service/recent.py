"""The last tool calls and the last hour's counts, for the page: facts without content, in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.ledger import Lane
from otel_bridge.mapping import conventions as c
from otel_bridge.pipeline.observer import Observer
from otel_bridge.signals import Delivery, Resource, Scope, Span, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_bridge.ledger import SetAside

MOST_CALLS: Final = 240
"""So many calls of a project are remembered."""
MINUTES: Final = 60
"""So far back counts reach."""
_MOST_TEXT: Final = 120
_MOST_MESSAGE: Final = 300
_MOST_PROJECTS: Final = 256
_MINUTE_MS: Final = 60_000
_SCOPE: Final = Scope("", "", "")
# What is kept of a call's attributes: names and codes, no person, no content.
_SHOWN: Final = (c.TOOL_NAME, c.TOOLKIT_SLUG, c.ERROR_TYPE)


@dataclass(slots=True)
class Minute:
    """What happened within one minute.

    Attributes:
        number: Which: minutes since the epoch.
        delivered: Records that were delivered.
        failed: Those of them that are tool calls which failed.
        set_aside: Records that were set aside.
    """

    number: int
    delivered: int = 0
    failed: int = 0
    set_aside: int = 0


class _Hour:
    """Counts by the minute; the minutes in their order, those without a count left out."""

    __slots__ = ("_minutes",)

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def at(self, now_ms: int) -> Minute:
        number = now_ms // _MINUTE_MS
        minutes = self._minutes
        # What a clock has said that was set back since lies in the future: it is let go.
        while minutes and minutes[-1].number > number:
            minutes.pop()
        if not minutes or minutes[-1].number < number:
            minutes.append(Minute(number))
        return minutes[-1]

    def every(self, now_ms: int) -> list[Minute]:
        newest = now_ms // _MINUTE_MS
        known = {minute.number: minute for minute in self._minutes}
        numbers = range(newest - MINUTES + 1, newest + 1)
        return [known.get(number) or Minute(number) for number in numbers]


class Recent(Observer):
    """Remembers the last calls of what happens now, and counts everything.

    Nothing of a payload is kept: of a span its name, ids, times and status, the tool, the toolkit and the
    error's type; its status message as it was delivered, so masked, and cut.

    Args:
        projects: Their names.
    """

    def __init__(self, projects: Iterable[str]) -> None:
        self._hours = {project: _Hour() for project in projects}
        self._calls: dict[str, deque[Delivery]] = {}
        self._now_ms = 0

    def join(self, project: str) -> None:
        """A project is collected from now on."""
        self._hours.setdefault(project, _Hour())

    def leave(self, project: str) -> None:
        """A project is not collected any more."""
        self._hours.pop(project, None)
        self._calls.pop(project, None)

    def delivered(self, project: str, lane: Lane, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """Count, and remember the calls of what happens now: a backfill's are long past."""
        self._now_ms = now_ms
        minute = self._hour(project).at(now_ms)
        minute.delivered += len(deliveries)
        minute.failed += sum(
            1 for each in deliveries if each.span is not None and each.span.status is StatusCode.ERROR
        )
        if lane is Lane.LIVE:
            calls = self._calls.setdefault(project, deque(maxlen=MOST_CALLS))
            # Of more than are remembered only the last ones cost anything.
            calls.extend(_facts(project, each) for each in deliveries[-MOST_CALLS:] if each.span is not None)

    def set_aside(self, project: str, records: Sequence[SetAside]) -> None:
        """Count what is set aside for the first time; waiting for a parent is no failure."""
        first = (each for each in records if each.attempts <= 1)
        new = [each for each in first if not each.reason.is_waiting]
        if new:
            self._now_ms = max(self._now_ms, *(each.since_ms for each in new))
            self._hour(project).at(self._now_ms).set_aside += len(new)

    def last_hour(self, project: str, now_ms: int) -> list[Minute]:
        """The last 60 minutes in their order, the present one last."""
        hour = self._hours.get(project)
        return (hour or _Hour()).every(now_ms)

    def calls(self, project: str) -> list[Delivery]:
        """The last calls of a project, in the order of their delivery."""
        return list(self._calls.get(project, ()))

    def _hour(self, project: str) -> _Hour:
        if project not in self._hours and len(self._hours) >= _MOST_PROJECTS:
            return _Hour()
        return self._hours.setdefault(project, _Hour())


def _facts(project: str, delivery: Delivery) -> Delivery:
    """A delivery's span without its content."""
    span = delivery.span
    assert span is not None  # noqa: S101 - the caller has looked
    return Delivery(
        _cut(delivery.key),
        Resource(((c.PROJECT, project),)),
        _SCOPE,
        Span(
            span.trace_id,
            span.span_id,
            span.parent_span_id,
            _cut(span.name),
            span.kind,
            span.start_ns,
            span.end_ns,
            _shown(span.attributes),
            span.status,
            span.status_message[:_MOST_MESSAGE],
        ),
        None,
    )


def _shown(attributes: Mapping[str, object]) -> dict[str, str]:
    return {name: _cut(value) for name in _SHOWN if isinstance(value := attributes.get(name), str)}


def _cut(text: str) -> str:
    return text[:_MOST_TEXT]
