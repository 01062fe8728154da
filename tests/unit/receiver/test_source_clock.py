"""The source's present: never later than its answers tell, and no further off than they can be believed."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_clock import SimulatedClock

from otel_bridge.receiver.source_clock import SourceClock


@given(
    st.integers(-(10**8), 10**8),
    st.integers(0, 3600),
    st.sampled_from([None, "", "yesterday", "Mon, 99 Xyz"]),
)
def test_a_clock_that_jumps_ahead_is_held_back(jump_ms: int, later_s: int, junk: str | None) -> None:
    clock = SimulatedClock(auto=False)
    source = SourceClock(clock)
    assert source.now_ms() == clock.now_ms()
    source.hear(formatdate(clock.now_ms() / 1000, usegmt=True))
    source.hear(junk)
    clock.step_wall_clock(jump_ms)
    clock._elapsed_s += later_s
    true_ms = clock.now_ms() - jump_ms
    if jump_ms > 86_500_000:
        assert source.now_ms() == clock.now_ms()  # not believed: the header is more likely wrong
    elif jump_ms < 86_300_000:
        assert source.now_ms() <= true_ms + 3_001
        assert source.now_ms() >= min(true_ms, clock.now_ms()) - 1


@pytest.mark.parametrize("behind_ms", [0, 500, 1_500])
def test_what_whole_seconds_and_the_way_cost_is_no_difference(behind_ms: int) -> None:
    clock = SimulatedClock(auto=False)
    source = SourceClock(clock)
    source.hear(formatdate((clock.now_ms() - behind_ms) / 1000, usegmt=True))
    assert source.now_ms() == clock.now_ms()
