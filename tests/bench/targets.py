"""What was asked for, and whether what was measured meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drain import AIRBYTE, BASE, BRIDGE, DLT, FLOOR, VENDOR, enough
from exporters import OURS, THEIRS
from ratios import middle, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from measured import Measured

    Found = Callable[[Measured], dict[str, float]]
    """What was measured, by where; empty where it was not."""

AT_ONCE_S = 0.1
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
    found: Found
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
            return self.asked, "not measured yet", NONE
        written = [f"{self.form.format(value)} {where}".strip() for where, value in found.items()]
        met = [where for where, value in found.items() if self.meets(value, self.bound)]
        if len(met) == len(found):
            word = "yes"
            if self.stretch is not None and all(self.meets(each, self.stretch) for each in found.values()):
                word = "yes, the stretch too"
        else:
            word = f"only {', '.join(met)}" if met else "no"
        return self.asked, "; ".join(written), word


def _to(other: str, what: str = "records_per_s") -> Found:
    """The bridge beside another without latency, with 16 and 64 in flight."""

    def found(measured: Measured) -> dict[str, float]:
        stages = {f"with {in_flight}": measured.stage(0, in_flight) for in_flight in (16, 64)}
        return {
            where: ratio(rounds, BRIDGE, other, what)
            for where, rounds in stages.items()
            if rounds and other in rounds
        }

    return found


def _of_floor(latency_ms: int, in_flight: int) -> Found:
    """Beside aiohttp at a latency, in runs that are long enough."""

    def found(measured: Measured) -> dict[str, float]:
        rounds = measured.stage(latency_ms, in_flight, least=enough(latency_ms, in_flight))
        return {"": ratio(rounds, BRIDGE, FLOOR, "records_per_s")} if rounds and FLOOR in rounds else {}

    return found


def _drained(what: str) -> Found:
    def found(measured: Measured) -> dict[str, float]:
        rounds = measured.stage(0, 16)
        return {"": middle(rounds, BRIDGE, what)} if rounds else {}

    return found


def _peak(projects: int, records: int) -> Found:
    return _rows("scale", lambda row: row["peak_mb"], projects=projects, records=records)


def _rows(
    part: str, value: Callable[[Any], float], where: Callable[[Any], str] = lambda _: "", **fields: object
) -> Found:
    """A value of each row of a part in which these fields are so."""

    def found(measured: Measured) -> dict[str, float]:
        rows = [
            row
            for row in measured.numbers(part) or ()
            if all(row[name] == wanted for name, wanted in fields.items())
        ]
        return {where(row): value(row) for row in rows}

    return found


def _share(quota: int) -> Found:
    return _rows("quota", lambda row: 100 * row["share"], how="real", quota=quota, latency_s=1.0)


def _fresh(what: str, scale: float = 1.0, **fields: object) -> Found:
    return _rows(
        "freshness_real", lambda row: scale * row[what], lambda row: f"at {row['rate']:g}/s", **fields
    )


def _at_once(measured: Measured) -> dict[str, float]:
    """The least share of a quota, of an API that answers within 0.1 s."""
    rows = [row for row in measured.numbers("quota") or () if row["latency_s"] <= AT_ONCE_S]
    return {
        how: min(100 * row["share"] for row in rows if row["how"] == how)
        for how in dict.fromkeys(row["how"] for row in rows)
    }


def _exporters(measured: Measured) -> dict[str, float]:
    held = measured.numbers("exporters")
    return {"": ratio(held["gzip"], OURS, THEIRS, "spans_per_s")} if held else {}


def _modules(measured: Measured) -> dict[str, float]:
    held = measured.numbers("path")
    return {"": len(held["passed"])} if held else {}


def _lines(measured: Measured) -> dict[str, float]:
    held = measured.numbers("path")
    return {"": sum(held["lines"].values())} if held else {}


def at_least(
    asked: str, found: Found, bound: float, stretch: float | None = None, form: str = "{:.2f}"
) -> Target:
    """A number that must be reached."""
    return Target(asked, found, bound, stretch=stretch, form=form)


def at_most(
    asked: str, found: Found, bound: float, stretch: float | None = None, form: str = "{:.2f}"
) -> Target:
    """A number that must not be passed."""
    return Target(asked, found, bound, least=False, stretch=stretch, form=form)


TARGETS = (
    at_least("at 100 ms with 16 in flight ≥ 0.97 of aiohttp (stretch: 0.99)", _of_floor(100, 16), 0.97, 0.99),
    at_least("at 100 ms with 64 in flight ≥ 0.94 of aiohttp (stretch: 0.98)", _of_floor(100, 64), 0.94, 0.98),
    at_least("at 20 ms with 16 in flight ≥ 0.94 of aiohttp (stretch: 0.97)", _of_floor(20, 16), 0.94, 0.97),
    at_least("at 20 ms with 64 in flight ≥ 0.78 of aiohttp (stretch: 0.88)", _of_floor(20, 64), 0.78, 0.88),
    at_least(
        "defaults, 1 s an answer, 6,000 requests/min: ≥ 95 % of the share (stretch: 98 %)",
        _share(6_000),
        95,
        98,
        "{:.1f} %",
    ),
    at_least(
        "defaults, 1 s an answer, 10,000 requests/min: ≥ 90 % of the share (stretch: 98 %)",
        _share(10_000),
        90,
        98,
        "{:.1f} %",
    ),
    at_least("≥ 97 % of the share where answers come at once", _at_once, 97, form="{:.1f} %"),
    at_least("without latency ≥ 6 times plain httpx (stretch: 8)", _to(BASE), 6, 8),
    at_least("without latency ≥ 0.75 of aiohttp (stretch: 0.9)", _to(FLOOR), 0.75, 0.9),
    at_most("processor time ≤ 0.17 of plain httpx's (stretch: 0.13)", _to(BASE, "cpu_us"), 0.17, 0.13),
    at_least("≥ 3.5 times the vendor's client with threads (stretch: 5)", _to(VENDOR), 3.5, 5),
    at_least("≥ 3.5 times airbyte-cdk, which only pulls", _to(AIRBYTE), 3.5),
    at_least("≥ 5 times dlt, which only pulls", _to(DLT), 5),
    at_most(
        "visible to delivered ≤ 1.0 s in the middle (stretch: 0.7 s)", _fresh("p50_s"), 1.0, 0.7, "{:.2f} s"
    ),
    at_most("visible to delivered ≤ 2.5 s for 95 %", _fresh("p95_s"), 2.5, form="{:.2f} s"),
    at_most("polls ≤ 5 % of the share", _fresh("polls", 100), 5, form="{:.1f} %"),
    at_most("≤ 1.15 requests a record at 10 records/s", _fresh("requests", rate=10), 1.15),
    at_most("≤ 1.02 requests a record in a cold drain", _drained("requests_per_record"), 1.02, form="{:.3f}"),
    at_most(
        "≤ 74 MB at 10,000 records (stretch: 65)",
        _rows("memory", lambda row: row["peak_mb"], details="plain", records=10_000),
        74,
        65,
        "{:.0f} MB",
    ),
    at_most("≤ 90 MB at a million records", _peak(1, 1_000_000), 90, form="{:.0f} MB"),
    at_most("≤ 150 MB with 100 projects catching up", _peak(100, 100_000), 150, form="{:.0f} MB"),
    at_most(
        "≤ 250 MB at 200 details of 20 MB",
        _rows("memory", lambda row: row["peak_mb"], lambda row: row["details"], records=200, megabytes=20),
        250,
        form="{:.0f} MB",
    ),
    at_least("exporter alone ≥ 3.5 times the SDK's, gzip", _exporters, 3.5),
    at_most("one record passes ≤ 25 modules from list to commit", _modules, 25, form="{:.0f}"),
    at_most("what collects and delivers has ≤ 2,200 lines", _lines, 2_200, form="{:,.0f}"),
)
