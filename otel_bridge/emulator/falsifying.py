"""What a fault makes of an answer's content."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_bridge.emulator import answers
from otel_bridge.emulator.answers import Answer
from otel_bridge.emulator.faults import GATEWAY_PAGE
from otel_bridge.emulator.queries import cursor_of, read_list_query
from otel_bridge.emulator.records import to_json

if TYPE_CHECKING:
    from otel_bridge.emulator.faults import Fault

_OK: Final = 200
_TOO_MANY: Final = 429


def falsified(fault: Fault, answer: Answer, body: bytes) -> Answer:
    """The answer with what the fault changes of its content.

    Args:
        fault: What goes wrong.
        answer: The right answer.
        body: The request's.
    """
    asked = fault.retry_after_s
    headers = () if asked is None else ((b"retry-after", b"%d" % asked),)
    if fault.html:
        return Answer(fault.status or _OK, GATEWAY_PAGE, answers.HTML, headers)
    if fault.status == _TOO_MANY:
        return replace(answers.too_many_requests(asked or 0), headers=headers)
    if fault.status is not None:
        return answers.error_answer(fault.status, "Something went wrong", "Try again later.", headers=headers)
    if fault.cut_json:
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    if answer.status == _OK and (fault.padding_bytes or fault.cursor_cycle):
        return _altered(fault, answer, body)
    return answer


def _altered(fault: Fault, answer: Answer, body: bytes) -> Answer:
    """An answer that is longer than it should be, or never the last page."""
    content = json.loads(answer.body)
    is_list = "next_cursor" in content
    if fault.padding_bytes:
        place = content if is_list else content.setdefault("data", {})
        place["padding"] = "x" * fault.padding_bytes
    if fault.cursor_cycle and is_list:
        page = read_list_query(body).page
        content["next_cursor"] = cursor_of(2 if page == 1 else 2 + (page - 1) % fault.cursor_cycle)
    return replace(answer, body=to_json(content))
