"""Composio's documented Logs API, served locally from synthetic tool calls.

For `otel-bridge emulate` and `demo`, tests and benchmarks. It borrows nothing from the code that reads the
API: what it serves follows the official page and the vendor's OpenAPI document.
"""

from __future__ import annotations

from otel_bridge.emulator.app import create_app
from otel_bridge.emulator.chaos import missing_at_first, random_faults
from otel_bridge.emulator.faults import Fault
from otel_bridge.emulator.generation import generate
from otel_bridge.emulator.live import LiveSource
from otel_bridge.emulator.options import EmulatorOptions
from otel_bridge.emulator.records import Record, record_of
from otel_bridge.emulator.server import EmulatorServer, serve
from otel_bridge.emulator.store import LogStore

__all__ = [
    "EmulatorOptions",
    "EmulatorServer",
    "Fault",
    "LiveSource",
    "LogStore",
    "Record",
    "create_app",
    "generate",
    "missing_at_first",
    "random_faults",
    "record_of",
    "serve",
]
