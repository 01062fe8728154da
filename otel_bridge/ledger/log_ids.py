"""Log ids as bytes: nobody has promised that they are clean text."""

from __future__ import annotations


def to_bytes(log_id: str) -> bytes:
    """The id as UTF-8, lone surrogates passed through."""
    return log_id.encode("utf-8", "surrogatepass")


def from_bytes(stored: bytes) -> str:
    """The id again; what is damaged becomes a replacement character."""
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")
