"""What was asked for, and whether what was measured meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drain import AIRBYTE, BASE, BRIDGE, DLT, FLOOR, VENDOR
from exporters import OURS, THEIRS
from ratios import middle, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from measured import Measured

MILLION = 1_000_000
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Target:
    """One number that was asked for.

    Attributes:
        asked: In words.
        found: What was measured, by where; empty where it was not.
        bound: The number.
        least: Whether it must be reached; else it must not be passed.
        stretch: A harder one, if there is one.
        form: How a number is written.
    """

    asked: str
    found: Callable[[Measured], dict[str, float]]
    bound: float
    least: bool = True
    stretch: float | None = None
    form: str = "{:.2f}"

    def meets(self, value: float, bound: float) -> bool:
        """Whether a number is good enough."""
        return value >= bound if self.least else value <= bound

    def row(self, measured: Measured) -> tuple[str, str, str]:
        """Asked, measured, met."""
        found = self.found(measured)
        if not found:
            return self.asked, "not measured", NONE
        written = [f"{self.form.format(value)} {where}".strip() for where, value in found.items()]
        met = [where for where, value in found.items() if self.meets(value, self.bound)]
        if len(met) == len(found):
            word = "yes"
            if self.stretch is not None and all(self.meets(each, self.stretch) for each in found.values()):
                word = "yes, the stretch too"
        else:
            word = f"only {', '.join(met)}" if met else "no"
        return self.asked, "; ".join(written), word


def _to(other: str, what: str = "records_per_s") -> Callable[[Measured], dict[str, float]]:
    """The bridge beside another without latency, with 16 and 64 in flight."""

    def found(measured: Measured) -> dict[str, float]:
        stages = {f"with {in_flight}": measured.stage(0, in_flight) for in_flight in (16, 64)}
        return {
            where: ratio(rounds, BRIDGE, other, what)
            for where, rounds in stages.items()
            if rounds and other in rounds
        }

    return found


def _of_ideal(latency_ms: int, in_flight: int) -> Callable[[Measured], dict[str, float]]:
    def found(measured: Measured) -> dict[str, float]:
        rounds = measured.stage(latency_ms, in_flight)
        ideal = in_flight / latency_ms * 1000
        return {"": middle(rounds, BRIDGE, "records_per_s") / ideal} if rounds else {}

    return found


def _drained(what: str) -> Callable[[Measured], dict[str, float]]:
    def found(measured: Measured) -> dict[str, float]:
        rounds = measured.stage(0, 16)
        return {"": middle(rounds, BRIDGE, what)} if rounds else {}

    return found


def _at_a_million(measured: Measured) -> dict[str, float]:
    rows = measured.numbers("scale") or ()
    return {
        f"with {row['projects']} project{'s'[: row['projects'] - 1]}": row["peak_mb"]
        for row in rows
        if row["records"] == MILLION
    }


def _of_the_share(measured: Measured) -> dict[str, float]:
    rows = measured.numbers("quota") or ()
    return {
        how: min(100 * row["share"] for row in rows if row["how"] == how)
        for how in dict.fromkeys(row["how"] for row in rows)
    }


def _exporters(measured: Measured) -> dict[str, float]:
    held = measured.numbers("exporters")
    return {"": ratio(held["gzip"], OURS, THEIRS, "spans_per_s")} if held else {}


TARGETS = (
    Target("≥ 3 times plain httpx, end to end (stretch: 5)", _to(BASE), 3, stretch=5),
    Target("≥ 3.5 times the vendor's client with threads (stretch: 5)", _to(VENDOR), 3.5, stretch=5),
    Target("≥ 0.4 of aiohttp", _to(FLOOR), 0.4),
    Target("≥ 3.5 times airbyte-cdk, which only pulls", _to(AIRBYTE), 3.5),
    Target("≥ 5 times dlt, which only pulls", _to(DLT), 5),
    Target(
        "processor time ≤ 0.35 of plain httpx's (stretch: 0.2)",
        _to(BASE, "cpu_us"),
        0.35,
        least=False,
        stretch=0.2,
    ),
    Target("at 20 ms ≥ 0.8 of the ideal with 16 in flight", _of_ideal(20, 16), 0.8),
    Target("at 20 ms ≥ 0.6 of the ideal with 64 in flight", _of_ideal(20, 64), 0.6),
    Target("≤ 80 MB at 10,000 records", _drained("peak_mb"), 80, least=False, form="{:.0f} MB"),
    Target("≤ 100 MB at a million records", _at_a_million, 100, least=False, form="{:.0f} MB"),
    Target(
        "≤ 1.02 requests a record in a cold drain",
        _drained("requests_per_record"),
        1.02,
        least=False,
        form="{:.3f}",
    ),
    Target("≥ 97 % of the share of a quota turned into records", _of_the_share, 97, form="{:.1f} %"),
    Target("exporter alone ≥ 3.5 times the SDK's, gzip", _exporters, 3.5),
)
