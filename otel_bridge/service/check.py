"""A dry run of everything the bridge needs: one line a check, each failure with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.counting import counted
from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Signal
from otel_bridge.service.assembly import age_limit, otlp_exporter
from otel_bridge.service.budgets import budgets
from otel_bridge.service.check_destination import check_destination, check_record
from otel_bridge.service.check_machine import check_ledger, check_listen
from otel_bridge.service.check_source import check_source
from otel_bridge.service.finding import Finding, failed, note, ok
from otel_bridge.times import format_duration, parse_time_ms, setting_of_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


async def check(
    settings: Settings, clock: Clock, *, send: bool, unknown_variables: Sequence[str] = ()
) -> AsyncIterator[Finding]:
    """Check settings, the ledger, keys, destinations and the endpoints. Nothing of the source is delivered.

    Args:
        settings: As read.
        clock: The time.
        send: Whether a marked test record goes to the destinations, once they accept an empty request.
        unknown_variables: A line for each variable that is no setting.
    """
    names = ", ".join(project.name for project in settings.projects)
    yield ok("settings", f"settings are valid: {counted(len(settings.projects), 'project')} ({names})")
    for line in unknown_variables:
        yield note("settings", line)
    async for finding in check_ledger(settings, clock):
        yield finding
    shared = budgets(settings, clock)
    for project in settings.projects:
        async for finding in check_source(settings, project, clock, shared[project.name]):
            yield finding
    for finding in _ages(settings, clock):
        yield finding
    async for finding in _destinations(settings, clock, send=send):
        yield finding
    async for finding in check_listen(settings):
        yield finding


async def _destinations(settings: Settings, clock: Clock, *, send: bool) -> AsyncIterator[Finding]:
    accepting = True
    for signal in Signal:
        if signal in settings.signals:
            finding = await _destination(settings, clock, signal)
            accepting = accepting and not finding.failed
            yield finding
    if not send or settings.signals == {Signal.METRICS}:
        return
    if not accepting:
        yield note("record", "no test record is sent, because a destination would not take it")
        return
    async for finding in check_record(settings, clock):
        yield finding


async def _destination(settings: Settings, clock: Clock, signal: Signal) -> Finding:
    try:
        exporter = otlp_exporter(settings, clock, attempts=1, signals=frozenset({signal}))
    except SettingsError as error:  # what the environment names: a proxy, authorities
        where = settings.destination(signal).where
        return failed("destination", f"{signal.value} to {where}: {error}", about=signal.value)
    try:
        return await check_destination(settings, exporter, signal)
    finally:
        await exporter.aclose()


def _ages(settings: Settings, clock: Clock) -> Iterator[Finding]:
    limit = age_limit(settings)
    if limit is None:
        return
    now_ms = clock.now_ms()
    label = f"age: {limit.name} takes nothing older than {format_duration(limit.limit_ms)}"
    for project in settings.projects:
        start = project.start or settings.collect.start
        if now_ms - parse_time_ms(start, now_ms) <= limit.limit_ms:
            yield ok("age", f"{label}; {project.name} begins at {start}, within it", project.name)
        else:
            yield failed(
                "age",
                f"{label}; {project.name} begins at {start}, so older records are refused or dropped",
                f"set OTEL_BRIDGE_START (start) to {setting_of_duration(limit.limit_ms)} or less",
                project.name,
            )
