"""What each step of a record's way takes, timed by pytest-benchmark: ``make bench``.

In CI each is done once, untimed, so that it can't rot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from steps import STEPS, bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

RECORDS = 100
ROUNDS = 20


@pytest.mark.parametrize("name", STEPS)
def test_step(name: str, benchmark: BenchmarkFixture) -> None:
    """Each round has records that it meets for the first time."""
    rounds = 1 if benchmark.disabled else ROUNDS
    fresh = bodies((rounds + 1) * RECORDS)
    benchmark.extra_info["records"] = RECORDS
    with STEPS[name]() as prepare:

        def setup() -> tuple[tuple[Callable[[], object]], dict[str, object]]:
            part = fresh[:RECORDS]
            del fresh[:RECORDS]
            return (prepare(part),), {}

        benchmark.pedantic(  # type: ignore[no-untyped-call] # as its package has it
            lambda work: work(), setup=setup, rounds=rounds, warmup_rounds=0 if benchmark.disabled else 1
        )
