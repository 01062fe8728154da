"""What came of a tool call, read from its answer or its exception; texts and payloads are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_bridge.instrumentation.conventions import ERROR_TYPE_OTHER

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a tool call.

    Attributes:
        log_id: The id of its log; empty where the answer has none.
        error_type: A class of errors of low cardinality; empty where it succeeded.
    """

    log_id: str = ""
    error_type: str = ""


def outcome_of_answer(answer: Any) -> Outcome:
    """Read an answer: ``successful`` of tools.execute, ``result_type`` of a session, else ``error``."""
    if type(answer).__name__.endswith("APIResponse"):
        # A raw answer, not parsed yet. By its name: asking a model for what it has not is slow.
        answer = answer.http_response.json()
    read = answer.get if isinstance(answer, Mapping) else partial(getattr, answer)
    log_id = read("log_id", None)
    return Outcome(log_id if isinstance(log_id, str) else "", _error_type(read))


def outcome_of_exception(error: BaseException) -> Outcome:
    """The HTTP status where the service refused, else the exception's class."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return Outcome(error_type=str(status))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Outcome(error_type=name)


def _error_type(read: Callable[[str, Any], Any]) -> str:
    result = read("result_type", None)
    if isinstance(result, str):
        # "input_required": it did not run, and did not fail.
        return {"failed": ERROR_TYPE_OTHER, "blocked": "blocked"}.get(result, "")
    successful = read("successful", None)
    failed = not successful if isinstance(successful, bool) else bool(read("error", None))
    return ERROR_TYPE_OTHER if failed else ""
