"""A client of a made-up source, on a simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fake_source import KEY, FakeSource
from pydantic import SecretStr
from simulated_clock import SimulatedClock

from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def budget(clock: SimulatedClock) -> Budget:
    return Budget(0.5, clock)


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
async def client(source: FakeSource, clock: SimulatedClock, budget: Budget) -> AsyncIterator[LogsClient]:
    async with LogsClient(
        base_url="https://backend.composio.dev/",
        api_key=SecretStr(KEY),
        key_from="bridge.yaml: projects.0.api_key",
        budget=budget,
        clock=clock,
        transport=httpx.MockTransport(source),
    ) as made:
        yield made
