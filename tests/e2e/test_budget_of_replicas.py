"""Several replicas collect one organisation: the source never sees more than the share in any window."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from replica_stage import replica_stage

from otel_bridge.emulator import app, rate
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backend
WINDOW_S = 4
LIMIT, SHARE = 320, 0.5
ALLOWED = 160


class Counting(rate.RateWindow):
    """Notes when it was asked."""

    def __init__(self) -> None:
        super().__init__(LIMIT, SystemClock())
        self.times: list[float] = []

    def take(self, requests: int = 1) -> bool:
        self.times.append(time.monotonic())
        return super().take(requests)


async def test_the_share_holds_for_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A minute of four seconds, which the bridge is told of as the API tells of its own.
    monkeypatch.setattr(rate, "WINDOW_S", WINDOW_S)
    headers = app._rate_headers
    name = b"x-ratelimit-window-size"
    monkeypatch.setattr(app, "_rate_headers", lambda window: [*headers(window)[:2], (name, b"4s")])
    async with replica_stage(tmp_path, projects=4, records=2_000, latency_ms=20) as stage:
        window = Counting()
        stage.source.api._windows["acme"] = window
        config = yaml.safe_load((tmp_path / "config.yaml").read_text())
        for project in config["projects"]:
            project["organization"] = "acme"
            stage.source.api._options.organisations[project["api_key"]] = "acme"  # type: ignore[index]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        alive = [await stage.start(), await stage.start()]
        await stage.sink.until(lambda: len(stage.sink.ids) > 100, 60)
        began_s = time.monotonic()
        await asyncio.sleep(2)
        alive.append(await stage.start())
        await asyncio.sleep(2)
        await alive[0].kill()
        await asyncio.sleep(WINDOW_S)
        took_s = time.monotonic() - began_s
        assert [await each.terminate() for each in alive[1:]] == [0, 0]
        assert len(window.times) > 0.5 * ALLOWED * took_s / WINDOW_S, "the share is used"
        assert busiest(window.times) <= ALLOWED * 1.05
        assert stage.sql("SELECT requests FROM otel_bridge.budgets") == str(LIMIT)


def busiest(times: list[float]) -> int:
    """The most requests within any stretch as long as the window."""
    return max(sum(start <= each < start + WINDOW_S for each in times) for start in times)
