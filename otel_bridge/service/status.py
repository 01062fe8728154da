"""How far each project is, from the ledger alone: the service need not run."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from otel_bridge.counting import counted
from otel_bridge.ledger import ProjectStatus, open_ledger
from otel_bridge.ledger.place import is_postgres, sqlite_path
from otel_bridge.times import Clock, format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_bridge.settings import Settings

_LABEL = 18


async def read_status(settings: Settings, clock: Clock) -> list[ProjectStatus]:
    """What the ledger knows of the configured projects, and of others it holds.

    Raises:
        BridgeError: The ledger can't be read.
    """
    ledger = open_ledger(settings.ledger.state.get_secret_value(), clock, read_only=True)
    await ledger.open()
    try:
        return await ledger.status([project.name for project in settings.projects])
    finally:
        await ledger.close()


def where_nothing_is(settings: Settings) -> str | None:
    """The ledger in a line for people, where there is none: most often another one was meant."""
    url = settings.ledger.state.get_secret_value()
    if is_postgres(url):
        return None
    path = sqlite_path(url)
    if os.path.exists(path):  # noqa: PTH110 - False where a folder may not be looked into
        return None
    return f"there is no ledger {path} yet: `otel-bridge run` makes it, or has another OTEL_BRIDGE_STATE"


def status_lines(statuses: Sequence[ProjectStatus], configured: set[str], now_ms: int) -> Iterator[str]:
    """For a terminal of any width: a project's state in words, then the facts behind it.

    Args:
        statuses: What the ledger knows.
        configured: The names of the projects in the settings.
        now_ms: The present, in ms since the epoch.
    """
    for position, status in enumerate(statuses):
        if position:
            yield ""
        yield f"{status.project}: {_in_words(status, now_ms)}"
        if status.project not in configured:
            yield _fact("note", "not in the settings, so nothing collects it")
        yield from (_fact(label, text) for label, text in _facts(status, now_ms))


def status_json(statuses: Sequence[ProjectStatus], now_ms: int) -> list[dict[str, Any]]:
    """For machines: the same, times in ms since the epoch and lag in ms."""
    return [
        {
            **asdict(status),
            "lag_ms": None if status.watermark_ms is None else max(0, now_ms - status.watermark_ms),
        }
        for status in statuses
    ]


def describe_set_aside(counts: dict[str, int]) -> str:
    """Counts by reason in words."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items()) or "none"


def _in_words(status: ProjectStatus, now_ms: int) -> str:
    if status.watermark_ms is None:
        state = "nothing collected yet"
    else:
        state = f"{format_duration(max(0, now_ms - status.watermark_ms))} behind"
    aside = sum(status.set_aside.values())
    words = f"{state}, {counted(status.delivered, 'record')} delivered, "
    words += f"{aside:,} set aside" if aside else "nothing set aside"
    return words if status.last_error is None else f"{words}, failing"


def _facts(status: ProjectStatus, now_ms: int) -> Iterator[tuple[str, str]]:
    if status.watermark_ms is None:
        yield "collected up to", "nothing yet"
    else:
        yield "collected up to", format_time(status.watermark_ms)
        sealed = "nothing yet" if status.sealed_ms is None else format_time(status.sealed_ms)
        yield "sealed up to", f"{sealed} ({counted(status.open_windows, 'window')} to be listed again)"
    if status.last_success_ms is not None:
        ago = format_duration(max(0, now_ms - status.last_success_ms))
        yield "last good pass", f"{format_time(status.last_success_ms)}, {ago} ago"
    if status.last_error is not None:
        when = "" if status.last_error_ms is None else f"{format_time(status.last_error_ms)}: "
        yield "last error", when + status.last_error
    if status.set_aside:
        yield "set aside", f"{describe_set_aside(status.set_aside)} (`otel-bridge retry` tries again)"
    yield "verified", _verified(status)


def _verified(status: ProjectStatus) -> str:
    result = status.verification
    if result is None:
        return "not yet"
    left = result.missing - result.repaired
    missing = f"{left:,} missing" if left else "nothing missing"
    if result.repaired:
        missing += f" ({result.repaired:,} repaired)"
    return f"{missing} from {format_time(result.from_ms)} to {format_time(result.to_ms)}"


def _fact(label: str, text: str) -> str:
    return f"  {label:{_LABEL}}{text}"
