"""A batch that a destination holds up is told in the ledger when that begins, without a look at the clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from model_sender import ModelSender, somewhere
from signal_samples import some_deliveries
from simulated_clock import SimulatedClock

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.exporter.destination import Signal
from otel_bridge.exporter.otlp import OtlpExporter
from otel_bridge.exporter.sender import Refused
from otel_bridge.ledger import MemoryLedger
from otel_bridge.pipeline.blocked import noting
from otel_bridge.retry import Backoff
from otel_bridge.signals import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.exporter.blocks import Block
    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.signals import Delivery


class Stage:
    def __init__(self) -> None:
        self.clock = SimulatedClock(auto=False)
        self.sender = ModelSender()
        self.ledger = MemoryLedger()
        self.told: list[Block] = []
        self.opened: list[str] = []
        self.exporter: Exporter = OtlpExporter(
            {Signal.TRACES: somewhere(Signal.TRACES)},
            clock=self.clock,
            backoff=Backoff(first_s=0.5, most_s=60.0, attempts=None),
            senders=lambda _: self.sender,
            on_blocked=self.told.append,
            on_open=self.opened.append,
        )

    async def export(self) -> Outcome:
        async with noting("p", self.ledger, self.clock, self.exporter):
            return await self.exporter.export(some_deliveries(20, logs=False))

    async def last_error(self) -> str | None:
        (status,) = await self.ledger.status(["p"])
        return status.last_error


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    await made.ledger.open()
    return made


async def test_what_holds_up_an_export_is_noted_with_the_destination_s_answer(stage: Stage) -> None:
    stage.sender.everything = Refused("400 Bad Request: structured metadata is off")
    task = asyncio.create_task(stage.export())
    await stage.clock.advance(10)
    assert await stage.last_error() == (
        "http://there/v1/traces (traces) takes no records: it refuses every record: "
        "400 Bad Request: structured metadata is off"
    )
    stage.sender.everything = None
    await stage.clock.advance(61)
    assert len((await task).delivered) == 20


async def test_another_answer_is_noted_and_so_is_the_same_one_where_another_pass_has_cleared_it(
    stage: Stage,
) -> None:
    stage.sender.script = [DestinationUnavailable("503")] * 5
    stage.sender.everything = Refused("400")
    task = asyncio.create_task(stage.export())
    await stage.clock.advance(4)
    assert "503" in (await stage.last_error() or "")
    await stage.clock.advance(120)
    assert "400" in (await stage.last_error() or "")
    await stage.ledger.note_error("p", "", 0)
    await stage.clock.advance(31)
    assert "400" in (await stage.last_error() or "")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_listener_hears_of_each_try_and_of_the_end(stage: Stage) -> None:
    stage.sender.script = [DestinationUnavailable("503")] * 6
    task = asyncio.create_task(stage.export())
    await stage.clock.advance(600)
    await task
    assert [block.why for block in stage.told] == ["503"] * 4
    assert all(block.until_ms and block.until_ms <= stage.clock.now_ms() for block in stage.told)
    assert stage.opened == ["http://there/v1/traces (traces)"]
    assert await stage.last_error() is not None, "the next good pass clears it"


async def test_nothing_is_noted_of_a_failure_that_passes_or_an_exporter_that_never_blocks(
    stage: Stage,
) -> None:
    stage.sender.script = [DestinationUnavailable("503")]
    task = asyncio.create_task(stage.export())
    await stage.clock.advance(60)
    await task
    assert await stage.last_error() is None

    class Everything:
        async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
            return Outcome(delivered=[each.key for each in deliveries])

        async def aclose(self) -> None:
            pass

    stage.exporter = Everything()
    assert len((await stage.export()).delivered) == 20
