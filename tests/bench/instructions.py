"""How many instructions a record takes in each step, compared with what was committed.

Time says little on a shared machine; instructions are nearly the same each time, whatever else it does.
They are counted by callgrind over few and over more records, so that what a call costs once falls out. Exit
status 1 where a step takes more than the baseline allows; less is only told. Without valgrind nothing is
judged, which is a failure where ``OTEL_BRIDGE_REQUIRE_BACKENDS`` is set, as in CI.

    python tests/bench/instructions.py            compare
    python tests/bench/instructions.py --write    make what is measured the baseline

What is counted depends on more than on this repository: on the build of Python, on compiled packages, and on
which variants of a function the C library and OpenSSL choose for a processor. The last is pinned: valgrind
shows every program the same processor, and the variants beyond SSE2 are switched off. The others are the key
of a baseline. Where a machine has another key, each step is compared by its ratio to work of the standard
library that is counted in the same run, within a wider band; on another minor version of Python nothing is
judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from counted import FEW, MORE, REFERENCE
from processes import at_most
from results import note
from steps import STEPS

HERE = Path(__file__).parent
BASELINE = HERE / "instructions.json"
BAND = 0.05
"""Several counts of the same program differ by up to 1.5 %; see the README beside this file."""
WIDER = 0.25
"""Between builds of one minor version of Python, by the ratio to the reference."""
_TIMEOUT_S = 900
_MARK = "getloadavg"
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_COMPILED = ("msgspec", "protobuf")
_ENVIRON = {
    "PYTHONHASHSEED": "0",  # the same places in the same tables
    "LC_ALL": "C.UTF-8",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-MOVBE",
    "OPENSSL_ia32cap": "0:0",
}


@dataclass(frozen=True)
class Verdict:
    """One step beside its baseline.

    Attributes:
        change: By how much it takes more, 0.1 for a tenth.
        band: How much more it may take.
    """

    step: str
    now: float
    before: float
    change: float
    band: float

    @property
    def slower(self) -> bool:
        """Whether it takes more than it may."""
        return self.change > self.band

    @property
    def line(self) -> str:
        """For people."""
        word = "more than allowed" if self.slower else "less" if self.change < -self.band else "as before"
        return f"{self.step:14} {self.now:11,.0f} {self.before:11,.0f} {self.change:+7.1%}  {word}"


def key() -> dict[str, str]:
    """What the counts depend on beside this repository."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    made = [each for each in ("--enable-optimizations", "--with-lto", "--enable-shared") if each in flags]
    packages = {name: version(name) for name in _COMPILED}
    return {
        "python": platform.python_version(),
        "build": " ".join([platform.machine(), platform.python_compiler(), *made]),
        "c library": " ".join(platform.libc_ver()),
        "vectors": "AVX2"
        if _has_avx2()
        else "no AVX2",  # the one thing valgrind passes on of the machine's own
        "sqlite": sqlite3.sqlite_version,
        **packages,
    }


def _has_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and " avx2 " in cpuinfo.read_text()


def count(valgrind: str) -> dict[str, float]:
    """Instructions a record, by step.

    Raises:
        RuntimeError: The run failed; says what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = [valgrind, "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={out}"]
        done = subprocess.run(
            [*command, sys.executable, str(HERE / "counted.py")],
            env={"PATH": os.environ.get("PATH", os.defpath), **_ENVIRON},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        totals: list[int] = []
        # A dump at each mark: what was counted since the last one.
        while (part := Path(f"{out}.{len(totals) + 1}")).exists():
            found = _TOTAL.search(part.read_text())
            assert found is not None, part
            totals.append(int(found[1]))
    names = [REFERENCE, *STEPS]
    if done.returncode or len(totals) != 3 * len(names):
        raise RuntimeError(f"nothing was counted ({len(totals)} marks): {done.stderr[-2000:]}")
    return {
        name: (totals[3 * place + 2] - totals[3 * place + 1]) / (MORE - FEW)
        for place, name in enumerate(names)
    }


def judged(now: dict[str, float], before: dict[str, float], *, same: bool) -> list[Verdict]:
    """Each step beside its baseline: as it is on the same key, else by its ratio to the reference."""
    scale = 1.0 if same else now[REFERENCE] / before[REFERENCE]
    band = BAND if same else WIDER
    return [
        Verdict(step, now[step], before[step] * scale, now[step] / (before[step] * scale) - 1, band)
        for step in STEPS
        if step in before
    ]


def compare(now: dict[str, float], mine: dict[str, str], baseline: dict[str, dict[str, object]]) -> int:
    """Print how the steps stand; 1 where one takes more than it may."""
    minor = mine["python"].rpartition(".")[0]
    there = baseline.get(minor)
    if there is None:
        print(f"not judged: no baseline for Python {minor}; make instructions-baseline makes one")
        return 0
    theirs, before = there["key"], there["instructions"]
    assert isinstance(theirs, dict)
    assert isinstance(before, dict)
    other = [f"{name} {theirs.get(name)} → {mine[name]}" for name in mine if mine[name] != theirs.get(name)]
    if other:
        print(f"the baseline is of another machine ({', '.join(other)}):")
        print(f"compared by the ratio to the standard library's work, within {WIDER:.0%}")
    verdicts = judged(now, before, same=not other)
    print(f"{'instructions':14} {'a record':>11} {'baseline':>11}  change")
    for verdict in verdicts:
        print(verdict.line)
    missing = [step for step in STEPS if step not in before]
    if missing:
        print(f"not in the baseline: {', '.join(missing)}; make instructions-baseline")
    if any(verdict.slower for verdict in verdicts):
        print("slower: find out why, or, where it is worth it, make instructions-baseline and say so")
    elif any(verdict.change < -verdict.band for verdict in verdicts):
        print("faster: make instructions-baseline, so that it stays so")
    return int(bool(missing) or any(verdict.slower for verdict in verdicts))


def main() -> int:
    """Count, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make it the baseline of this minor version")
    parser.add_argument("--json", type=Path, help="note the numbers for the report, and judge nothing")
    options = parser.parse_args()
    at_most(20)
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("not judged: there is no valgrind here")
        return int(bool(os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS")))
    now, mine = count(valgrind), key()
    if options.json:
        note(options.json, "instructions", now)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if options.write:
        rounded = {name: round(each) for name, each in now.items()}
        baseline[mine["python"].rpartition(".")[0]] = {"key": mine, "instructions": rounded}
        BASELINE.write_text(json.dumps(dict(sorted(baseline.items())), indent=2) + "\n")
        print(f"written: {rounded}")
        return 0
    slower = compare(now, mine, baseline)
    return 0 if options.json else slower


if __name__ == "__main__":
    sys.exit(main())
