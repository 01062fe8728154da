"""How a person calls this program where they are, so that a hint can be pasted."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_NAME = "otel-bridge"


def program() -> str:
    """``otel-bridge`` where the shell finds this one by that name; else the path, or the module."""
    called = Path(sys.argv[0])
    if called.name != _NAME:
        return f"{_short(Path(sys.executable))} -m otel_bridge"
    found = shutil.which(_NAME)
    if found is not None and Path(found).resolve() == called.resolve():
        return _NAME
    return _short(called)


def _short(path: Path) -> str:
    """Relative to where the person is, where that is below."""
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return str(path)
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a link into another folder stays as it is
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
