"""The tables of docs/performance.md, made from docs/performance.json: no number in them is written by hand.

    python tests/bench/report.py                            fill the page from the file it has
    python tests/bench/report.py --take bench/bench.json    take over what was measured, then fill the page

A test fails when the page is not as the file says.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from drain import AT_LATENCY, BASE, BRIDGE, FLOOR
from exporters import THEIRS
from measured import PICTURES, Measured
from ratios import middle, ratio
from targets import NONE, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOCS = Path(__file__).parents[2] / "docs"
PAGE, NUMBERS = DOCS / "performance.md", DOCS / "performance.json"
TOLD_RATES = (1, 10, 15, 16, 17, 30, 75, 80, 85, 150)
"""The rates of freshness.py that the table shows; the picture has them all."""
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ALT = {
    "performance-drain.svg": "Records a second and processor time of each, as ratios to plain httpx",
    "performance-latency.svg": "Records a second with latency, as shares of the ideal",
    "performance-scale.svg": "Memory and processor time with more records and more projects",
    "performance-freshness.svg": "From visible to delivered at rising rates, beside what the quota allows",
}


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _picture(name: str) -> str:
    return f"\n![{_ALT[name]}](images/{name})\n"


def _bold(name: str, text: str) -> str:
    return f"**{text}**" if name == BRIDGE else text


def asked(measured: Measured) -> str:
    """What was asked, what was measured, whether it is met."""
    return _table(("asked", "measured", "met"), [target.row(measured) for target in TARGETS])


def drain(measured: Measured) -> str:
    """All beside plain httpx, without latency."""
    rounds = measured.stage(0, 16)
    assert rounds is not None
    rows = [
        (
            _bold(name, name),
            f"{middle(rounds, name, 'records_per_s'):,.0f}",
            f"{ratio(rounds, name, BASE, 'records_per_s'):.2f}",
            f"{middle(rounds, name, 'cpu_us'):,.0f}",
            f"{ratio(rounds, name, BASE, 'cpu_us'):.2f}",
            f"{middle(rounds, name, 'peak_mb'):.0f}",
            f"{middle(rounds, name, 'requests_per_record'):.3f}",
        )
        for name in rounds
    ]
    head = ("who", "records/s", "to httpx", "CPU µs a record", "to httpx", "peak MB", "requests a record")
    runs = f"{measured.when('drain')}; medians of {len(rounds[BRIDGE])}:\n\n"
    return runs + _table(head, rows) + _picture("performance-drain.svg")


def latency(measured: Measured) -> str:
    """Records a second with more in flight, and with latency."""
    rows = []
    for row in measured.numbers("drain"):
        wait_ms, in_flight, rounds = row["latency_ms"], row["in_flight"], row["rounds"]
        if (wait_ms, in_flight) == (0, 16):
            continue
        ideal = in_flight / wait_ms * 1000 if wait_ms else None
        mine = middle(rounds, BRIDGE, "records_per_s")
        rates = [
            f"{middle(rounds, name, 'records_per_s'):,.0f}" if name in rounds else NONE
            for name in AT_LATENCY
            if name != BRIDGE
        ]
        rows.append(
            (
                f"{wait_ms} ms, {in_flight}",
                f"{row['records']:,}",
                f"{ideal:,.0f}" if ideal else NONE,
                *rates,
                f"**{mine:,.0f}**",
                f"{mine / ideal:.2f}" if ideal else NONE,
                f"{ratio(rounds, BRIDGE, FLOOR, 'records_per_s'):.2f}",
                f"{ratio(rounds, BRIDGE, BASE, 'cpu_us'):.2f}" if BASE in rounds else NONE,
            )
        )
    others = tuple(_bold(name, name) for name in AT_LATENCY)
    head = ("latency, in flight", "records", "ideal", *others, "of the ideal", "to aiohttp", "CPU to httpx")
    return _table(head, rows) + _picture("performance-latency.svg")


def compressed(measured: Measured) -> str:
    """What compressed answers cost, beside the same cell without."""
    rows = []
    for row in measured.numbers("gzip"):
        plain = measured.stage(row["latency_ms"], row["in_flight"]) or {}
        for name, runs in row["rounds"].items():
            packed_us = middle(row["rounds"], name, "cpu_us")
            plain_us = middle(plain, name, "cpu_us") if name in plain else None
            rows.append(
                (
                    _bold(name, name),
                    f"{middle(row['rounds'], name, 'records_per_s'):,.0f}",
                    f"{packed_us:,.0f}",
                    f"{plain_us:,.0f}" if plain_us else NONE,
                    f"{runs[0]['requests_per_record']:.3f}",
                )
            )
    head = ("who", "records/s", "CPU µs a record", "not compressed", "requests a record")
    return f"{measured.when('gzip')}:\n\n" + _table(head, rows)


def exporters(measured: Measured) -> str:
    """The exporter alone beside the SDK's."""
    rows = [
        (
            compression,
            who,
            f"{middle(sides, who, 'spans_per_s'):,.0f}",
            f"{ratio(sides, who, THEIRS, 'spans_per_s'):.2f}",
            f"{middle(sides, who, 'cpu_us'):.1f}",
            f"{ratio(sides, who, THEIRS, 'cpu_us'):.2f}",
        )
        for compression, sides in measured.numbers("exporters").items()
        for who in sides
    ]
    head = ("compression", "exporter", "spans/s", "to the SDK's", "CPU µs a span", "to the SDK's")
    return f"{measured.when('exporters')}:\n\n" + _table(head, rows)


def steps(measured: Measured) -> str:
    """What each step takes, in time and in instructions."""
    micro, counted = measured.numbers("micro") or {}, measured.numbers("instructions") or {}
    rows = [
        (
            name,
            f"{micro[name]:.0f}" if name in micro else NONE,
            f"{counted[name]:,.0f}" if name in counted else NONE,
        )
        for name in micro or counted
    ]
    return _table(("step", "µs of a processor", "instructions"), rows)


def scale(measured: Measured) -> str:
    """One process, more records and more projects."""
    rows = [
        (
            str(row["projects"]),
            f"{row['records']:,}",
            f"{row['records_per_s']:,.0f}",
            f"{row['cpu_us']:,.0f}",
            f"{row['peak_mb']:.0f}",
            f"{row['requests_per_record']:.3f}",
        )
        for row in sorted(measured.numbers("scale"), key=lambda row: (row["projects"], row["records"]))
    ]
    head = ("projects", "records", "records/s", "CPU µs a record", "peak MB", "requests a record")
    return f"{measured.when('scale')}:\n\n" + _table(head, rows) + _picture("performance-scale.svg")


def freshness(measured: Measured) -> str:
    """A live feed under each quota."""
    rows = [
        (
            f"{row['quota']:,}",
            f"{row['limit']:.1f}",
            f"{row['rate']:g}",
            f"{row['p50_s']:.1f} s",
            f"{row['p95_s']:.1f} s",
            f"{row['requests']:.2f}",
            f"{row['backlog']:,}",
        )
        for row in measured.numbers("freshness")
        if row["rate"] in TOLD_RATES
    ]
    head = (
        "requests/min",
        "the share allows, /s",
        "new records/s",
        "50 %",
        "95 %",
        "requests a record",
        "not delivered at the end",
    )
    return _table(head, rows) + _picture("performance-freshness.svg")


def live(measured: Measured) -> str:
    """A live feed for real."""
    rows = [
        (
            f"{row['rate']:g}",
            f"{row['records']:,}",
            f"{row['p50_s']:.2f} s",
            f"{row['p95_s']:.2f} s",
            f"{row['requests']:.2f}",
            f"{row['polls']:.1%}",
        )
        for row in measured.numbers("freshness_real")
    ]
    head = ("new records/s", "tool calls", "50 %", "95 %", "requests a record", "lists, of the share")
    return f"{measured.when('freshness_real')}:\n\n" + _table(head, rows)


def memory(measured: Measured) -> str:
    """The most memory, with ordinary records and with large details."""
    rows = [
        (
            row["details"],
            f"{row['records']:,}",
            f"{row['megabytes']:g}" if row["megabytes"] else NONE,
            f"{row['peak_mb']:.0f}",
        )
        for row in measured.numbers("memory")
    ]
    return f"{measured.when('memory')}:\n\n" + _table(("details", "records", "MB each", "peak MB"), rows)


def path(measured: Measured) -> str:
    """The modules that a record passes, in their order."""
    held = measured.numbers("path")
    names = ", ".join(f"`{each.removesuffix('.py')}`" for each in held["passed"])
    told = f"{len(held['passed'])} modules are given the record: {names}. {held['ran']} run meanwhile."
    return f"{told} What collects and delivers has {sum(held['lines'].values()):,} lines.\n"


def quota(measured: Measured) -> str:
    """How much of its share the bridge turns into records."""
    rows = [
        (
            row["how"],
            f"{row['quota']:,}",
            f"{row['latency_s']:g} s",
            f"{row['records']:,}",
            f"{row['share']:.1%}",
            f"{row['lists']:.1%}",
            f"{row['sent']:.1%}",
        )
        for row in measured.numbers("quota")
    ]
    head = ("how", "requests/min", "an answer takes", "records", "of the share", "lists", "sent in all")
    return _table(head, rows)


BLOCKS: dict[str, tuple[tuple[str, ...], Callable[[Measured], str]]] = {
    "asked": ((), asked),
    "drain": (("drain",), drain),
    "latency": (("drain",), latency),
    "exporters": (("exporters",), exporters),
    "steps": ((), steps),
    "scale": (("scale",), scale),
    "compressed": (("gzip",), compressed),
    "memory": (("memory",), memory),
    "live": (("freshness_real",), live),
    "freshness": (("freshness",), freshness),
    "quota": (("quota",), quota),
    "path": (("path",), path),
}
"""By the name of a block: the parts it can't do without, and what makes it."""


def filled(text: str, measured: Measured) -> str:
    """The page with its tables made anew; what was not measured says so."""

    def block(found: re.Match[str]) -> str:
        parts, make = BLOCKS[found[2]]
        there = all(part in measured.parts for part in parts)
        return found[1] + (make(measured) if there else "Not measured yet.\n") + found[3]

    return _BLOCK.sub(block, text)


def stale(measured: Measured, folder: Path) -> list[str]:
    """The pictures that do not show these numbers."""
    return [
        name
        for name, parts in PICTURES.items()
        if all(part in measured.parts for part in parts)
        and not (
            (folder / name).exists() and f"numbers {measured.digest(*parts)}" in (folder / name).read_text()
        )
    ]


def main() -> None:
    """Take over numbers, fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--take", type=Path, metavar="FILE", help="its parts take the place of those there are"
    )
    options = parser.parse_args()
    held = json.loads(NUMBERS.read_text())
    if options.take:
        held |= json.loads(options.take.read_text())
        NUMBERS.write_text(json.dumps(held, indent=1, ensure_ascii=False, sort_keys=False) + "\n")
    measured = Measured(held)
    PAGE.write_text(filled(PAGE.read_text(), measured))
    missing = stale(measured, DOCS / "images")
    if missing and not options.take:
        print(f"to be drawn anew, by make bench-docs: {', '.join(missing)}")


if __name__ == "__main__":
    main()
