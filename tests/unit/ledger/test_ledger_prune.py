"""How a ledger stays small, however long it runs, and what it never forgets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from unit.ledger.ledger_samples import DAY, HOUR, KINDS, T0, aside, opened, record, window

from otel_bridge.ledger import Lane, Ledger, Window, postgres_prune, sqlite_prune

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as each:
        yield each


async def test_old_ids_are_forgotten_and_still_counted(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record("a", 1), record("b", 2)])
    await ledger.commit("q", delivered=[record("a", 1)])
    assert await ledger.prune("p", T0 + 2 * HOUR, T0 + 3 * HOUR) == 1
    assert await ledger.known("p", ["a", "b"]) == {"b"}
    assert await ledger.known("q", ["a"]) == {"a"}
    assert (await ledger.status(["p"]))[0].delivered == 2


async def test_ids_of_an_open_window_are_kept_however_old(ledger: Ledger) -> None:
    times = {"before": 0.9, "edge": 1 - 1 / 3600, "inside": 1.5, "after": 2 + 0.5 / 3600, "later": 2.1}
    await ledger.commit("p", delivered=[record(log_id, at_h) for log_id, at_h in times.items()])
    await ledger.add_windows([window(1, 2, lane=Lane.BACKFILL, passes=0, due_ms=0)])
    assert await ledger.prune("p", T0 + 9 * HOUR, T0 + 9 * HOUR) == 2
    assert await ledger.known("p", times) == {"edge", "inside", "after"}
    await ledger.commit("p", window=window(1, 2, lane=Lane.BACKFILL))
    assert await ledger.prune("p", T0 + 9 * HOUR, T0 + 9 * HOUR) == 3


async def test_sealed_windows_that_adjoin_within_a_day_become_one(ledger: Ledger) -> None:
    for each in (
        window(0, 1, passes=2, records=1),
        window(1, 2, passes=5, records=2),
        window(3, 4, records=4),
        window(22, 23, records=8),
        window(23, 25, records=16),
        window(25, 26, records=32),
        window(26, 48, records=64),
        window(48, 49, due_ms=5, records=128),
        window(49, 50, records=256),
        window(0, 1, lane=Lane.BACKFILL, records=512),
    ):
        await ledger.commit("p", window=each)
    before = await ledger.status(["p"])
    assert await ledger.prune("p", T0, T0 + 50 * HOUR) == 0
    assert await ledger.windows("p", Lane.LIVE) == [
        window(0, 2, passes=2, records=3),
        window(3, 4, records=4),
        window(22, 23, records=8),
        window(23, 25, records=16),
        window(25, 48, records=96),
        window(48, 49, due_ms=5, records=128),
        window(49, 50, records=256),
    ]
    assert await ledger.windows("p", Lane.BACKFILL) == [window(0, 1, lane=Lane.BACKFILL, records=512)]
    assert await ledger.status(["p"]) == before


async def test_what_the_source_has_forgotten_is_dropped(ledger: Ledger) -> None:
    old, newer = aside("old", since_ms=T0), aside("newer", since_ms=T0 + 300 * DAY)
    await ledger.commit("p", window=window(0, 24), set_aside=[old, newer])
    await ledger.commit("p", window=window(24, 48, due_ms=1))
    await ledger.commit("p", window=window(402 * 24, 402 * 24 + 1))
    await ledger.prune("p", T0, T0 + 403 * DAY)
    assert [each.from_ms for each in await ledger.windows("p", Lane.LIVE)] == [T0 + DAY, T0 + 402 * DAY]
    assert await ledger.set_aside("p") == [newer]


async def test_a_clock_that_jumps_ahead_drops_nothing(ledger: Ledger) -> None:
    await ledger.commit("p", window=window(0, 24), set_aside=[aside("a")])
    await ledger.prune("p", T0, T0 + 5_000 * DAY)
    assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + DAY
    assert await ledger.known("p", ["a"]) == {"a"}
    assert await ledger.prune("nobody", T0, T0) == 0


async def test_pruning_goes_in_steps(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqlite_prune, postgres_prune):
        monkeypatch.setattr(module, "ROWS_A_STEP", 3)
    await ledger.commit("p", delivered=[record(f"log_{n}", n) for n in range(14)])
    for start in range(0, 24, 2):
        await ledger.commit("p", window=window(start, start + (1 if start == 8 else 2), records=1))
    assert await ledger.prune("p", T0 + 13 * HOUR, T0 + DAY) == 13
    assert await ledger.known("p", [f"log_{n}" for n in range(14)]) == {"log_13"}
    assert await ledger.windows("p", Lane.LIVE) == [window(0, 9, records=5), window(10, 24, records=7)]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def test_the_file_shrinks_when_what_it_held_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_prune, "PAGES_A_STEP", 100)
    async with opened("sqlite", tmp_path) as ledger:
        await ledger.commit("p", delivered=[record(f"log_{n:012}", n / 10_000) for n in range(20_000)])
        await ledger.close()
        full = size_of(tmp_path)
        await ledger.open()
        await ledger.prune("p", T0 + HOUR, T0 + HOUR)
        await ledger.prune("p", T0 + 2 * HOUR, T0 + 2 * HOUR)
        await ledger.close()
    assert full > 1_500_000
    assert size_of(tmp_path) < full / 8


@pytest.mark.parametrize(("kind", "days"), [("memory", 365), ("sqlite", 365), ("postgres", 40)])
async def test_a_year_of_windows_leaves_a_small_ledger(kind: str, days: int, tmp_path: Path) -> None:
    """Windows of an hour with 5 records each, a day's last one open for a while, ids kept for a day."""
    step, per_day, sizes, rows = HOUR, 24, list[int](), list[int]()
    async with opened(kind, tmp_path) as ledger:
        for day in range(days):
            start = T0 + day * DAY
            # A day's windows are planned in one call, so that the year passes in a few seconds.
            await ledger.add_windows(
                [
                    Window("p", Lane.LIVE, start + n * step, start + (n + 1) * step, 4, None, 5)
                    for n in range(per_day)
                ]
            )
            last = Window("p", Lane.LIVE, start + DAY - step, start + DAY, 1, start + DAY + HOUR, 5)
            await ledger.commit(
                "p",
                window=last,
                delivered=[record(f"log_{day:03}{n:09}", day * 24 + n / 5) for n in range(5 * per_day)],
            )
            now = start + DAY
            if day:
                await ledger.commit("p", window=Window("p", Lane.LIVE, start - step, start, 5, None, 5))
            await ledger.prune("p", now - DAY, now)
            if day % (days // 5) == days // 5 - 1:
                rows.append(len(await ledger.windows("p", Lane.LIVE)))
                await ledger.close()
                sizes.append(size_of(tmp_path))
                await ledger.open()
        asked_at = time.perf_counter()
        assert await ledger.watermark_ms("p", Lane.LIVE) == T0 + days * DAY
        assert time.perf_counter() - asked_at < 0.5
        windows = await ledger.windows("p", Lane.LIVE)
        assert sum(each.records for each in windows) == days * 5 * per_day
        assert (await ledger.status(["p"]))[0].delivered == days * 5 * per_day
        assert await ledger.known("p", [f"log_000{n:09}" for n in range(5 * per_day)]) == set()
    assert rows[-1] <= days + 1
    assert max(sizes) <= max(sizes[0] * 1.5, 300_000), sizes
