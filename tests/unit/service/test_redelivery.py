"""A past range delivered again is what it was the first time, and leaves the ledger as it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from collection_world import bytes_of

from otel_bridge.errors import DestinationUnavailable
from otel_bridge.ledger import Correlation, CorrelationKind, Lane, RemoteSpan
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.service.redelivery import Again, Redelivery

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600_000
SPAN = RemoteSpan(bytes(range(16)), bytes(range(8, 16)), sampled=True)
TRACEPARENT = f"00-{bytes(range(1, 17)).hex()}-{bytes(range(1, 9)).hex()}-01"


def redelivery(bridge: Any, from_h: float = 2, to_h: float = 0) -> Redelivery:
    """As another process would, over the same ledger."""
    now = bridge.clock.now_ms()
    worker = bridge.new_worker()
    return Redelivery(
        worker.context,
        worker.once_pipeline(),
        mapper=Mapper(MappingOptions(project="p")),
        exporter=bridge.destination,
        options=bridge.traces,
        from_ms=now - round(from_h * HOUR),
        to_ms=now - round(to_h * HOUR),
    )


async def again(bridge: Any, from_h: float = 2, to_h: float = 0) -> Again:
    made = redelivery(bridge, from_h, to_h)
    await asyncio.create_task(made.run(lambda: None))
    return made.report


def sent(bridge: Any) -> dict[str, bytes]:
    """What went over the wire since the last call, by record; each once."""
    deliveries = list(bridge.destination.deliveries)
    bridge.destination.deliveries.clear()
    assert len({each.key for each in deliveries}) == len(deliveries)
    return {each.key: bytes_of(each) for each in deliveries}


async def state(bridge: Any) -> Any:
    """All that the ledger says for people, of windows, of counts and of each record."""
    now = bridge.clock.now_ms()
    return (
        await bridge.ledger.status(["p"]),
        [await bridge.ledger.windows("p", lane) for lane in Lane],
        await bridge.ledger.tool_calls("p", now - 24 * HOUR, now),
        await bridge.ledger.identities("p", bridge.store.log_ids()),
        await bridge.ledger.set_aside("p"),
    )


async def rest(bridge: Any, seconds: float) -> None:
    await asyncio.create_task(bridge.clock.sleep(seconds))


@pytest.fixture
async def family(bridge: Any) -> Any:
    """Records of every kind of place, delivered once."""
    bridge.add("log_root", age_s=900)
    bridge.add("log_child", age_s=890, parent={"log_id": "log_root"})
    bridge.add("log_orphan", age_s=880, parent={"log_id": "log_late_parent"})
    bridge.add("log_a", age_s=870, parent={"log_id": "log_b"})
    bridge.add("log_b", age_s=860, parent={"log_id": "log_a"})
    bridge.add("log_header", age_s=850, context={"request_id": TRACEPARENT})
    bridge.add("log_reported", age_s=840)
    bridge.add("log_failed", age_s=830, status="failed", context={"request_id": "req_1"})
    bridge.add("log_retried", age_s=800, context={"request_id": "req_1"})
    bridge.add("log_event", age_s=790, type="trigger.event")
    now = bridge.clock.now_ms()
    correlation = Correlation(CorrelationKind.LOG_ID, "log_reported", SPAN, now + HOUR)
    await bridge.ledger.register([correlation], now)
    await bridge.once()
    return bridge


async def test_every_record_is_what_it_was_whatever_has_come_since(family: Any) -> None:
    bridge = family
    before = sent(bridge)
    assert len(before) == 10
    # What would place records elsewhere now: their correlation and failed attempts are forgotten, and a
    # parent and a late correlation have come.
    await rest(bridge, 2 * 3600)
    now = bridge.clock.now_ms()
    await bridge.ledger.expire_correlations(now)
    await bridge.ledger.prune("p", now - 24 * HOUR, now)
    late = Correlation(CorrelationKind.REQUEST_ID, "req_1", SPAN, now + HOUR)
    await bridge.ledger.register([late], now)
    there = await state(bridge)
    report = await again(bridge, 5, 1)
    assert sent(bridge) == before
    assert (report.again, report.first.records, report.left) == (10, 0, {})
    assert await state(bridge) == there


async def test_a_call_is_linked_to_the_failed_attempt_in_an_earlier_part_of_the_range(bridge: Any) -> None:
    bridge.add("log_failed", age_s=1_500, status="failed", context={"request_id": "req_1"})
    bridge.add("log_retried", age_s=300, context={"request_id": "req_1"})
    await bridge.once()
    assert bridge.span("log_retried").links
    before = sent(bridge)
    await rest(bridge, 2 * 3600)
    now = bridge.clock.now_ms()
    await bridge.ledger.prune("p", now - 24 * HOUR, now)  # which forgets the attempt
    await again(bridge, 2.5, 1)
    assert sent(bridge) == before


async def test_an_orphan_stays_one_after_its_parent_has_come(family: Any) -> None:
    bridge = family
    before = sent(bridge)
    bridge.add("log_late_parent", age_s=895)
    report = await again(bridge)
    after = sent(bridge)
    assert after.pop("log_late_parent")
    assert after == before
    assert (report.again, report.first.delivered) == (10, 1)


async def test_what_was_never_delivered_is_delivered_and_kept(bridge: Any) -> None:
    bridge.add("log_1", age_s=900)
    await bridge.once()
    bridge.add("log_2", age_s=800)
    watermark = await bridge.ledger.watermark_ms("p", Lane.LIVE)
    windows = [await bridge.ledger.windows("p", lane) for lane in Lane]
    report = await again(bridge)
    assert (report.again, report.first.delivered) == (1, 1)
    assert set(await bridge.ledger.identities("p", ["log_1", "log_2"])) == {"log_1", "log_2"}
    assert await bridge.ledger.watermark_ms("p", Lane.LIVE) == watermark
    assert [await bridge.ledger.windows("p", lane) for lane in Lane] == windows
    bridge.destination.deliveries.clear()
    await bridge.once()
    assert bridge.destination.keys == []


async def test_what_is_set_aside_stays_so(bridge: Any) -> None:
    bridge.add("log_bad", age_s=900)
    bridge.destination.refuse["log_bad"] = "no"
    await bridge.once()
    there = await state(bridge)
    bridge.destination.refuse.clear()
    report = await again(bridge)
    assert (report.waiting, report.again, bridge.destination.keys) == (1, 0, [])
    assert await state(bridge) == there


async def test_a_stretch_whose_ids_are_forgotten_goes_out_and_is_counted_as_before(family: Any) -> None:
    bridge = family
    before = sent(bridge)
    await rest(bridge, 26 * 3600)
    await bridge.once()  # which seals its windows, and forgets
    assert sent(bridge) == {}
    assert await bridge.ledger.identities("p", bridge.store.log_ids()) == {}
    there = await state(bridge)
    report = await again(bridge, 27, 25)
    after = sent(bridge)
    # The correlation is no longer kept: what it had placed stands by itself.
    assert set(after) == set(before)
    assert {key for key in after if after[key] != before[key]} == {"log_reported"}
    assert (report.again, report.first.records) == (10, 0)
    assert await state(bridge) == there


async def test_what_a_destination_refuses_or_the_source_lost_is_named_and_changes_nothing(
    bridge: Any,
) -> None:
    for name in ("log_1", "log_2", "log_3"):
        bridge.add(name, age_s=900)
    await bridge.once()
    there = await state(bridge)
    bridge.destination.refuse["log_1"] = "no"
    bridge.fault = missing("log_2")
    report = await again(bridge)
    assert (report.again, dict(report.left)) == (1, {"refused": 1, "not_found": 1})
    assert await state(bridge) == there


async def test_a_destination_that_goes_down_ends_it_and_it_says_how_far_it_came(bridge: Any) -> None:
    for hours in range(40, 0, -1):
        bridge.add(f"log_{hours:02}", age_s=hours * 3600)
    await again(bridge, 41)
    everything = set(sent(bridge))
    made = redelivery(bridge, 41)

    def fail_next() -> None:
        if bridge.destination.deliveries:
            bridge.destination.failures = [DestinationUnavailable("503")]

    with pytest.raises(DestinationUnavailable):
        await asyncio.create_task(made.run(fail_next))
    first = set(sent(bridge))
    assert 0 < len(first) < 40
    left_h = (bridge.clock.now_ms() - made.report.reached_ms) / HOUR
    await again(bridge, left_h)
    assert first | set(sent(bridge)) == everything


def missing(log_id: str) -> Callable[[str, int], Any]:
    from otel_bridge.emulator import Fault  # noqa: PLC0415 - the one use

    return lambda path, _: Fault(status=404) if path.endswith(log_id) else None
