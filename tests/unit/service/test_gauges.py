"""What is looked at now and then: it lasts while the ledger can't be asked, and is absent where unknown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families
from simulated_clock import SimulatedClock

from otel_bridge.circuit_state import CircuitState, Phase
from otel_bridge.errors import DestinationUnavailable, LedgerError
from otel_bridge.ledger import MemoryLedger, Reason, SetAside
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service import gauges
from otel_bridge.service.gauges import Gauges, Looked, watched
from otel_bridge.service.own_metrics import OwnMetrics
from otel_bridge.service.own_telemetry import OwnTelemetry
from otel_bridge.telemetry.meters import Meters
from otel_bridge.telemetry.tracing import Spans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from otel_bridge.ledger import ProjectStatus

CLOSED = CircuitState("http://far", Phase.CLOSED, None, 0.0, 0, "", None, None, 0)


class Ledger(MemoryLedger):
    """One that can be out of order."""

    broken = False

    async def status(self, projects: Sequence[str]) -> list[ProjectStatus]:
        if self.broken:
            raise LedgerError("can't be read")
        return await super().status(projects)


def telemetry() -> OwnTelemetry:
    meters = Meters(Resource({}), Resource({}))
    return OwnTelemetry(meters, OwnMetrics(meters, ["p"]), Spans())


def samples(made: OwnTelemetry, name: str) -> dict[tuple[str, ...], float]:
    text = made.prometheus_text().decode()
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


async def opened() -> Ledger:
    ledger = Ledger()
    await ledger.open()
    return ledger


async def test_ages_grow_while_the_ledger_cant_be_asked() -> None:
    clock, made, ledger = SimulatedClock(), telemetry(), await opened()
    at_ms = clock.now_ms() - 7_000
    aside = SetAside("log_1", at_ms, Reason.NOT_FOUND, "gone", 1, at_ms, None)
    await ledger.commit("p", set_aside=[aside])
    await ledger.commit("other", set_aside=[aside])
    found = Gauges(made, Looked(["p"], ledger, None, {}, list), clock)
    found.add()
    await found.look()
    assert samples(made, "otel_bridge_undelivered_age_seconds") == {("p",): 7}
    ledger.broken = True
    await clock.advance(5)
    await found.look()
    assert samples(made, "otel_bridge_undelivered_age_seconds") == {("p",): 12}
    assert samples(made, "otel_bridge_records_held")["p", "not_found"] == 1
    assert samples(made, "otel_bridge_watermark_age_seconds") == {}
    assert samples(made, "otel_bridge_ledger_size_bytes") == {}


async def test_a_batch_that_a_destination_does_not_take_is_undelivered() -> None:
    clock, made, ledger = SimulatedClock(), telemetry(), await opened()
    found = Gauges(made, Looked(["p"], ledger, None, {}, list), clock)
    found.add()
    await found.look()
    assert samples(made, "otel_bridge_undelivered_age_seconds") == {("p",): 0}
    for _ in range(2):
        made.observer.delivery_failed("p", DestinationUnavailable("away"), clock.now_ms())
        await clock.advance(3)
    assert samples(made, "otel_bridge_undelivered_age_seconds") == {("p",): 6}


async def test_projects_of_one_organisation_have_one_budget() -> None:
    clock, made = SimulatedClock(), telemetry()
    shared = Budget(0.5, clock, name="acme")
    await shared.acquire(Priority.HEAD)
    shared.observe({"X-RateLimit": "100", "X-RateLimit-Remaining": "90"}, 200)
    budgets = {"p": shared, "q": shared, "r": Budget(0.5, clock, name="r")}
    found = Gauges(made, Looked(["p"], await opened(), None, budgets, list), clock)
    found.add()
    await found.look()
    assert samples(made, "otel_bridge_budget_limit") == {("acme",): 100}
    assert samples(made, "otel_bridge_budget_allowed") == {("acme",): 50}
    assert samples(made, "otel_bridge_budget_remaining") == {("acme",): 90}
    assert samples(made, "otel_bridge_budget_used") == {("acme",): 1, ("r",): 0}


async def test_a_circuit_is_told_as_it_stands_now() -> None:
    made = telemetry()
    down = replace(CLOSED, phase=Phase.OPEN, retry_in_s=3.0, since_ms=1, next_try_ms=2)
    found = Gauges(made, Looked(["p"], await opened(), None, {}, lambda: [CLOSED]), SimulatedClock())
    found.add()
    await found.look()
    assert samples(made, "otel_bridge_circuit_open") == {("http://far",): 0}
    made.observer.circuit_changed(CLOSED, down)
    assert samples(made, "otel_bridge_circuit_open") == {("http://far",): 1}
    made.observer.circuit_changed(down, CLOSED)
    assert samples(made, "otel_bridge_circuit_open") == {("http://far",): 0}
    assert samples(made, "otel_bridge_circuit_openings_total") == {("http://far",): 1}


async def test_a_ledger_on_disk_is_measured_with_its_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "LOOK_EVERY_S", 0.01)
    made, path = telemetry(), tmp_path / "ledger.db"
    looked = Looked(["p"], await opened(), path, {}, list)
    async with watched(made, looked, SimulatedClock()):
        assert samples(made, "otel_bridge_ledger_size_bytes") == {}
        path.write_bytes(b"x" * 10)
        (tmp_path / "ledger.db-wal").write_bytes(b"y" * 5)
        await asyncio.sleep(0.05)
        assert samples(made, "otel_bridge_ledger_size_bytes") == {(): 15}
