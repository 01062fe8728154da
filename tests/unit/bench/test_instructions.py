"""A step that takes more instructions than it did is seen; that a machine differs is not taken for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counted import REFERENCE
from instructions import BAND, BASELINE, WIDER, compare, judged, key
from steps import STEPS

if TYPE_CHECKING:
    import pytest

BEFORE = {REFERENCE: 500_000.0} | dict.fromkeys(STEPS, 200_000.0)
KEY = key()
MINOR = KEY["python"].rpartition(".")[0]
THERE: dict[str, dict[str, object]] = {MINOR: {"key": KEY, "instructions": BEFORE}}


def test_a_step_that_is_15_percent_slower_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(BEFORE | {"mapping": 230_000}, KEY, THERE) == 1
    said = capsys.readouterr().out
    assert "mapping            230,000     200,000  +15.0%  more than allowed" in said
    assert said.count("as before") == len(STEPS) - 1


def test_what_differs_within_the_band_passes() -> None:
    slower = {step: BEFORE[step] * (1 + BAND * 0.9) for step in STEPS}
    assert compare(BEFORE | slower, KEY, THERE) == 0


def test_a_step_that_is_faster_passes_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(BEFORE | {"decode": 100_000}, KEY, THERE) == 0
    assert "make instructions-baseline, so that it stays so" in capsys.readouterr().out


def test_a_build_that_takes_more_for_everything_is_no_slower_step(capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = {name: count * 1.4 for name, count in BEFORE.items()}
    assert compare(elsewhere, KEY | {"build": "another"}, THERE) == 0
    assert f"build {KEY['build']} → another" in capsys.readouterr().out
    assert compare(elsewhere, KEY, THERE) == 1


def test_on_another_build_what_is_far_slower_fails_still() -> None:
    slower = BEFORE | {"encoding": BEFORE["encoding"] * (1 + WIDER) * 1.01}
    assert compare(slower, KEY | {"build": "another"}, THERE) == 1
    assert [each.step for each in judged(slower, BEFORE, same=False) if each.slower] == ["encoding"]


def test_another_minor_version_of_python_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(BEFORE, KEY | {"python": "3.99.0"}, THERE) == 0
    assert "not judged: no baseline for Python 3.99" in capsys.readouterr().out


def test_a_step_without_a_baseline_fails(capsys: pytest.CaptureFixture[str]) -> None:
    there: dict[str, dict[str, object]] = {
        MINOR: {"key": KEY, "instructions": {name: BEFORE[name] for name in BEFORE if name != "decode"}}
    }
    assert compare(BEFORE, KEY, there) == 1
    assert "not in the baseline: decode" in capsys.readouterr().out


def test_the_band_is_narrow_enough_for_what_it_is_for() -> None:
    assert BAND < 0.15
    assert BASELINE.exists()
