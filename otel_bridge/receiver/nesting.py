"""How deep a JSON text is nested, found without parsing it, and the cut that makes a too deep one readable.

A parser that recurses gives up on deep nesting, and the whole record would be lost for one field of it. A
document's outermost object or array is level 1.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 64
"""Levels that are kept."""
TOO_DEEP: Final = "[TOO DEEP]"
"""What stands in place of an object or array below the last level that is kept."""

_NO_MARKS: Final = bytes(set(range(256)) - set(b'"[]{}'))
_STRING_OF_MARKS: Final = re.compile(rb'"[^"]*"')
_STEPS: Final = bytes({ord("["): 1, ord("{"): 1, ord("]"): 255, ord("}"): 255}.get(i, 0) for i in range(256))
# A string that never ends is one token too: else each of its quotes would be tried to the end of the text.
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def is_deeper(body: bytes, most: int = MAX_DEPTH) -> bool:
    """Whether well-formed JSON is nested deeper than ``most`` levels; of other bytes it says nothing.

    Made of whole-buffer operations, because it stands before every parse: about 2 µs per KB, and far less for
    a body with fewer brackets than levels.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Quotes now only open and close strings, by turns; taking out a pair of neighbours keeps the turns right.
    marks = body.translate(None, _NO_MARKS).replace(b'""', b"")
    if b'"' in marks:
        marks = _STRING_OF_MARKS.sub(b"", marks)
    steps = memoryview(marks.translate(_STEPS)).cast("b")
    return max(accumulate(steps), default=0) > most


def cut(text: str, most: int = MAX_DEPTH) -> str:
    """Put TOO_DEEP in place of every object and array below level ``most``."""
    kept: list[str] = []
    depth = done = start = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("[", "{"):
            depth += 1
            if depth == most + 1:
                start = token.start()
        elif mark in ("]", "}"):
            if depth == most + 1:
                kept += (text[done:start], f'"{TOO_DEEP}"')
                done = token.end()
            depth -= 1
    # What ends below the last level is truncated: without its deep end the parser can say so.
    kept.append(text[done:start] if depth > most else text[done:])
    return "".join(kept)
