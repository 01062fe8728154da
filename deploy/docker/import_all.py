"""Import every module of otel-bridge, so that Python writes its bytecode and that of what it imports.

A module whose extra is not installed is left out.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil

import otel_bridge

for module in pkgutil.walk_packages(otel_bridge.__path__, "otel_bridge."):
    if not module.name.endswith("__main__"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)
