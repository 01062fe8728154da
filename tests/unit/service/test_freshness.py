"""A live feed is delivered fresh, late or not, for few requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_simulation import LATENESS, POLL_S, simulate
from quota_source import QuotaSource

from otel_bridge.ledger import Lane, Window
from otel_bridge.pipeline import windows

if TYPE_CHECKING:
    from simulated_clock import SimulatedClock

    from otel_bridge.emulator import LogStore


@pytest.mark.parametrize("lateness", LATENESS)
@pytest.mark.parametrize(("rate", "seconds"), [(1, 600), (5, 300), (30, 100)])
async def test_a_feed_is_fresh_and_costs_little_more_than_its_details(
    rate: int, seconds: int, lateness: str
) -> None:
    run = await simulate(rate, seconds, lateness)
    assert run.p50_s <= POLL_S + 1
    assert run.p95_s <= POLL_S + 1  # of those that are late by seconds as well
    # A poll every 5 s is 12 requests a minute, whatever it finds.
    assert run.requests <= (1.1 if rate >= 4 else 1.35)


@pytest.mark.parametrize("lateness", LATENESS)
@pytest.mark.parametrize("rate", [1, 5, 10])
async def test_polls_that_set_themselves_are_fresh_and_cost_a_twentieth_of_the_share(
    rate: int, lateness: str
) -> None:
    made: list[QuotaSource] = []

    def source(store: LogStore, clock: SimulatedClock) -> QuotaSource:
        made.append(QuotaSource(store, clock, quota=2_000, share=0.5, latency_s=0.1))
        return made[-1]

    run = await simulate(rate, 200, lateness, client_of=source)
    assert run.p50_s <= 1.2
    assert run.p95_s <= 2.5
    share = 2_000 * 0.5 / 60 * (200 + 45)
    assert made[-1].requests["list"] <= 0.06 * share
    assert rate < 10 or run.requests <= 1.15


def row(from_ms: int, lengths: list[int], records: list[int], due_ms: int | None = 10**9) -> list[Window]:
    windows = []
    for length, count in zip(lengths, records, strict=False):
        windows.append(Window("p", Lane.LIVE, from_ms, from_ms + length, 1, due_ms, count))
        from_ms += length
    return windows


@given(
    lengths=st.lists(st.integers(1, 20_000), max_size=8),
    records=st.lists(st.integers(0, 900), min_size=8, max_size=8),
    length=st.integers(1, 60_000),
    state=st.sampled_from(["open", "due", "sealed", "planned"]),
    at=st.integers(0, 7),
)
def test_a_look_back_stays_within_open_windows_and_within_a_pass(
    lengths: list[int], records: list[int], length: int, state: str, at: int
) -> None:
    behind = row(10**6, lengths, records)
    watermark = behind[-1].to_ms if behind else 10**6
    own = Window("p", Lane.LIVE, watermark, watermark + length)
    if at < len(behind) and state != "open":
        odd = behind[at]
        behind[at] = Window(
            "p",
            Lane.LIVE,
            odd.from_ms,
            odd.to_ms,
            0 if state == "planned" else 1,
            {"due": own.to_ms, "sealed": None, "planned": 0}[state],
            odd.records,
        )
        least = behind[at].to_ms
    else:
        least = 10**6
    from_ms = windows.look_back(own, behind)
    assert max(least, watermark - windows.LOOK_BACK_MS) <= from_ms <= watermark
    # Where records come evenly it fits a pass; bursts are listed again without it.
    used = [each for each in behind if each.from_ms >= least]
    total_ms = watermark - least
    if used and total_ms:
        density = sum(each.records for each in used) / total_ms
        if density * length < 800:
            assert density * (own.to_ms - from_ms) <= 801


def test_a_quiet_project_looks_back_as_far_as_it_goes() -> None:
    behind = row(0, [5_000] * 12, [0] * 12)
    own = Window("p", Lane.LIVE, 60_000, 65_000)
    assert windows.look_back(own, behind) == 60_000 - windows.LOOK_BACK_MS


def test_nothing_behind_is_nothing_to_look_back_to() -> None:
    own = Window("p", Lane.LIVE, 60_000, 65_000)
    assert windows.look_back(own, []) == 60_000
    assert windows.look_back(own, row(0, [5_000], [3])) == 60_000  # it does not adjoin
