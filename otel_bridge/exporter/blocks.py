"""What holds an exporter up: which of its destinations take no records now, told when that changes.

with exporter.blocks.watched() as changed:
    await changed.wait()
    print(exporter.blocks.now)  # [Block(name="https://otlp.example/v1/traces (traces)", why="503")]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Block:
    """A destination that takes no records.

    Attributes:
        name: The destination, as it may be shown.
        why: What it answered last, in one line without secret.
        until_ms: When it is tried next, in ms since the epoch; None where that is not known.
    """

    name: str
    why: str
    until_ms: int | None

    def __str__(self) -> str:
        """For people, in one line."""
        return f"{self.name} takes no records: {self.why}"


OnBlocked = Callable[[Block], object]
OnOpen = Callable[[str], object]


class Blocks:
    """The blocks of one exporter. For use within one event loop.

    Args:
        on_blocked: Called when a destination takes no records any more, and with each further try that fails.
        on_open: Called with the name of one that takes records again.
    """

    def __init__(self, on_blocked: OnBlocked | None = None, on_open: OnOpen | None = None) -> None:
        self._on_blocked = on_blocked or (lambda _: None)
        self._on_open = on_open or (lambda _: None)
        self._blocks: dict[str, Block] = {}
        self._watchers: set[asyncio.Event] = set()

    @property
    def now(self) -> list[Block]:
        """The destinations that take no records, the longest blocked first."""
        return list(self._blocks.values())

    def block(self, name: str, why: str, until_ms: int | None) -> None:
        """A destination takes no records; see `Block`."""
        self._blocks[name] = Block(name, why, until_ms)
        self._on_blocked(self._blocks[name])
        self._tell()

    def open(self, name: str) -> None:
        """A destination takes records again."""
        if self._blocks.pop(name, None) is not None:
            self._on_open(name)
            self._tell()

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """An event that is set with each change, and at once where something is blocked already."""
        changed = asyncio.Event()
        if self._blocks:
            changed.set()
        self._watchers.add(changed)
        try:
            yield changed
        finally:
            self._watchers.discard(changed)

    def _tell(self) -> None:
        for changed in self._watchers:
            changed.set()


@runtime_checkable
class MayBlock(Protocol):
    """An exporter that tries for as long as it takes, and tells what holds it up meanwhile."""

    @property
    def blocks(self) -> Blocks:
        """What holds it up now."""
        ...
