"""What of a past range a destination takes: some refuse records for their age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.counting import counted
from otel_bridge.errors import BridgeError
from otel_bridge.receiver.budget import Priority
from otel_bridge.service.assembly import age_limit, project_source
from otel_bridge.service.budgets import budgets
from otel_bridge.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock


async def within_age(
    settings: Settings, clock: Clock, from_ms: int, to_ms: int, say: Callable[[str], None]
) -> int:
    """Where the range begins once what the destination refuses for its age is left out, and said."""
    limit = age_limit(settings)
    if limit is None:
        return from_ms
    oldest_ms = clock.now_ms() - limit.limit_ms
    if from_ms >= oldest_ms:
        return from_ms
    cut_ms = min(oldest_ms, to_ms)
    count = await _count(settings, clock, from_ms, cut_ms)
    calls = "an unknown number of tool calls" if count is None else counted(count, "tool call")
    say(
        f"skipped: {calls} before {format_time(cut_ms)}, because {limit.name} takes nothing "
        f"older than {format_duration(limit.limit_ms)} (OTEL_BRIDGE_AGE_LIMIT=0s sends them all the same)"
    )
    return cut_ms


async def _count(settings: Settings, clock: Clock, from_ms: int, to_ms: int) -> int | None:
    total = 0
    shared = budgets(settings, clock)
    for project in settings.projects:
        source = project_source(settings, project, shared[project.name], clock)
        try:
            summary = await source.client.usage_summary(
                from_ms=from_ms, to_ms=to_ms, priority=Priority.BACKFILL
            )
        except BridgeError:
            return None
        finally:
            await source.client.aclose()
        if summary.tool_calls is None:
            return None
        total += summary.tool_calls
    return total
