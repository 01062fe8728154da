"""Fixtures of the endpoints' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from web_stage import Stage, asking, busy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    """Two projects, of which one has trouble."""
    return await busy(tmp_path)


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the stage's endpoints, without a socket."""
    async with asking(stage) as made:
        yield made


@pytest.fixture
async def quiet(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the endpoints of a service that has just started."""
    async with asking(Stage(tmp_path)) as made:
        yield made
