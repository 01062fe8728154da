"""The W3C ``traceparent``, read as strictly as the specification asks (Trace Context, level 1, section 3.2).

``version "-" trace-id "-" parent-id "-" trace-flags``, lower-case hexadecimal. A version that is not known
yet is read by its first four fields; ``ff`` is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FORM: Final = "00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case"
_LENGTH: Final = 55
_FIELDS: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class Traceparent:
    """A span of another process, and whether that process records it.

    Attributes:
        trace_id: 16 bytes, not all zero.
        span_id: 8 bytes, not all zero.
        sampled: The flag of that name.
    """

    trace_id: bytes
    span_id: bytes
    sampled: bool


def parse_traceparent(text: str) -> Traceparent | None:
    """Read a ``traceparent``; None where the text is none."""
    if len(text) < _LENGTH:
        return None  # nearly every request id
    read = _read(text)
    return read if isinstance(read, Traceparent) else None


def traceparent_fault(text: str) -> str | None:
    """What keeps the text from being a ``traceparent``, without the text itself; None where it is one."""
    read = _read(text)
    return read if isinstance(read, str) else None


def _read(text: str) -> Traceparent | str:
    fields = _FIELDS.match(text)
    if fields is None:
        return "upper case is not allowed" if _FIELDS.match(text.lower()) else f"takes {FORM}"
    version, trace_id, span_id, flags = fields.groups()
    if version == "ff":
        return "version ff is not allowed"
    # A later version may add fields after its first four, but never other text.
    if len(text) > _LENGTH and (version == "00" or text[_LENGTH] != "-"):
        return f"takes {FORM}"
    if not int(trace_id, 16):
        return "its trace id is all zero"
    if not int(span_id, 16):
        return "its span id is all zero"
    return Traceparent(bytes.fromhex(trace_id), bytes.fromhex(span_id), bool(int(flags, 16) & _SAMPLED))
