"""Answers that go wrong on purpose, for tests of whoever reads the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. Without any field set, nothing does.

    Attributes:
        delay_ms: The answer comes this much later.
        hang: There is never an answer.
        reset: The connection is reset without an answer.
        status: This status, with the error envelope, in place of the answer. A 429 has the body of the
            vendor's page on rate limits.
        retry_after_s: With ``status``: what the header ``Retry-After`` asks for, in seconds; None for no
            such header.
        html: With ``status``: a gateway's HTML page in place of the envelope; without: a 200 with HTML.
        truncate: Half of the answer's body, then the connection is closed.
        cut_json: Half of the answer's body as if that were all: the JSON is broken.
        drip: The answer begins, and its body never ends: spaces come one by one.
        padding_bytes: The answer's object is longer by this much text: a detail in ``data``, a list beside
            ``logs``.
        cursor_cycle: On a list: ``next_cursor`` never ends, and so many cursors take turns; 0 for none.
        other_record: On a detail: the answer is another record's, where there is one.
    """

    delay_ms: int = 0
    hang: bool = False
    reset: bool = False
    status: int | None = None
    retry_after_s: int | None = None
    html: bool = False
    truncate: bool = False
    cut_json: bool = False
    drip: bool = False
    padding_bytes: int = 0
    cursor_cycle: int = 0
    other_record: bool = False


# Called with a request's path and its number (0 for the first request to the API); None for no fault.
FaultHook = Callable[[str, int], Fault | None]

DRIP_S = 0.05
"""How often a body that never ends grows by a byte."""

GATEWAY_PAGE = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
