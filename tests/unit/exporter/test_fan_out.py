"""Several exporters as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from signal_samples import some_deliveries

from otel_bridge.errors import DestinationError, DestinationUnavailable
from otel_bridge.exporter.fan_out import FanOut
from otel_bridge.exporter.protocol import Exporter, outcome_of
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Stub:
    refuses: tuple[str, ...] = ()
    gives_up_after: int | None = None
    got: list[str] = field(default_factory=list)
    closed: int = 0

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        keys = [delivery.key for delivery in deliveries]
        self.got += keys
        if self.gives_up_after is not None:
            error: DestinationError = DestinationUnavailable(f"down after {self.gives_up_after}")
            error.outcome = Outcome(delivered=keys[: self.gives_up_after])
            raise error
        refused = {key: "no" for key in keys if key in self.refuses}
        return Outcome([key for key in keys if key not in refused], refused, len(refused), ["w"])

    async def aclose(self) -> None:
        self.closed += 1


async def test_delivered_is_what_all_have_delivered() -> None:
    first, second = Stub(refuses=("log_0002",)), Stub(refuses=("log_0003",))
    exporter: Exporter = FanOut([first, second])

    outcome = await exporter.export(some_deliveries(4))

    assert outcome == Outcome(
        ["log_0001", "log_0004"], {"log_0002": "no", "log_0003": "no"}, resent=2, warnings=["w", "w"]
    )
    assert second.got == ["log_0001", "log_0003", "log_0004"], "refused by the first: not shown"


async def test_what_was_delivered_before_a_failure_reaches_the_others_and_is_told() -> None:
    first, second, third = Stub(gives_up_after=2), Stub(gives_up_after=1), Stub()

    with pytest.raises(DestinationUnavailable, match="down after 2") as caught:
        await FanOut([first, second, third]).export(some_deliveries(4))

    assert second.got == ["log_0001", "log_0002"]
    assert third.got == ["log_0001"]
    assert outcome_of(caught.value).delivered == ["log_0001"]


async def test_an_error_without_an_outcome_settles_nothing() -> None:
    assert outcome_of(DestinationError("x")) == Outcome()


async def test_closing_closes_all() -> None:
    first, second = Stub(), Stub()

    await FanOut([first, second]).aclose()

    assert (first.closed, second.closed) == (1, 1)
