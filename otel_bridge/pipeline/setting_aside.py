"""When a record that could not be delivered is tried again."""

from __future__ import annotations

from typing import Final

from otel_bridge.ledger import Reason, SetAside

_S: Final = 1000
_SCHEDULE_MS: Final = tuple(each * _S for each in (10, 30, 120, 600, 3600, 6 * 3600, 24 * 3600, 48 * 3600))
MOST_TRIES: Final = len(_SCHEDULE_MS) + 1
"""Over three days: for what fails, and may pass."""
FEW_TRIES: Final = 4
"""Over three minutes: for what the source says of one record, and will most likely say again."""
_NEVER: Final = frozenset({Reason.UNMAPPABLE, Reason.REFUSED})
_WAITING_STEP_MS: Final = 5 * _S
_MOST_CHARACTERS: Final = 300


def put_aside(  # noqa: PLR0913 - the facts of one row
    log_id: str,
    time_ms: int,
    reason: Reason,
    message: str,
    *,
    now_ms: int,
    before: SetAside | None = None,
    tool_call: bool = True,
    tries: int = MOST_TRIES,
    doubtful: bool = False,
) -> SetAside:
    """Set a record aside, or set it aside again.

    What is refused, can't be mapped, or has been tried ``tries`` times is tried again only when a person says
    so; where it is ``doubtful`` whether the record is to blame, by itself. All times are in ms.
    """
    attempts = 1 if before is None else before.attempts + 1
    retry_ms: int | None = None
    if reason.is_waiting:
        retry_ms = now_ms + _WAITING_STEP_MS
    elif (doubtful or reason not in _NEVER) and attempts < tries:
        retry_ms = now_ms + _SCHEDULE_MS[attempts - 1]
    return SetAside(
        log_id=log_id,
        time_ms=time_ms,
        reason=reason,
        message=" ".join(message.split())[:_MOST_CHARACTERS],
        attempts=attempts,
        since_ms=now_ms if before is None else before.since_ms,
        retry_ms=retry_ms,
        # A second try may have nothing but the id; what the list said the first time holds.
        tool_call=tool_call if before is None else before.tool_call,
    )
