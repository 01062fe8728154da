"""How far each project is, from the ledger alone: the service need not run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from otel_bridge.ledger import ProjectStatus, open_ledger
from otel_bridge.times import Clock, format_duration, format_time

if TYPE_CHECKING:
    from otel_bridge.settings import Settings


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


def status_table(statuses: list[ProjectStatus], now_ms: int) -> Table:
    """For a terminal: one row a project."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("project", "collected up to", "lag", "delivered", "set aside", "verified", "last error"):
        right = heading in {"lag", "delivered"}
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for status in statuses:
        table.add_row(
            status.project,
            "nothing yet" if status.watermark_ms is None else format_time(status.watermark_ms),
            "-" if status.watermark_ms is None else format_duration(max(0, now_ms - status.watermark_ms)),
            f"{status.delivered:,}",
            describe_set_aside(status.set_aside),
            _verified(status),
            _error(status),
        )
    return table


def status_json(statuses: list[ProjectStatus], now_ms: int) -> list[dict[str, Any]]:
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


def _verified(status: ProjectStatus) -> str:
    result = status.verification
    if result is None:
        return "not yet"
    left = result.missing - result.repaired
    return f"{left:,} missing up to {format_time(result.to_ms)}"


def _error(status: ProjectStatus) -> str:
    if status.last_error is None:
        return "none"
    when = "" if status.last_error_ms is None else f"{format_time(status.last_error_ms)}: "
    return when + status.last_error
