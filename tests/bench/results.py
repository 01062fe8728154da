"""Where benchmarks leave their numbers: one JSON file, a part for each, with the day and the machine.

``python results.py MICRO.json BENCH.json`` takes over what pytest-benchmark has written.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def machine() -> str:
    """What it was measured on, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next(
            (each.partition(":")[2].strip() for each in lines if each.startswith("model name")), model
        )
    return f"{os.cpu_count()} cores, {model}, {platform.system()}, Python {platform.python_version()}"


def note(path: Path, part: str, numbers: Any) -> None:
    """Put numbers into the file in the place of those of the last time; other parts stay."""
    held = json.loads(path.read_text()) if path.exists() else {}
    held[part] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "numbers": rounded(numbers),
    }
    held = dict(sorted(held.items()))
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")


def rounded(value: Any) -> Any:
    """The same with numbers of four digits, so that a file can be read, and compared."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def note_micro(written: Path, path: Path) -> None:
    """Take over the micro-benchmarks: µs a record, in the middle, by step."""
    benchmarks = json.loads(written.read_text())["benchmarks"]
    numbers = {
        each["params"]["name"]: each["stats"]["median"] / each["extra_info"]["records"] * 1e6
        for each in benchmarks
    }
    note(path, "micro", numbers)


if __name__ == "__main__":
    note_micro(Path(sys.argv[1]), Path(sys.argv[2]))
