"""``otel-bridge`` whose wall clock is wrong by as many ms as a file says: ``clock_program.py FILE run …``."""

from __future__ import annotations

import sys
from pathlib import Path

from otel_bridge.cli import main
from otel_bridge.times import SystemClock


def install(offset: Path) -> None:
    """Make the program's clock show a time that is off."""
    real = SystemClock.now_ms
    SystemClock.now_ms = lambda self: real(self) + int(offset.read_text())  # type: ignore[method-assign] # on purpose


if __name__ == "__main__":
    install(Path(sys.argv.pop(1)))
    main()
