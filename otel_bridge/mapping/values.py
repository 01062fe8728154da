"""Any JSON value as an attribute: what OTLP and the backends can hold, within a size."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.signals import AttributeValue

MAX_NESTING: Final = 24
"""Levels of objects and lists that are kept. A level takes up to three nested OTLP messages, and protobuf
readers stop at 100."""

TOO_DEEP: Final = "[TOO DEEP]"
UTF8_MOST: Final = 4
"""The most bytes that a character takes in UTF-8."""
NAME_BYTES: Final = 128
"""The most an attribute's name made from a record's key may take."""

# Lone surrogates have no UTF-8 form. OTLP can hold NUL, PostgreSQL and C strings behind it can't.
_UNFIT: Final = re.compile("[\ud800-\udfff\x00]")
_UNFIT_IN_NAME: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_INT64: Final = range(-(2**63), 2**63)
_HASH_DIGITS: Final = 8


def fit_text(text: str) -> str:
    """Replace each lone surrogate and each NUL by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNFIT.sub(_REPLACEMENT, text)


def cut_text(text: str, limit: int) -> str:
    """Cut text to a number of bytes of UTF-8, never inside a character.

    Args:
        text: Text without lone surrogates.
        limit: Bytes, the marker included. The marker ``...[cut: N bytes]`` says how long the text was;
            where not even that fits, the text is cut without it.
    """
    if len(text) * UTF8_MOST <= limit or (len(text) <= limit and text.isascii()):
        return text
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    marker = f"...[cut: {len(encoded)} bytes]"
    keep = limit - len(marker)
    if keep < 0:
        return encoded[: max(limit, 0)].decode(errors="ignore")
    return encoded[:keep].decode(errors="ignore") + marker


def limited_text(text: str, limit: int) -> str:
    """Make text fit to be exported, in at most ``limit`` bytes."""
    if len(text) * UTF8_MOST <= limit and text.isascii() and "\x00" not in text:
        return text  # nearly always
    return cut_text(fit_text(text), limit)


def present(texts: Mapping[str, str | None], limit: int) -> dict[str, str]:
    """The texts that there are, each fit to be exported and at most ``limit`` bytes."""
    short = limit // UTF8_MOST
    return {
        # What limited_text would do with nearly all of them, without a call for each.
        name: text
        if len(text) <= short and text.isascii() and "\x00" not in text
        else limited_text(text, limit)
        for name, text in texts.items()
        if text
    }


def structured(value: Any, depth: int = 0) -> AttributeValue:
    """Make any JSON value one that OTLP's AnyValue holds, structure kept.

    Integers beyond 64 bits become their decimal digits, NaN and the infinities their names, what is nested
    deeper than ``MAX_NESTING`` a marker. Keys become text; of keys that become the same the last one stays.
    """
    if isinstance(value, (dict, list, tuple)):
        if depth >= MAX_NESTING:
            return TOO_DEEP
        if isinstance(value, dict):
            return {fit_text(str(key)): structured(item, depth + 1) for key, item in value.items()}
        return [structured(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    return fit_text(str(value))


def _number(value: float) -> AttributeValue:
    if isinstance(value, int):
        # Through Decimal, because Python refuses to write an int of thousands of digits.
        return value if value in _INT64 else str(Decimal(value))
    return value if math.isfinite(value) else _name_of(value)


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _json_text(fit: AttributeValue) -> str:
    return json.dumps(fit, ensure_ascii=False, separators=(",", ":"))


def flat(value: Any, limit: int) -> AttributeValue:
    """Make any JSON value a simple attribute: objects and lists become JSON text; at most ``limit`` bytes."""
    if isinstance(value, str):
        return limited_text(value, limit)
    fit = structured(value)
    if isinstance(fit, (dict, list)):
        fit = _json_text(fit)
    return cut_text(fit, limit) if isinstance(fit, str) else fit


def nested(value: Any, limit: int) -> AttributeValue:
    """Make any JSON value an attribute that keeps its structure, or cut JSON text where that is too large."""
    fit = structured(value)
    if isinstance(fit, str):
        return cut_text(fit, limit)
    if isinstance(fit, (dict, list)):
        text = _json_text(fit)
        cut = cut_text(text, limit)
        return fit if cut is text else cut
    return fit


def attribute_name(prefix: str, key: str) -> str:
    """Make a record's key an attribute's name of at most ``NAME_BYTES`` bytes.

    White space and control characters become ``_``. A longer name is cut and ends in ``~`` and digits that
    stand for the whole, so that two long keys don't become one.
    """
    if len(key) <= NAME_BYTES:
        return _short_name(prefix, key)  # a cache of long keys would not be bounded in bytes
    return _made_name(prefix, key)


def _made_name(prefix: str, key: str) -> str:
    name = prefix + (_UNFIT_IN_NAME.sub("_", fit_text(key)) or "_")
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES:
        return name
    digits = sha256(encoded).hexdigest()[:_HASH_DIGITS]
    return encoded[: NAME_BYTES - _HASH_DIGITS - 1].decode(errors="ignore") + "~" + digits


_short_name: Final = lru_cache(maxsize=4096)(_made_name)


def size_of(value: AttributeValue) -> int:
    """About how many bytes a value takes on the wire."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, (dict, list, tuple)):
        return len(json.dumps(value).encode())
    return 8
