"""From an answer's bytes to values.

What is as documented is read by msgspec, see ``models`` and ``page``. What that refuses is read here, so that
a record survives what a tool call can put into it. Defined outcomes, the same on both paths:

* bytes that are no UTF-8, and escapes that are half of a pair: U+FFFD each
* ``NaN``, ``Infinity``: floats; integers of any size: int, beyond 4,300 digits their text
* control characters inside strings: kept; a byte order mark: left out
* more than 64 levels of nesting: the string ``[TOO DEEP]`` below them
* a key that comes twice: the last one counts
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from otel_bridge.receiver.nesting import MAX_DEPTH, cut, is_deeper

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_ANY: Final = msgspec.json.Decoder()

REFUSED: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises for a body; its own errors are ValueErrors from 0.23 on, those of UTF-8 always were."""


class UndecodableBody(ValueError):  # noqa: N818 - named as the tree of errors is
    """The bytes are no JSON. The message is for people and holds nothing of the bytes."""


class WrongShape(ValueError):  # noqa: N818
    """JSON, but not what was asked for. The message names fields and holds no values."""


def read_raw(raw: msgspec.Raw, most: int) -> Any:
    """Read JSON that msgspec has passed over: of such it has checked the syntax alone.

    Args:
        raw: The JSON.
        most: The most levels of nesting that are kept.
    """
    body = bytes(raw)
    if not is_deeper(body, most):
        try:
            return _ANY.decode(body)
        except REFUSED:
            pass
    return decode_value(body, most)


def decode_value(body: bytes, most: int = MAX_DEPTH) -> Any:
    """Read a body as whatever JSON it is, as tolerantly as can be.

    Args:
        body: The bytes.
        most: The most levels of nesting that are kept.

    Raises:
        UndecodableBody: It is no JSON.
    """
    text = body.decode("utf-8-sig", errors="replace")
    if is_deeper(body, most):
        text = cut(text, most)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise UndecodableBody(_what_is_wrong(text, len(body), error)) from None
    return _mend(value) if _SURROGATE_ESCAPE.search(text) else value


def _whole(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads: see sys.set_int_max_str_digits
        return digits


_DECODER: Final = json.JSONDecoder(strict=False, parse_int=_whole)


def _mend(value: Any) -> Any:
    """Replace lone surrogates. Recurses, which the limit on nesting makes safe."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value


def _what_is_wrong(text: str, size: int, error: json.JSONDecodeError) -> str:
    content = text.strip()
    if not content:
        return "it is empty"
    if content.startswith("<"):
        return "it is a page of HTML or XML, as gateways and proxies send"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it ends too early, after {size} bytes"
    return f"it is no JSON from character {error.pos} on"
