"""Which traces are kept: decided by the trace id alone, so a trace is kept or left as a whole."""

from __future__ import annotations

from typing import Final

_LOW_64_BITS: Final = slice(8, 16)
_VALUES: Final = 2**64


def keep_below(share: float) -> int:
    """The bound below which the low 64 bits of a kept trace's id lie.

    The same arithmetic as OpenTelemetry's TraceIdRatioBased sampler, so that an application that samples at
    this ratio and the bridge keep the same traces.

    Args:
        share: 0 to 1; what lies outside counts as the nearer of the two.
    """
    return round(min(max(share, 0.0), 1.0) * _VALUES)


def is_kept(trace_id: bytes, bound: int) -> bool:
    """Whether a trace is kept.

    Args:
        trace_id: 16 bytes.
        bound: From :func:`keep_below`.
    """
    return int.from_bytes(trace_id[_LOW_64_BITS], "big") < bound
