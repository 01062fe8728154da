"""The replicas that share the work, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.counting import counted
from otel_bridge.exporter.sender import one_line
from otel_bridge.web import words

if TYPE_CHECKING:
    from otel_bridge.service.holders import Work

_SILENT_MS: Final = 30_000
"""Whoever has said nothing for so long is told to be silent: twice the lease that is usual."""


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One process.

    Attributes:
        name: Its name.
        sentence: Since when it is there, and whether it has fallen silent.
        silent: Whether it has.
        holds: What it is at, since when.
        more: How much more it holds.
    """

    name: str
    sentence: str
    silent: bool
    holds: list[str]
    more: int


def replica_views(work: Work | None, now_ms: int, most: int) -> list[ReplicaView] | None:
    """Each replica with what it holds; None where the ledger is one process's alone.

    Args:
        work: Who is there, and what is held.
        now_ms: The present, in ms since the epoch.
        most: So many replicas, and of each so many of its parts, are shown.
    """
    if work is None:
        return None
    replicas, leases = work
    views = []
    for replica in replicas[:most]:
        held = [each for each in leases if each.lease.holder == replica.name]
        silent = replica.silent_ms >= _SILENT_MS
        sentence = f"collects {counted(len(replica.projects), 'project')}, joined "
        sentence += words.ago(now_ms - replica.started_ms)
        if silent:
            sentence += f", silent for {words.rounded(replica.silent_ms)}"
        holds = [
            f"{one_line(each.lease.project)}: {each.lease.scope}, taken {words.ago(now_ms - each.since_ms)}"
            for each in held[:most]
        ]
        views.append(ReplicaView(one_line(replica.name), sentence, silent, holds, len(held[most:])))
    return views
