"""The synthetic tools, one module a group of toolkits."""

from __future__ import annotations

from typing import Final

from otel_bridge.emulator.toolkits import customers, engineering, messaging, meta, planning, research
from otel_bridge.emulator.toolkits.tool import Tool

TOOLS: Final[dict[str, Tool]] = {
    tool.slug: tool
    for module in (messaging, engineering, planning, customers, research, meta)
    for tool in module.TOOLS
}

__all__ = ["TOOLS", "Tool"]
