"""Other processes, with other hash seeds, orders and batches, come to the same identities."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from correlated_world import PARENT, UNSAMPLED, opened, record, span

if TYPE_CHECKING:
    from otel_bridge.mapping.identity import Identity

NAMES = [f"log_{n}" for n in range(60)]


async def identities(seed: int) -> str:
    """A family with correlations, delivered in the order and the batches that a seed gives."""
    rng = random.Random(7)
    parents = [None, None, None, "log_gone", *NAMES]
    requests = [None, "r_0", "r_1", PARENT, UNSAMPLED]
    world = await opened([record(name, rng.choice(parents), rng.choice(requests)) for name in NAMES])
    for n in range(0, len(NAMES), 4):
        await world.correlate(NAMES[n], span(n % 5))
    await world.correlate("r_0", span(3), "request_id")
    order = list(NAMES)
    batches = random.Random(seed)
    batches.shuffle(order)
    found: dict[str, Identity] = {}
    while order:
        size = batches.randint(1, 9)
        batch, order = order[:size], order[size:]
        sent = await world.send(batch)
        await world.commit(sent)
        found |= sent
    return "\n".join(repr(found[name]) for name in NAMES)


def test_every_process_comes_to_the_same() -> None:
    said = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, __file__, seed],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    said.add(asyncio.run(identities(3)) + "\n")
    (same,) = said
    assert len(same.splitlines()) == len(NAMES)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(identities(int(sys.argv[1]))) + "\n")
