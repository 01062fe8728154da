"""What each contender that pulls in a loop has in common: its arguments, and how it is measured.

Usage: python CONTENDER.py BASE_URL FROM_MS TO_MS IN_FLIGHT KIND SINK
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIST = "api/v3.1/logs/tool_execution"
KEY = "ak_bench"


@dataclass(frozen=True)
class Task:
    """What is to be fetched, from where, so many at once, and where spans go."""

    base_url: str
    from_ms: int
    to_ms: int
    in_flight: int
    kind: str
    sink: str


def task() -> Task:
    """As the command line says."""
    base_url, from_ms, to_ms, in_flight, kind, sink = sys.argv[1:7]
    return Task(base_url, int(from_ms), int(to_ms), int(in_flight), kind, sink)


def measured(run: Callable[[], int]) -> None:
    """Run it and print how many records it fetched, and what that took."""
    began, used = time.perf_counter(), time.process_time()
    records = run()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"records": records, "seconds": seconds, "cpu_s": cpu_s}))
