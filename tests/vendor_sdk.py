"""The vendor's own SDKs, each in an environment of its own: `make sdk` prepares them.

They can't share the tests' environment: each pins another version of the vendor's generated client.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUARDED = ROOT / "tests" / "sdk" / "guarded.py"
VERSIONS = ("0.30", "0.20")
"""``composio`` 0.30 stands on client line 2.x, 0.20 on the newest of line 1.x."""


def sdk_python(version: str) -> str:
    """The interpreter that has this version of the vendor's Python SDK, or the test is skipped."""
    python = ROOT / ".venv-sdk" / version / "bin" / "python"
    if not python.exists():
        _absent(f"the vendor's Python SDK {version} is not installed: make sdk")
    return str(python)


def sdk_node() -> tuple[str, Path]:
    """Node, and the folder that has the vendor's TypeScript SDK, or the test is skipped."""
    node, folder = shutil.which("node"), ROOT / ".node-sdk"
    if node is None or not (folder / "node_modules" / "@composio" / "core").exists():
        # Not required with the other backends: a machine for Python need not have Node.
        pytest.skip("Node, or the vendor's TypeScript SDK, is not installed: make sdk")
    return node, folder


def _absent(reason: str) -> None:
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
