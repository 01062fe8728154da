"""What a stored value may be, so that nothing from outside can break a transaction or grow without bound."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_bridge.ledger.values import DeliveredRecord, SetAside

MESSAGE_CHARS: Final = 500
MOST_CORRELATIONS: Final = 100_000
"""How many correlations are kept: about 20 MB."""
ATTEMPTS_KEPT_MS: Final = 3_600_000
"""How long a failed attempt can be linked to: tries of one request follow each other in seconds."""
_MOST_MS: Final = 2**62


def one_line(message: str) -> str:
    """A message on one line, cut to ``MESSAGE_CHARS``, without what UTF-8 can't hold."""
    line = " ".join(message.split())
    if len(line) > MESSAGE_CHARS:
        line = line[: MESSAGE_CHARS - 1] + "…"
    return line.encode("utf-8", "replace").decode("utf-8")


def fit_ms(time_ms: int) -> int:
    """A record's time within 64 bits: an entry may name any time at all."""
    return max(-_MOST_MS, min(time_ms, _MOST_MS))


def fit_delivered(record: DeliveredRecord) -> DeliveredRecord:
    """The record as it is kept."""
    return (
        record if -_MOST_MS <= record.time_ms <= _MOST_MS else replace(record, time_ms=fit_ms(record.time_ms))
    )


def fit_set_aside(record: SetAside) -> SetAside:
    """The record as it is kept."""
    return replace(record, time_ms=fit_ms(record.time_ms), message=one_line(record.message))
