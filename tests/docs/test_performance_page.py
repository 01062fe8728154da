"""docs/performance.md says what docs/performance.json holds, and its pictures show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from measured import PICTURES, Measured
from report import BLOCKS, DOCS, NUMBERS, PAGE, filled, stale
from targets import NONE, TARGETS

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = Measured.read(NUMBERS)
TEXT = PAGE.read_text()


def test_the_tables_are_as_the_numbers_are() -> None:
    assert filled(TEXT, MEASURED) == TEXT, "run: make bench-docs"


def test_the_page_has_every_table_once() -> None:
    assert sorted(re.findall(r"<!-- measured: (\w+) -->", TEXT)) == sorted(BLOCKS)


def test_the_pictures_show_the_numbers() -> None:
    assert stale(MEASURED, DOCS / "images") == [], "run: make bench-docs"
    for name in PICTURES:
        picture = DOCS / "images" / name
        assert not picture.exists() or picture.stat().st_size < 150_000


def test_a_number_that_changes_makes_page_and_picture_stale(tmp_path: Path) -> None:
    drain = {**MEASURED.parts["drain"], "numbers": [dict(row) for row in MEASURED.numbers("drain")]}
    first = drain["numbers"][0]
    runs = first["rounds"]["otel-bridge"]
    first["rounds"] = {
        **first["rounds"],
        "otel-bridge": [run | {"records_per_s": run["records_per_s"] * 2} for run in runs],
    }
    changed = Measured({**MEASURED.parts, "drain": drain})
    assert filled(TEXT, changed) != TEXT
    (tmp_path / "performance-drain.svg").write_text(f"numbers {MEASURED.digest('drain')}")
    assert "performance-drain.svg" in stale(changed, tmp_path)


def test_what_was_not_measured_says_so() -> None:
    nothing = Measured({})
    assert filled(TEXT, nothing).count("Not measured yet.") == sum(
        bool(parts) for parts, _ in BLOCKS.values()
    )
    assert all(target.row(nothing)[1:] == ("not measured yet", NONE) for target in TARGETS)
