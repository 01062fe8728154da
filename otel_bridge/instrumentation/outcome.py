"""What came of a tool call, read from its answer or its exception; texts and payloads are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_bridge.instrumentation.conventions import ERROR_TYPE_OTHER


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
    log_id = _field(answer, "log_id")
    return Outcome(log_id if isinstance(log_id, str) else "", _error_type(answer))


def outcome_of_exception(error: BaseException) -> Outcome:
    """The HTTP status where the service refused, else the exception's class."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return Outcome(error_type=str(status))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Outcome(error_type=name)


def _error_type(answer: Any) -> str:
    result = _field(answer, "result_type")
    if isinstance(result, str):
        # "input_required": it did not run, and did not fail.
        return {"failed": ERROR_TYPE_OTHER, "blocked": "blocked"}.get(result, "")
    successful = _field(answer, "successful")
    failed = not successful if isinstance(successful, bool) else bool(_field(answer, "error"))
    return ERROR_TYPE_OTHER if failed else ""


def _field(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
