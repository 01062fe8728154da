"""One page of the list: its entries, and what on it is no entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from otel_bridge.receiver.decoding import REFUSED, WrongShape, decode_value
from otel_bridge.receiver.models import Detail, Entry
from otel_bridge.receiver.nesting import is_deeper

E_co = TypeVar("E_co", bound=Entry, covariant=True)


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
        entries: What could be read, in the source's order, of which nothing is promised. A ``Detail`` each
            where all that the list shows was asked for.
        unreadable: What could not.
        next_cursor: What brings the next page; None on the last one.
    """

    entries: list[Entry]
    unreadable: list[UnreadableEntry]
    next_cursor: str | None


class _Envelope(msgspec.Struct, Generic[E_co], frozen=True, gc=False):
    logs: list[E_co]
    next_cursor: Any = None


_WHOLE: Final = msgspec.json.Decoder(_Envelope[Detail])
_SLIM: Final = msgspec.json.Decoder(_Envelope[Entry])


def read_page(body: bytes, *, whole: bool = True) -> Page:
    """Read the answer of a list request; one bad element never costs the page.

    Args:
        body: The answer's.
        whole: Whether its entries are read as a ``Detail`` each, with all that the list shows of them, or as
            an ``Entry``, which takes a quarter of the time and of the memory.

    Raises:
        UndecodableBody: It is no JSON.
        WrongShape: It is JSON, but no page.
    """
    try:
        envelope = (_WHOLE if whole else _SLIM).decode(body)
    except REFUSED:
        return _element_by_element(decode_value(body), Detail if whole else Entry)
    if any(isinstance(each, Detail) and each.may_be_deep for each in envelope.logs) and is_deeper(body):
        return _element_by_element(decode_value(body), Detail)
    return Page(envelope.logs, [], _cursor(envelope.next_cursor))


def _element_by_element(value: Any, model: type[Entry]) -> Page:
    if not isinstance(value, dict):
        raise WrongShape("no JSON object")
    if "logs" not in value:
        raise WrongShape("logs: missing")
    if not isinstance(value["logs"], list):
        raise WrongShape("logs: no list")
    entries: list[Entry] = []
    unreadable: list[UnreadableEntry] = []
    for index, element in enumerate(value["logs"]):
        try:
            entries.append(model.of_value(element))
        except WrongShape as error:
            log_id = element.get("id") if isinstance(element, dict) else None
            unreadable.append(
                UnreadableEntry(
                    index,
                    log_id if isinstance(log_id, str) and log_id else None,
                    f"it is no log entry ({error})",
                )
            )
    return Page(entries, unreadable, _cursor(value.get("next_cursor")))


def _cursor(value: Any) -> str | None:
    """The next page's cursor. Where it can't be read, the list's end must not be taken for reached."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise WrongShape("next_cursor: not text")
