"""What is done: which windows of time, which records with which identity, and what was set aside.

One protocol, ``Ledger``: an SQLite file for one machine, plain dicts for tests and the demo.
"""

from otel_bridge.ledger.correlation_values import (
    Correlation,
    CorrelationKind,
    FailedAttempt,
    Recollection,
    Registration,
    RemoteSpan,
    Settled,
)
from otel_bridge.ledger.correlation_values import Outcome as CorrelationOutcome
from otel_bridge.ledger.memory import MemoryLedger
from otel_bridge.ledger.place import default_state_url, open_ledger
from otel_bridge.ledger.protocol import Ledger
from otel_bridge.ledger.sqlite import SqliteLedger
from otel_bridge.ledger.values import (
    DeliveredRecord,
    Lane,
    ProjectStatus,
    Reason,
    SetAside,
    ToolCalls,
    Verification,
    Window,
)

__all__ = [
    "Correlation",
    "CorrelationKind",
    "CorrelationOutcome",
    "DeliveredRecord",
    "FailedAttempt",
    "Lane",
    "Ledger",
    "MemoryLedger",
    "ProjectStatus",
    "Reason",
    "Recollection",
    "Registration",
    "RemoteSpan",
    "SetAside",
    "Settled",
    "SqliteLedger",
    "ToolCalls",
    "Verification",
    "Window",
    "default_state_url",
    "open_ledger",
]
