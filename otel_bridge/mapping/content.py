"""Arguments and result of a call, found in the record's free-form ``data``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_bridge.mapping.values import flat, nested

if TYPE_CHECKING:
    from otel_bridge.mapping.masking import Masker
    from otel_bridge.signals import AttributeValue

_ARGUMENTS: Final = ("request", "arguments", "input", "inputs", "params", "parameters", "args")
_RESULT: Final = ("response", "result", "results", "output", "outputs")


@dataclass(frozen=True, slots=True)
class Content:
    """What went in and what came out; None where the record has none."""

    arguments: Any
    result: Any


def read_content(data: Any, masker: Masker) -> Content:
    """Tell arguments and result apart, and mask them.

    The first of ``request``, ``arguments``, ``input``, ``inputs``, ``params``, ``parameters``, ``args`` that
    holds something is the arguments; the first of ``response``, ``result``, ``results``, ``output``,
    ``outputs`` the result. Where there is no result, it is what is left beside the arguments (an ``error``,
    for instance); where there are no arguments either, all of the data.
    """
    if not isinstance(data, dict):
        return Content(None, masker.value(data))
    arguments_key = _first(data, _ARGUMENTS)
    result_key = _first(data, _RESULT)
    if result_key is not None:
        result = masker.value(data[result_key])
    else:
        left = {key: value for key, value in data.items() if key != arguments_key and value is not None}
        result = masker.value(left) if left else None
    return Content(masker.value(data[arguments_key]) if arguments_key is not None else None, result)


def _first(data: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if data.get(key) is not None), None)


def span_value(masked: Any, limit: int) -> AttributeValue:
    """Masked content as a span carries it: JSON text.

    The conventions want structure on spans where it is supported. OTLP could carry it, but trace stores
    drop, flatten or print such attributes in their own ways, and read JSON text alike.
    """
    return flat(masked, limit)


def event_value(masked: Any, limit: int) -> AttributeValue:
    """Masked content as a log record carries it: structured, as the conventions demand.

    Also where it came as text that holds JSON. Beyond ``limit`` bytes it is JSON text that says how long it
    was, since a structure can't be cut so that it says so.
    """
    if isinstance(masked, str):
        masked = _structure_in(masked)
    return nested(masked, limit)


def _structure_in(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return held
