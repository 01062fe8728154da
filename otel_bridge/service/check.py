"""A dry run of everything the bridge needs: one line a check, each failure with what to do."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError, DestinationRefused
from otel_bridge.exporter.destination import Signal
from otel_bridge.ledger.place import sqlite_path
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service.assembly import age_limit, budgets, otlp_exporter, project_source
from otel_bridge.service.status import read_status
from otel_bridge.times import Clock, format_duration, format_time, parse_time_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from otel_bridge.exporter.otlp import OtlpExporter
    from otel_bridge.settings import ProjectSettings, Settings

_LIST_RANGE_MS = 3_600_000
_SOURCE_S = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result in one line."""

    ok: bool
    text: str


async def check(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Check settings, the ledger, keys and destinations. Nothing is delivered, and nothing is written."""
    yield Finding(ok=True, text=f"settings: valid, {len(settings.projects)} project(s)")
    yield await _ledger(settings, clock)
    shared = budgets(settings, clock)
    for project in settings.projects:
        yield await _source(settings, project, clock, shared[project.name])
    exporter = otlp_exporter(settings, clock, attempts=1, signals=frozenset(Signal))
    try:
        for signal in Signal:
            if signal in settings.signals:
                yield await _destination(settings, exporter, signal)
    finally:
        await exporter.aclose()
    for finding in _ages(settings, clock):
        yield finding


async def _ledger(settings: Settings, clock: Clock) -> Finding:
    try:
        statuses = await read_status(settings, clock)
    except BridgeError as error:
        return Finding(ok=False, text=f"ledger: {error}")
    path = sqlite_path(settings.ledger.state.get_secret_value())
    place = next(each for each in (path, *path.parents) if each.exists())
    if not os.access(place, os.W_OK) or (place != path and not place.is_dir()):
        text = f"ledger: {place} can't be written: set OTEL_BRIDGE_STATE to another place"
        return Finding(ok=False, text=text)
    delivered = sum(status.delivered for status in statuses)
    return Finding(ok=True, text=f"ledger: readable, {delivered:,} records delivered so far")


async def _source(settings: Settings, project: ProjectSettings, clock: Clock, budget: Budget) -> Finding:
    label = f"source {project.name} at {project.base_url}"
    try:
        source = project_source(settings, project, budget, clock)
    except BridgeError as error:
        return Finding(ok=False, text=f"{label}: {error}")
    try:
        now_ms = clock.now_ms()
        async with asyncio.timeout(_SOURCE_S):
            await source.client.list_page(
                from_ms=now_ms - _LIST_RANGE_MS, to_ms=now_ms, limit=1, priority=Priority.HEAD
            )
    except TimeoutError:
        blocked = budget.state.blocked_until_ms
        why = "" if blocked is None else f"; its rate limit stops requests until {format_time(blocked)}"
        return Finding(ok=False, text=f"{label}: no answer within {_SOURCE_S} s{why}")
    except BridgeError as error:
        return Finding(ok=False, text=f"{label}: {error}")
    finally:
        await source.client.aclose()
    limit = budget.state.limit
    share = f"{settings.collect.rate_share:.0%}"
    rate = "no rate limit reported" if limit is None else f"{limit:,} requests a minute, {share} of it ours"
    return Finding(ok=True, text=f"{label}: key accepted, logs readable, {rate}")


async def _destination(settings: Settings, exporter: OtlpExporter, signal: Signal) -> Finding:
    destination = settings.destination(signal)
    label = f"{signal.value} to {destination.where} ({destination.protocol.value})"
    try:
        await exporter.probe(signal)
    except DestinationRefused as error:
        if error.unsupported and signal is not Signal.TRACES and not settings.signals_were_chosen:
            text = f"{label}: not taken there; spans go alone (OTEL_BRIDGE_SIGNALS=traces says so)"
            return Finding(ok=True, text=text)
        return Finding(ok=False, text=f"{label}: {error}")
    except BridgeError as error:
        return Finding(ok=False, text=f"{label}: {error}")
    return Finding(ok=True, text=f"{label}: accepts")


def _ages(settings: Settings, clock: Clock) -> Iterator[Finding]:
    limit = age_limit(settings)
    if limit is None:
        return
    start_ms = parse_time_ms(settings.collect.start, clock.now_ms())
    ok = clock.now_ms() - start_ms <= limit.limit_ms
    word = "within it" if ok else "beyond it: set OTEL_BRIDGE_START to less"
    yield Finding(
        ok,
        f"age: {limit.name} refuses data older than {format_duration(limit.limit_ms)}; the start is {word}",
    )
