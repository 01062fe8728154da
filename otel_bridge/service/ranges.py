"""Past ranges as a person names them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.errors import SettingsError
from otel_bridge.times import TIME_FORM, format_time, parse_time_ms, setting_of_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

RETENTION_MS: Final = 366 * 86_400_000
"""Composio keeps logs for up to a year (its documentation), so nothing older can be there."""


def past_range(from_text: str, to_text: str, now_ms: int) -> tuple[int, int]:
    """Read ``--from`` and ``--to``.

    Args:
        from_text: ISO 8601 or an age.
        to_text: The same; ``now`` stands for the present.
        now_ms: The present, in ms since the epoch.

    Returns:
        Both ends in ms since the epoch, the first before the second, neither in the future.

    Raises:
        SettingsError: Which end, what it was, what it takes.
    """
    from_ms, to_ms = _point("--from", from_text, now_ms), _point("--to", to_text, now_ms)
    for name, text, point in (("--from", from_text, from_ms), ("--to", to_text, to_ms)):
        if point > now_ms:
            raise SettingsError(
                f"{name} is {text!r}: lies in the future ({format_time(point)}), takes a time up to now"
            )
    if from_ms < now_ms - RETENTION_MS:
        raise SettingsError(
            f"--from is {from_text!r}: Composio keeps logs for a year, "
            f"takes an age up to {setting_of_duration(RETENTION_MS)}"
        )
    if from_ms == to_ms:
        raise SettingsError(f"--to is {to_text!r}: the range has no length, takes a time after --from")
    if from_ms > to_ms:
        raise SettingsError(f"--to is {to_text!r}: lies before --from {from_text!r}, takes a time after it")
    return from_ms, to_ms


def uncovered(from_ms: int, to_ms: int, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of ``[from_ms, to_ms)`` that none of the taken stretches covers, oldest first."""
    gaps = []
    at = from_ms
    for start, end in sorted(taken):
        if start > at:
            gaps.append((at, min(start, to_ms)))
        at = max(at, end)
        if at >= to_ms:
            break
    if at < to_ms:
        gaps.append((at, to_ms))
    return gaps


def _point(name: str, text: str, now_ms: int) -> int:
    if text.strip().lower() == "now":
        return now_ms
    try:
        return parse_time_ms(text, now_ms)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}: takes {TIME_FORM}") from None
