"""Which replicas are at work, and what each of them is at: from the ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_bridge.counting import counted
from otel_bridge.ledger import open_ledger
from otel_bridge.ledger.leases import HeldLease, ReplicaStatus, SharedLedger
from otel_bridge.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_bridge.settings import Settings
    from otel_bridge.times import Clock

Work = tuple[list[ReplicaStatus], list[HeldLease]]
"""Who is there, and what is held."""


async def read_work(settings: Settings, clock: Clock) -> Work | None:
    """Who shares the work; None where the ledger is one process's alone.

    Raises:
        BridgeError: The ledger can't be read.
    """
    ledger = open_ledger(settings.ledger.state.get_secret_value(), clock, read_only=True)
    if not isinstance(ledger, SharedLedger):
        return None
    await ledger.open()
    try:
        return await ledger.replicas(), await ledger.leases()
    finally:
        await ledger.close()


def work_lines(work: Work, lease_ms: int, now_ms: int) -> Iterator[str]:
    """For a terminal: each replica, and what it holds since when.

    Args:
        work: As read.
        lease_ms: After so long a replica counts as gone.
        now_ms: The present, in ms since the epoch.
    """
    replicas, leases = work
    yield f"{counted(sum(each.silent_ms < lease_ms for each in replicas), 'replica')} at work"
    for replica in replicas:
        silent = "" if replica.silent_ms < lease_ms else f", silent for {format_duration(replica.silent_ms)}"
        projects = counted(len(replica.projects), "project")
        yield f"  {replica.name}: {projects}, since {format_time(replica.started_ms)}{silent}"
        for held in leases:
            if held.lease.holder == replica.name:
                for_ms = format_duration(max(0, now_ms - held.since_ms))
                yield f"    {held.lease.project}: {held.lease.scope}, for {for_ms}"


def work_json(work: Work) -> list[dict[str, Any]]:
    """For machines: the same, times in ms since the epoch."""
    replicas, leases = work
    return [
        {
            "name": replica.name,
            "projects": list(replica.projects),
            "started_ms": replica.started_ms,
            "silent_ms": replica.silent_ms,
            "holds": _held_by(replica.name, leases),
        }
        for replica in replicas
    ]


def _held_by(name: str, leases: Sequence[HeldLease]) -> list[dict[str, Any]]:
    return [
        {"project": held.lease.project, "part": held.lease.scope, "since_ms": held.since_ms}
        for held in leases
        if held.lease.holder == name
    ]
