"""Made-up windows and records, and ledgers to put them in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import postgres_cluster
from simulated_clock import SimulatedClock

from otel_bridge.ledger import (
    DeliveredRecord,
    Lane,
    Ledger,
    MemoryLedger,
    Reason,
    SetAside,
    SqliteLedger,
    Window,
    open_ledger,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KINDS: Final = ("sqlite", "memory", "postgres")
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
T0: Final = 1_776_384_000_000  # 2026-04-17T00:00:00Z


def made(kind: str, folder: Path) -> Ledger:
    """A ledger of this kind, empty, to be opened."""
    match kind:
        case "memory":
            return MemoryLedger()
        case "sqlite":
            return SqliteLedger(folder / "ledger.db", SimulatedClock())
        case _:
            return open_ledger(postgres_cluster.emptied_database(), SimulatedClock())


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Ledger]:
    """A ledger of this kind, open and empty."""
    ledger = made(kind, folder)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def window(
    from_h: float,
    to_h: float,
    *,
    lane: Lane = Lane.LIVE,
    project: str = "p",
    passes: int = 1,
    due_ms: int | None = None,
    records: int = 0,
) -> Window:
    """A window from hours after ``T0``; collected once and sealed unless told otherwise."""
    return Window(project, lane, T0 + int(from_h * HOUR), T0 + int(to_h * HOUR), passes, due_ms, records)


def record(log_id: str, at_h: float = 0, depth: int = 0) -> DeliveredRecord:
    """A delivered record of that many hours after ``T0``, with an identity made from its id."""
    seed = log_id.encode("utf-8", "surrogatepass").ljust(16, b".")
    return DeliveredRecord(
        log_id, T0 + int(at_h * HOUR), seed[:16], seed[-8:], seed[:8] if depth else None, depth
    )


def aside(
    log_id: str,
    at_h: float = 0,
    *,
    reason: Reason = Reason.NOT_FOUND,
    message: str = "the source has no log of this id",
    attempts: int = 1,
    since_ms: int = T0,
    retry_ms: int | None = None,
) -> SetAside:
    """A record set aside, of that many hours after ``T0``."""
    return SetAside(log_id, T0 + int(at_h * HOUR), reason, message, attempts, since_ms, retry_ms)
