"""What can be set about the emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_bridge.times import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.emulator.faults import FaultHook
    from otel_bridge.emulator.store import LogStore, Order


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """What can be set about the emulator.

    Attributes:
        host: Where it listens.
        port: 0 takes a free one.
        logs: How many entries it begins with.
        span_ms: They are spread over this long, up to the start. 50 minutes by default, because the bridge
            begins one hour back by default.
        rate: New entries a second while it runs; 0 for none.
        seed: The same seed gives the same entries at other times.
        late_share: The share of new entries that become visible only some time after their timestamp.
        late_ms: By how much at least and at most, in ms.
        rate_limit: Requests a minute and organisation. The real API has 2,000 or 10,000; the default is so
            high that local runs are not slowed.
        latency_ms: Added to every answer.
        api_keys: The only keys it takes; empty for any, but ``ak_invalid`` (401) and ``ak_forbidden`` (403).
        projects: Stores of further projects by their keys, which it takes as well.
        organisations: The organisation of a key's project; keys left out share one.
        to_inclusive: Whether a time range holds its end.
        order: In which order a list comes.
        fault: Called for each request; says what goes wrong with it.
        clock: Where it reads the time.
    """

    host: str = "127.0.0.1"
    port: int = 0
    logs: int = 300
    span_ms: int = 50 * 60_000
    rate: float = 0.0
    seed: int = 1
    late_share: float = 0.05
    late_ms: tuple[int, int] = (5_000, 40_000)
    rate_limit: int = 1_000_000
    latency_ms: int = 0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    projects: Mapping[str, LogStore] = field(default_factory=dict, repr=False)
    organisations: Mapping[str, str] = field(default_factory=dict, repr=False)
    to_inclusive: bool = False
    order: Order = "newest"
    fault: FaultHook | None = None
    clock: Clock = field(default_factory=SystemClock)
