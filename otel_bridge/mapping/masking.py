"""Masking: secrets leave the bridge as ``[REDACTED]``, at any depth, also inside strings that hold JSON."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.mapping.secret_keys import SecretKeys, Verdict
from otel_bridge.mapping.secret_text import REDACTED, is_card_number, mask_text
from otel_bridge.mapping.values import MAX_NESTING, TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAY_HOLD_JSON: Final = re.compile(r"\s*+[\[{\"]")
_LABELS: Final = ("name", "key", "header", "field")
_SHORT_KEY: Final = 128
_SHORT_NUMBER: Final = re.compile(r"[0-9]{1,12}")
# Longer ones are kept as text: Python refuses to read them (sys.set_int_max_str_digits).
_MOST_DIGITS: Final = 4000


class Masker:
    """Masks JSON values and text. The same input gives the same output; masking twice changes nothing.

    Args:
        patterns: Extra key patterns; see ``MappingOptions.redact``.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._verdict = SecretKeys(patterns).verdict
        # The same few keys come with every record. What is remembered is bounded: long ones are not.
        self._short_key = lru_cache(maxsize=1024)(self.text)

    def masks(self, key: str) -> bool:
        """Whether text under this key is masked."""
        return self._verdict(key) is not Verdict.KEEP

    def text(self, text: str) -> str:
        """Mask text, which may hold JSON."""
        return self._text(text, 0)

    def key(self, key: str) -> str:
        """Mask a key as text."""
        return self._short_key(key) if len(key) <= _SHORT_KEY else self.text(key)

    def value(self, value: Any) -> Any:
        """Mask any JSON value; the argument stays as it is.

        What lies deeper than ``MAX_NESTING`` levels, those of JSON inside strings counted, becomes a marker.
        """
        return self._value(value, 0)

    def entry(self, key: str, value: Any) -> Any:
        """Mask a value that stands under a key."""
        return self._entry(key, value, 0)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, dict):
            return TOO_DEEP if depth >= MAX_NESTING else self._object(value, depth)
        if isinstance(value, (list, tuple)):
            return TOO_DEEP if depth >= MAX_NESTING else [self._value(item, depth + 1) for item in value]
        return _masked_number(value)

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for given, item in value.items():
            name = key = str(given)
            if len(key) > 5:  # noqa: PLR2004 - no shorter key can be a secret itself
                name = self._text(key, MAX_NESTING)
                if name != key and name in masked:
                    name = f"{name} {len(masked)}"
            masked[name] = self._entry(key, item, depth + 1)
        if "value" in value and self._names_a_secret(value):
            masked["value"] = REDACTED
        return masked

    def _names_a_secret(self, field: dict[str, Any]) -> bool:
        # Headers and the fields of forms are written as lists of {"name": "Cookie", "value": "…"}.
        names = [field[label] for label in _LABELS if isinstance(field.get(label), str)]
        return any(self._verdict(name) is Verdict.MASK for name in names)

    def _entry(self, key: str, value: Any, depth: int) -> Any:
        verdict = self._verdict(key)
        if verdict is Verdict.KEEP:
            return self._value(value, depth)
        if verdict is Verdict.MASK:
            return REDACTED
        return _numbers_only(value, depth)

    def _text(self, text: str, depth: int) -> str:
        if _MAY_HOLD_JSON.match(text):
            try:
                duplicates: list[bool] = []
                held = _read_json(text, duplicates)
            except (ValueError, RecursionError):
                # No JSON, or deeper than can be read: the pairs of keys and values are still found as text.
                return mask_text(text, self._verdict)
            masked = self._value(held, min(depth + 1, MAX_NESTING))
            # Of a key that occurs twice the first value is not in what was read, so the text can't stay.
            return text if masked == held and not duplicates else json.dumps(masked, ensure_ascii=False)
        return mask_text(text, self._verdict)


def _masked_number(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 10**12 <= value < 10**19:
        return REDACTED if is_card_number(str(value)) else value
    return value


def _numbers_only(value: Any, depth: int) -> Any:
    """What is left under a key of counts: numbers, also those written as text, and nothing else."""
    if isinstance(value, str):
        return value if _SHORT_NUMBER.fullmatch(value) else REDACTED
    if isinstance(value, (dict, list, tuple)):
        if depth >= MAX_NESTING:
            return TOO_DEEP
        if isinstance(value, dict):
            return {str(key): _numbers_only(item, depth + 1) for key, item in value.items()}
        return [_numbers_only(item, depth + 1) for item in value]
    return _masked_number(value)


def _read_json(text: str, duplicates: list[bool]) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(items)
        if len(read) != len(items):
            duplicates.append(True)
        return read

    return json.loads(text, object_pairs_hook=pairs, parse_int=_read_int)


def _read_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits
