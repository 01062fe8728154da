"""From an answer's bytes to values and models.

The fast path is pydantic's own parser. What it refuses is read again by a tolerant one, so that a record
survives what a tool call can put into it. Defined outcomes, the same on both paths:

* bytes that are no UTF-8, and escapes that are half of a pair: U+FFFD each
* ``NaN``, ``Infinity``: floats; integers of any size: int, beyond 4,300 digits their text
* control characters inside strings: kept; a byte order mark: left out
* more than 64 levels of nesting: the string ``[TOO DEEP]`` below them
* a key that comes twice: the last one counts
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from otel_bridge.receiver.nesting import cut, is_deeper

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class UndecodableBody(ValueError):  # noqa: N818 - named as the tree of errors is
    """The bytes are no JSON. The message is for people and holds nothing of the bytes."""


class WrongShape(ValueError):  # noqa: N818
    """JSON, but not what was asked for. The message names fields and holds no values."""


def decode_model(body: bytes, model: type[M]) -> M:
    """Read a body as a model.

    Raises:
        UndecodableBody: It is no JSON.
        WrongShape: It is JSON, but the model can't be made of it.
    """
    if not is_deeper(body):
        try:
            return model.model_validate_json(body)
        except ValidationError:
            pass
    return shape(decode_value(body), model)


def decode_value(body: bytes) -> Any:
    """Read a body as whatever JSON it is, as tolerantly as can be.

    Raises:
        UndecodableBody: It is no JSON.
    """
    text = body.decode("utf-8-sig", errors="replace")
    if is_deeper(body):
        text = cut(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise UndecodableBody(_what_is_wrong(text, len(body), error)) from None
    return _mend(value) if _SURROGATE_ESCAPE.search(text) else value


def shape(value: Any, model: type[M]) -> M:
    """Make a model of a JSON value.

    The value goes back through JSON: pydantic reads Python values by slightly other rules (a float where text
    belongs), and a record must become the same model on whichever path it comes.

    Raises:
        WrongShape: It can't be made.
    """
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise WrongShape(f"{field}: {_what(first)}" if field else "no JSON object") from None


def _what(problem: ErrorDetails) -> str:
    if problem["type"] == "string_too_long":
        return f"longer than {problem['ctx']['max_length']:,} characters"
    return problem["type"]


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
