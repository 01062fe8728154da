from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from contract.vendor_client import COUNT, END_MS, START_MS, Start, connect, running
from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore, generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from composio_client import Composio


@pytest.fixture(scope="session")
def store() -> LogStore:
    return LogStore(generate(COUNT, 7, START_MS, END_MS))


@pytest.fixture(scope="session")
def details(store: LogStore) -> dict[str, dict[str, Any]]:
    """Every log entry in full, as the store has it."""
    found = {}
    for log_id in store.log_ids():
        record = store.get(log_id)
        assert record is not None
        found[log_id] = json.loads(record.detail)
    return found


@pytest.fixture(scope="session")
def server(store: LogStore) -> Iterator[EmulatorServer]:
    with running(EmulatorOptions(), store) as server:
        yield server


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an emulator with options of the test's own."""
    with ExitStack() as stack:
        yield lambda options, store: stack.enter_context(running(options, store))


@pytest.fixture(scope="session")
def client(server: EmulatorServer) -> Iterator[Composio]:
    with connect(server) as client:
        yield client
