"""One page of the list: its entries, and what on it is no entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from otel_bridge.receiver.decoding import WrongShape, decode_model, decode_value, shape
from otel_bridge.receiver.models import Entry


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An element of a page that can't be read as a log entry.

    Attributes:
        index: Its place on the page, from 0.
        log_id: Its id, where it has one that is text.
        reason: One line for people, without anything of the payload.
    """

    index: int
    log_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list.

    Attributes:
        entries: What could be read, in the source's order, of which nothing is promised.
        unreadable: What could not.
        next_cursor: What brings the next page; None on the last one.
    """

    entries: list[Entry]
    unreadable: list[UnreadableEntry]
    next_cursor: str | None


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    logs: list[Entry]
    next_cursor: Any = None


class _Elements(BaseModel):
    model_config = ConfigDict(extra="ignore")

    logs: list[Any]
    next_cursor: Any = None


def read_page(body: bytes) -> Page:
    """Read the answer of a list request; one bad element never costs the page.

    Raises:
        UndecodableBody: It is no JSON.
        WrongShape: It is JSON, but no page.
    """
    try:
        envelope = decode_model(body, _Envelope)
    except WrongShape:
        return _element_by_element(decode_value(body))
    return Page(envelope.logs, [], _cursor(envelope.next_cursor))


def _element_by_element(value: Any) -> Page:
    elements = shape(value, _Elements)
    entries: list[Entry] = []
    unreadable: list[UnreadableEntry] = []
    for index, element in enumerate(elements.logs):
        try:
            entries.append(shape(element, Entry))
        except WrongShape as error:
            log_id = element.get("id") if isinstance(element, dict) else None
            unreadable.append(
                UnreadableEntry(
                    index,
                    log_id if isinstance(log_id, str) and log_id else None,
                    f"it is no log entry ({error})",
                )
            )
    return Page(entries, unreadable, _cursor(elements.next_cursor))


def _cursor(value: Any) -> str | None:
    """The next page's cursor. Where it can't be read, the list's end must not be taken for reached."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise WrongShape("next_cursor: not text")
