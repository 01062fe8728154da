"""The circuit's laws, for any callers and any outages of the far side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_clock import SimulatedClock

from otel_bridge.circuit import Circuit
from otel_bridge.circuit_state import CircuitOpenError, Patience, Phase
from otel_bridge.retry import Backoff

FIRST_S, MOST_S = 0.5, 8.0
OPENS_AFTER = 3
LONGEST_SEND_S = 2.0


@dataclass
class FarSide:
    """Up or down by a timetable; watches who asks."""

    clock: SimulatedClock
    circuit: Circuit
    outages: list[tuple[float, float]]
    sends: int = 0
    probes: list[tuple[float, int]] = field(default_factory=list)  # when, and in which outage
    probing: int = 0
    outage: int = 0

    @property
    def up(self) -> bool:
        now_s = self.clock.monotonic_s()
        return not any(since_s <= now_s < until_s for since_s, until_s in self.outages)

    async def send(self, latency_s: float, *, probe: bool) -> bool:
        self.sends += 1
        assert probe == (self.circuit.state.phase is Phase.PROBING), "while it is open, only the probe sends"
        self.probing += probe
        assert self.probing <= 1, "never two probes at once"
        if probe:
            self.probes.append((self.clock.monotonic_s(), self.outage))
        try:
            await self.clock.sleep(latency_s)
            return self.up
        finally:
            self.probing -= probe


@dataclass(frozen=True)
class Caller:
    at_s: float
    latency_s: float
    patience: Patience
    leaves_s: float | None  # cancelled after so long
    silent: bool  # its sends tell the circuit nothing

    async def call(self, far: FarSide) -> float | None:
        """When it was served; None where it gave up."""
        await far.clock.sleep(self.at_s)
        while True:
            try:
                with await far.circuit.enter(self.patience) as passage:
                    served = await far.send(self.latency_s, probe=passage.probe)
                    if self.silent:
                        return far.clock.monotonic_s()
                    if served:
                        passage.succeeded()
                        return far.clock.monotonic_s()
                    passage.failed("down")
            except CircuitOpenError:
                return None
            if far.circuit.closed:
                await far.clock.sleep(FIRST_S)


async def play(
    callers: list[Caller], outages: list[tuple[float, float]]
) -> tuple[FarSide, list[float | None]]:
    clock = SimulatedClock()

    def count(*_: object) -> None:
        far.outage += 1

    circuit = Circuit(
        "far", clock, opens_after=OPENS_AFTER, backoff=Backoff(FIRST_S, 2.0, MOST_S), on_change=count
    )
    far = FarSide(clock, circuit, outages)
    tasks = [asyncio.create_task(caller.call(far)) for caller in callers]

    async def leave(task: asyncio.Task[float | None], caller: Caller) -> None:
        if caller.leaves_s is not None:
            await clock.sleep(caller.at_s + caller.leaves_s)
            task.cancel()

    leaving = [asyncio.create_task(leave(*pair)) for pair in zip(tasks, callers, strict=True)]
    async with asyncio.timeout(20):
        served = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*leaving)
    for each in served:
        if isinstance(each, BaseException) and not isinstance(each, asyncio.CancelledError):
            raise each
    assert circuit.state.waiting == 0
    assert circuit._alarm is None, "no timer is left behind"
    return far, [None if isinstance(each, BaseException) else each for each in served]


latencies = st.sampled_from([0.0, 0.01, 0.4, LONGEST_SEND_S])
times = st.floats(0, 60, allow_nan=False)
patience = st.builds(
    Patience, attempts=st.none() | st.integers(1, 4), wait_s=st.none() | st.sampled_from([0.1, 2.0])
)
outages = st.lists(st.tuples(times, st.floats(0, 40)).map(lambda pair: (pair[0], sum(pair))), max_size=3)


@given(
    callers=st.lists(
        st.builds(
            Caller,
            at_s=times,
            latency_s=latencies,
            patience=patience,
            leaves_s=st.none() | st.floats(0, 30),
            silent=st.booleans(),
        ),
        max_size=12,
    ),
    outages=outages,
)
@settings(max_examples=150, deadline=None)
def test_one_probe_at_a_time_whoever_comes_and_goes(
    callers: list[Caller], outages: list[tuple[float, float]]
) -> None:
    far, _ = asyncio.run(play(callers, outages))
    assert far.probing == 0


@given(
    callers=st.lists(
        st.builds(
            Caller,
            at_s=times,
            latency_s=latencies,
            patience=st.just(Patience()),
            leaves_s=st.none(),
            silent=st.sampled_from([False]),
        ),
        min_size=1,
        max_size=12,
    ),
    outages=outages,
)
@settings(max_examples=150, deadline=None)
def test_everybody_is_served_within_one_step_of_the_recovery_and_tries_are_few(
    callers: list[Caller], outages: list[tuple[float, float]]
) -> None:
    far, served = asyncio.run(play(callers, outages))

    recovered_s = max((until_s for _, until_s in outages), default=0.0)
    for caller, moment_s in zip(callers, served, strict=True):
        assert moment_s is not None
        # The wait that had begun, a try that had begun before the end, and its own.
        assert moment_s <= max(recovered_s, caller.at_s) + MOST_S + 3 * LONGEST_SEND_S + FIRST_S
    for outage in {outage for _, outage in far.probes}:
        moments_s = [moment_s for moment_s, of in far.probes if of == outage]
        for failures, (earlier_s, later_s) in enumerate(pairwise(moments_s), 2):
            assert later_s - earlier_s >= min(MOST_S, FIRST_S * 2 ** (failures - 1)) / 2 - 1e-6
