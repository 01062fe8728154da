"""``check``, the source: key, permission, rate limit, clock, and what ``verify`` needs."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import (
    BridgeError,
    SourceBusy,
    SourceError,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.receiver.budget import Priority
from otel_bridge.service.assembly import project_source
from otel_bridge.service.finding import Finding, failed, note, ok
from otel_bridge.times import format_duration, format_seconds, format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from otel_bridge.receiver.budget import Budget
    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.settings import ProjectSettings, Settings
    from otel_bridge.times import Clock

_RANGE_MS: Final = 3_600_000
_SOURCE_S: Final = 30
# A Date header has whole seconds, and an answer takes its time.
_CLOCK_MS: Final = 3_000
_CLOCK_WRONG_MS: Final = 60_000
# Source: the vendor's page on rate limits, requests of an organisation in a minute.
_OF_A_KEY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_SMALL_PLAN: Final = 2_000
_LARGE_PLAN: Final = 10_000


async def check_source(
    settings: Settings, project: ProjectSettings, clock: Clock, budget: Budget
) -> AsyncIterator[Finding]:
    """Ask for one page of the last hour, and for the usage summary."""
    label = f"{project.name}: source {project.base_url}"
    try:
        source = project_source(settings, project, budget, clock)
    except BridgeError as error:
        yield failed("source", f"{label}: {error}", about=project.name)
        return
    client = source.client
    try:
        now_ms = clock.now_ms()
        async with asyncio.timeout(_SOURCE_S):
            page = await client.list_page(
                from_ms=now_ms - _RANGE_MS, to_ms=now_ms, filters=project.filters, limit=1
            )
    except TimeoutError:
        yield _no_answer(label, project, budget)
    except BridgeError as error:
        yield failed("source", f"{label}: {error.fact}", _todo(error), project.name)
    else:
        held = "with calls in the last hour" if page.entries else "no calls in the last hour"
        which = " that match its filters" if project.filters else ""
        text = f"{label}: the key is accepted and may read logs ({held}{which})"
        yield ok("source", text, project.name)
        for finding in (*_rate(settings, project, budget), *_clock(project, client)):
            yield finding
        if not project.filters:
            yield await _usage(project, client, now_ms)
    finally:
        await client.aclose()


def _no_answer(label: str, project: ProjectSettings, budget: Budget) -> Finding:
    blocked_ms = budget.state.blocked_until_ms
    text = f"{label}: no answer within {format_seconds(_SOURCE_S)}"
    if blocked_ms is None:
        todo = "see whether this machine reaches that address, and whether it needs HTTPS_PROXY"
    else:
        text += f"; its rate limit stops requests until {format_time(blocked_ms)}"
        todo = "wait, or see what else uses up the organisation's requests"
    return failed("source", text, todo, project.name)


def _todo(error: BridgeError) -> str:
    """What the error's own text does not say already."""
    if error.advice:
        return error.advice
    if isinstance(error, SourceUnreachable):
        return (
            "see whether this machine reaches that address (name, firewall, HTTPS_PROXY, SSL_CERT_FILE), "
            "and COMPOSIO_BASE_URL"
        )
    if isinstance(error, SourceBusy):
        return "wait for a minute, and see what else uses up the organisation's requests"
    if isinstance(error, SourceFailed):
        return "see Composio's status page; where the address is not Composio's, mend COMPOSIO_BASE_URL"
    return _todo_refused(error) if isinstance(error, SourceRefused) else ""


def _todo_refused(error: SourceRefused) -> str:
    if error.wrong_address:
        return "mend COMPOSIO_BASE_URL (base_url): what answers there is not Composio's API"
    if error.status not in _OF_A_KEY:
        return "report it with what Composio says: the request does not depend on any setting of yours"
    if error.status == HTTPStatus.FORBIDDEN:
        return "give the key that permission in the Composio dashboard, or take another key"
    return "take a project API key (ak_…) from the Composio dashboard, and see COMPOSIO_BASE_URL"


def _rate(settings: Settings, project: ProjectSettings, budget: Budget) -> Iterator[Finding]:
    state = budget.state
    share = f"{settings.collect.rate_share:.0%}"
    if state.limit is None:
        text = f"{project.name}: no rate limit in the answers; {share} of it would be ours"
        yield note("rate", text, about=project.name)
        return
    plan = {_SMALL_PLAN: " (Composio's small plans)", _LARGE_PLAN: " (Composio's large plans)"}
    window = "a minute" if round(state.window_s) == 60 else f"in {format_seconds(round(state.window_s))}"  # noqa: PLR2004 - s
    text = (
        f"{project.name}: rate limit {state.limit:,} requests {window}{plan.get(state.limit, '')} for the "
        f"organisation, {share} of it ours: about {state.allowed or 0:,} tool calls {window}"
    )
    if state.remaining is not None and state.remaining < state.limit * (1 - settings.collect.rate_share):
        yield note(
            "rate",
            f"{text}; {state.remaining:,} are left now",
            "others use most of it, so the bridge waits for them; see OTEL_BRIDGE_RATE_SHARE (rate_share)",
            project.name,
        )
        return
    left = "" if state.remaining is None else f"; {state.remaining:,} are left now"
    yield ok("rate", text + left, project.name)


def _clock(project: ProjectSettings, client: LogsClient) -> Iterator[Finding]:
    ahead_ms = client.clock_ahead_ms()
    if ahead_ms is None:
        yield note("clock", f"{project.name}: the source's answers have no Date to compare clocks by")
        return
    if abs(ahead_ms) <= _CLOCK_MS:
        yield ok("clock", f"{project.name}: this machine's clock agrees with the source's", project.name)
        return
    way = "ahead of" if ahead_ms > 0 else "behind"
    text = f"{project.name}: this machine's clock is {format_duration(abs(ahead_ms))} {way} the source's"
    todo = "set it by NTP (timedatectl set-ntp true); until then records arrive late"
    make = failed if abs(ahead_ms) > _CLOCK_WRONG_MS else note
    yield make("clock", text, todo, project.name)


async def _usage(project: ProjectSettings, client: LogsClient, now_ms: int) -> Finding:
    try:
        async with asyncio.timeout(_SOURCE_S):
            summary = await client.usage_summary(
                from_ms=now_ms - _RANGE_MS, to_ms=now_ms, priority=Priority.HEAD
            )
    except (SourceError, TimeoutError):
        return note(
            "usage",
            f"{project.name}: the usage summary can't be had, so `verify` and the daily check list what "
            "there is instead of counting it, which takes more requests",
            about=project.name,
        )
    count = summary.tool_calls
    said = "does not count tool calls" if count is None else f"counts {count:,} in the last hour"
    text = f"{project.name}: the usage summary, which `verify` compares with, {said}"
    return ok("usage", text, project.name)
