"""What benchmarks have left in their file, for those that draw it and those that write it down."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ratios import Rounds


@dataclass(frozen=True)
class Measured:
    """The parts of the file, each with its day, its machine and its numbers."""

    parts: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Measured:
        """Read a file that ``results.note`` has written."""
        return cls(json.loads(path.read_text()))

    def numbers(self, part: str) -> Any:
        """A part's numbers; None where it was not measured."""
        return self.parts[part]["numbers"] if part in self.parts else None

    def when(self, part: str) -> str:
        """Where and on which day a part was measured."""
        held = self.parts[part]
        return f"{held['date']}, {held['machine']}"

    def stage(self, latency_ms: int, in_flight: int, least: int = 0) -> Rounds | None:
        """The runs of one table of drain.py; None where it was not measured over so many records."""
        for row in self.numbers("drain") or ():
            asked = (row["latency_ms"], row["in_flight"]) == (latency_ms, in_flight)
            if asked and row["records"] >= least:
                rounds: Rounds = row["rounds"]
                return rounds
        return None

    def digest(self, *parts: str) -> str:
        """What tells whether a picture shows these numbers."""
        held = json.dumps([self.numbers(part) for part in parts], sort_keys=True)
        return hashlib.sha256(held.encode()).hexdigest()[:16]


PICTURES = {
    "performance-drain.svg": ("drain",),
    "performance-latency.svg": ("drain",),
    "performance-scale.svg": ("scale",),
    "performance-freshness.svg": ("freshness",),
}
"""Each picture and the parts that it shows."""
