"""Tries of one thing: calls of the same tool within one request, or under one parent."""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from otel_bridge.frozen import value
from otel_bridge.mapping.facts import has_failed
from otel_bridge.mapping.timings import read_timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_bridge.receiver.models import Detail

_KEY_BYTES: Final = 16


@value(frozen=True, slots=True)
class Attempt:
    """One try.

    Attributes:
        log_id: Its record.
        keys: What its other tries have in common with it, hashed: tool and request id, tool and parent.
        start_ns: Start, in ns since the epoch.
        end_ns: End, in ns since the epoch.
        failed: Whether it failed.
    """

    log_id: str
    keys: tuple[bytes, ...]
    start_ns: int
    end_ns: int
    failed: bool

    @property
    def moment(self) -> tuple[int, int, bytes]:
        """Its place in the order of tries; no two records share one."""
        return self.end_ns, self.start_ns, self.log_id.encode("utf-8", "surrogatepass")


def attempt_keys(record: Detail) -> tuple[bytes, ...]:
    """The keys of the record as a try; none where nothing says which others could be tries of the same."""
    tool = record.tool_slug
    if tool is None or not record.is_tool_execution:
        return ()
    request_id = record.context.request_id if record.context is not None else None
    parent_id = record.parent_log_id
    if request_id and parent_id:
        return _key("request", tool, request_id), _key("parent", tool, parent_id)
    if request_id:
        return (_key("request", tool, request_id),)
    return (_key("parent", tool, parent_id),) if parent_id else ()


def attempts_in(
    records: Sequence[Detail], keys: Mapping[str, tuple[bytes, ...]], failed: Iterable[bytes]
) -> list[Attempt]:
    """The records as tries, those alone that a failed one may have come before, or that failed themselves.

    Args:
        records: A batch.
        keys: By log id, from ``attempt_keys``.
        failed: The keys of failed tries that are in no record of the batch.
    """
    hot = set(failed)
    for record in records:
        if keys[record.id] and has_failed(record):
            hot.update(keys[record.id])
    return [attempt_of(each, keys[each.id]) for each in records if not hot.isdisjoint(keys[each.id])]


def attempt_of(record: Detail, keys: tuple[bytes, ...]) -> Attempt:
    """The record as a try, with its keys from ``attempt_keys``."""
    timing = read_timing(record)
    return Attempt(record.id, keys, timing.start_ns, timing.end_ns, has_failed(record))


class FailedAttempts:
    """Failed tries, for those that come after them.

    Args:
        attempts: In any order; those that did not fail are left out.
    """

    def __init__(self, attempts: Iterable[Attempt]) -> None:
        self._by_key: dict[bytes, list[Attempt]] = {}
        for each in sorted((each for each in attempts if each.failed), key=lambda each: each.moment):
            for key in each.keys:
                self._by_key.setdefault(key, []).append(each)

    def before(self, attempt: Attempt) -> Attempt | None:
        """The last failed try that had ended when this one began; None where there is none.

        Calls that ran at the same time are no tries of the same thing.
        """
        if not self._by_key:
            return None
        found = [each for key in attempt.keys if (each := self._last(key, attempt)) is not None]
        return max(found, key=lambda each: each.moment, default=None)

    def _last(self, key: bytes, attempt: Attempt) -> Attempt | None:
        tries = self._by_key.get(key, [])
        ended = bisect_right(tries, attempt.start_ns, key=lambda each: each.end_ns)
        # Only points in time that fall together are not told apart by their ends.
        return next((each for each in reversed(tries[:ended]) if each.moment < attempt.moment), None)


def _key(kind: str, tool: str, shared: str) -> bytes:
    # Length before text: no two lists of parts give the same bytes.
    first, second = tool.encode("utf-8", "surrogatepass"), shared.encode("utf-8", "surrogatepass")
    text = b"%d:%b,%d:%b,%d:%b," % (len(kind), kind.encode(), len(first), first, len(second), second)
    return sha256(text).digest()[:_KEY_BYTES]
