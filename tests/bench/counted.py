"""The process whose instructions are counted: each step of steps.py over few and over more records.

It runs under callgrind, which is told to note what it has counted so far whenever the C function of
``os.getloadavg`` begins. Nothing else here calls that, so it says where one piece of work ends.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from steps import STEPS, bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FEW, MORE = 100, 400
REFERENCE = "reference"
"""Work that is not ours: what this build of Python takes for a little of everything."""


def reference(raw: Sequence[bytes]) -> Callable[[], None]:
    """Read, walk, write and hash JSON by the standard library alone."""

    def leaves(value: object) -> int:
        if isinstance(value, dict):
            return sum(leaves(inner) for inner in value.values())
        if isinstance(value, list):
            return sum(map(leaves, value))
        return len(f"{value}")

    def work() -> None:
        for body in raw:
            value = json.loads(body)
            leaves(value)
            hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()

    return work


def main() -> None:
    """Do each step three times: to warm up, over few records, over more."""
    raw = bodies(2 * FEW + MORE)
    parts = raw[:FEW], raw[FEW : 2 * FEW], raw[2 * FEW :]
    with ExitStack() as stack:
        steps = {REFERENCE: reference} | {name: stack.enter_context(step()) for name, step in STEPS.items()}
        for prepare in steps.values():
            warm_up, few, more = (prepare(part) for part in parts)
            # What was made ready is not what is measured: the collector leaves it alone.
            gc.collect()
            gc.freeze()
            warm_up()
            os.getloadavg()
            few()
            os.getloadavg()
            more()
            os.getloadavg()


if __name__ == "__main__":
    main()
