"""What the process says of itself: what runs, since when, and what it uses."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from otel_bridge import __version__
from otel_bridge.telemetry import catalogue as c

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_bridge.telemetry.meters import Meters
    from otel_bridge.telemetry.series import Key

_STATM = Path("/proc/self/statm")


def observe_process(meters: Meters) -> None:
    """Add the metrics of the process."""
    build: Key = (__version__, platform.python_version(), version("opentelemetry-sdk"))
    started_s = time.monotonic()
    meters.observe(c.BUILD, lambda: [(1, build)])
    meters.observe(c.UPTIME, lambda: [(time.monotonic() - started_s, ())])
    meters.observe(c.CPU_TIME, _cpu_time)
    meters.observe(c.MEMORY, _memory)


def _cpu_time() -> Iterable[tuple[float, Key]]:
    used = os.times()
    return [(used.user, ("user",)), (used.system, ("system",))]


def _memory(statm: Path = _STATM) -> Iterable[tuple[float, Key]]:
    """The resident set in bytes, from Linux's proc(5); nothing elsewhere."""
    try:
        pages = int(statm.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return []
    return [(pages * os.sysconf("SC_PAGE_SIZE"), ())]
