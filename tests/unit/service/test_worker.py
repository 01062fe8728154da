"""One project's loop against an emulated source: every record once, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from otel_bridge.emulator import Fault
from otel_bridge.errors import (
    DestinationUnavailable,
    SourceError,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.ledger import Lane
from otel_bridge.pipeline import pipeline


async def test_everything_there_is_is_delivered_once_oldest_first(bridge: Any) -> None:
    for number in range(5):
        bridge.add(f"log_{number}", age_s=3000 - number)
    assert await bridge.once() == [f"log_{number}" for number in range(5)]
    assert await bridge.once() == []
    assert len(bridge.measured) == 5


async def test_a_late_record_is_found_by_a_recheck(bridge: Any) -> None:
    await bridge.once()
    bridge.add("log_late", age_s=10)
    assert await bridge.once() == []  # its window has been collected
    await asyncio.create_task(bridge.clock.sleep(31))
    assert await bridge.once() == ["log_late"]
    await asyncio.create_task(bridge.clock.sleep(100))
    assert await bridge.once() == []


async def test_windows_are_sealed_after_the_last_recheck(bridge: Any) -> None:
    await bridge.once()
    for _ in range(4):
        await asyncio.create_task(bridge.clock.sleep(60))
        await bridge.once()
    windows = await bridge.ledger.windows("p", Lane.LIVE)
    assert windows[0].sealed
    for left, right in itertools.pairwise(windows):
        assert left.to_ms == right.from_ms


async def test_the_same_millisecond_on_both_sides_of_a_window_is_delivered_once(open_bridge: Any) -> None:
    async with open_bridge() as bridge:
        bridge.add("log_edge", age_s=0)
        first = await bridge.once()
        await asyncio.create_task(bridge.clock.sleep(5))
        assert first + await bridge.once() == ["log_edge"]


async def test_a_full_range_is_split_and_costs_few_requests(bridge: Any) -> None:
    for number in range(2500):
        bridge.add(f"log_{number}", age_s=3000 + number / 100)
    assert sorted(await bridge.once()) == sorted(f"log_{number}" for number in range(2500))
    assert bridge.requests["detail"] == 2500
    assert bridge.requests["list"] <= 0.05 * 2500


async def test_one_millisecond_with_more_records_than_a_window_takes(bridge: Any) -> None:
    for number in range(1205):
        bridge.add(f"log_{number}", age_s=100)
    assert len(await bridge.once()) == 1205


async def test_requests_for_a_quiet_project_are_few(bridge: Any) -> None:
    running = asyncio.create_task(bridge.worker.run())
    await asyncio.create_task(bridge.clock.sleep(600))
    bridge.stop.set()
    await running
    # A poll every 5 s is 120 in ten minutes; joined re-checks add a fraction of that.
    assert bridge.requests["list"] <= 120 * 1.6


async def test_a_child_stands_under_a_parent_of_another_window_and_costs_no_second_request(
    bridge: Any,
) -> None:
    bridge.add("log_parent", age_s=60, context={"trace_id": "0af7651916cd43dd8448eb211c80319c"})
    bridge.add("log_child", age_s=2000, parent={"log_id": "log_parent", "tool_slug": "X"})
    assert sorted(await bridge.once()) == ["log_child", "log_parent"]
    child, parent = bridge.span("log_child"), bridge.span("log_parent")
    assert child.trace_id == parent.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert child.parent_span_id == parent.span_id
    assert bridge.requests["detail"] == 2


async def test_a_child_waits_for_a_parent_that_is_logged_after_it(bridge: Any) -> None:
    bridge.add("log_child", age_s=1, parent={"log_id": "log_parent"})
    running = asyncio.create_task(bridge.worker.run())
    await asyncio.create_task(bridge.clock.sleep(3))
    assert bridge.destination.keys == []
    assert await bridge.set_aside() == {"log_child": "waiting_for_parent"}
    bridge.add("log_parent", age_s=0)
    await asyncio.create_task(bridge.clock.sleep(15))
    bridge.stop.set()
    await running
    assert sorted(bridge.destination.keys) == ["log_child", "log_parent"]
    assert bridge.span("log_child").trace_id == bridge.span("log_parent").trace_id
    assert await bridge.set_aside() == {}


async def test_a_parent_that_never_comes_does_not_hold_its_child_for_ever(bridge: Any) -> None:
    bridge.add("log_child", age_s=1, parent={"log_id": "log_gone"})
    assert await bridge.once() == ["log_child"]
    assert bridge.span("log_child").attributes["composio.parent.missing"] is True
    assert bridge.span("log_child").parent_span_id is not None


async def test_with_failed_details_only_the_rest_is_what_the_list_says(open_bridge: Any) -> None:
    async with open_bridge(detail="failed") as bridge:
        bridge.add("log_good", context={"request_id": "r1"})
        bridge.add("log_bad", status="failed", context={"request_id": "r2"})
        await bridge.once()
        assert bridge.requests["detail"] == 1
        assert "composio.request.id" not in bridge.span("log_good").attributes
        assert bridge.span("log_bad").attributes["composio.request.id"] == "r2"


async def test_the_trace_is_the_same_whether_a_parent_was_fetched_or_listed(open_bridge: Any) -> None:
    async with open_bridge(detail="none") as bridge:
        bridge.add("log_parent", age_s=60, context={"trace_id": "0af7651916cd43dd8448eb211c80319c"})
        bridge.add("log_child", age_s=2000, parent={"log_id": "log_parent"})
        await bridge.once()
        assert bridge.span("log_child").trace_id == bridge.span("log_parent").trace_id


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────
async def test_a_record_whose_detail_stays_away_is_set_aside_and_comes_later(bridge: Any) -> None:
    bridge.add("log_good")
    bridge.add("log_bad")
    bridge.fault = lambda path, _n: Fault(status=500) if path.endswith("log_bad") else None
    assert await bridge.once() == ["log_good"]
    assert await bridge.set_aside() == {"log_bad": "source_failed"}
    bridge.fault = lambda _path, _n: None
    await asyncio.create_task(bridge.clock.sleep(15))
    assert await bridge.once() == ["log_bad"]
    assert await bridge.set_aside() == {}


async def test_a_record_that_is_tried_again_does_not_hold_up_those_after_it(bridge: Any) -> None:
    for number in range(200):
        bridge.add(f"log_{number:03}", age_s=3000 - number)
    troubles = [Fault(status=500), Fault(status=500)]
    bridge.fault = lambda path, _n: troubles.pop() if path.endswith("log_000") and troubles else None
    keys = await bridge.once()
    overtook = keys.index("log_000")
    assert 100 < overtook < 200
    assert sorted(keys) == [*keys[overtook : overtook + 1], *keys[:overtook], *keys[overtook + 1 :]]


@pytest.mark.parametrize("status", [400, 403, 410, 422])
async def test_a_record_that_alone_is_refused_does_not_hold_up_those_after_it(
    bridge: Any, status: int
) -> None:
    for number in range(20):
        bridge.add(f"log_{number:02}", age_s=100 - number)
    bridge.fault = lambda path, _n: Fault(status=status) if path.endswith("log_07") else None
    assert len(await bridge.once()) == 19
    assert await bridge.set_aside() == {"log_07": "source_failed"}


@pytest.mark.parametrize("status", [400, 403])
async def test_a_source_that_refuses_every_record_sets_nothing_aside(bridge: Any, status: int) -> None:
    for number in range(20):
        bridge.add(f"log_{number}")
    bridge.fault = lambda path, _n: Fault(status=status) if "log_" in path.rpartition("/")[2] else None
    with pytest.raises(SourceError, match=str(status)):
        await bridge.once()
    assert await bridge.set_aside() == {}


async def test_a_key_that_is_refused_in_the_middle_sets_nothing_aside(bridge: Any) -> None:
    for number in range(20):
        bridge.add(f"log_{number:02}", age_s=100 - number)
    bridge.fault = lambda path, _n: Fault(status=401) if path.endswith("log_07") else None
    with pytest.raises(SourceRefused):
        await bridge.once()
    assert await bridge.set_aside() == {}


@pytest.mark.parametrize("error", [SourceUnreachable("never came"), SourceRefused("400", 400)])
async def test_a_parent_that_can_not_be_had_holds_up_its_children_alone(
    bridge: Any, monkeypatch: pytest.MonkeyPatch, error: SourceError
) -> None:
    bridge.add("log_parent", age_s=100)
    bridge.add("log_child", age_s=90, parent={"log_id": "log_parent"})
    for number in range(12):
        bridge.add(f"log_{number}", age_s=80)
    detail = bridge.client.detail

    async def without_the_parent(log_id: str, **others: Any) -> Any:
        if log_id == "log_parent":
            raise error
        return await detail(log_id, **others)

    with monkeypatch.context() as patch:
        patch.setattr(bridge.client, "detail", without_the_parent)
        assert len(await bridge.once()) == 12
    assert await bridge.set_aside() == {"log_parent": "source_failed", "log_child": "source_failed"}
    await asyncio.create_task(bridge.clock.sleep(15))
    await bridge.once()
    assert bridge.span("log_child").trace_id == bridge.span("log_parent").trace_id


async def test_an_open_circuit_met_by_a_parent_sets_nothing_aside(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.add("log_child", age_s=90, parent={"log_id": "log_parent"})
    detail = bridge.client.detail

    async def open_for_the_parent(log_id: str, **others: Any) -> Any:
        if log_id == "log_parent":
            raise SourceUnreachable("down", 5.0)
        return await detail(log_id, **others)

    monkeypatch.setattr(bridge.client, "detail", open_for_the_parent)
    with pytest.raises(SourceUnreachable):
        await bridge.once()
    assert await bridge.set_aside() == {}


async def test_a_source_that_fails_for_every_record_sets_nothing_aside(bridge: Any) -> None:
    for number in range(20):
        bridge.add(f"log_{number}")
    bridge.fault = lambda path, _n: Fault(status=503) if "log_" in path.rpartition("/")[2] else None
    with pytest.raises(SourceError):
        await bridge.once()
    assert await bridge.set_aside() == {}
    bridge.fault = lambda _path, _n: None
    await asyncio.create_task(bridge.clock.sleep(60))  # until the source is asked again
    assert len(await bridge.once()) == 20


async def test_what_a_destination_refuses_is_set_aside_by_name_and_not_tried_again(bridge: Any) -> None:
    for name in ("log_a", "log_b", "log_c"):
        bridge.add(name)
    bridge.destination.refuse = {"log_b": "traces: 400 too old"}
    assert await bridge.once() == ["log_a", "log_c"]
    assert await bridge.set_aside() == {"log_b": "refused"}
    bridge.destination.refuse = {}
    await asyncio.create_task(bridge.clock.sleep(4000))
    assert await bridge.once() == []


async def test_a_destination_that_is_down_loses_nothing(bridge: Any) -> None:
    bridge.add("log_a")
    bridge.destination.failures = [DestinationUnavailable("503")] * 3
    running = asyncio.create_task(bridge.worker.run())
    await asyncio.create_task(bridge.clock.sleep(60))
    bridge.stop.set()
    await running
    assert bridge.destination.keys == ["log_a"]
    (status,) = await bridge.ledger.status(["p"])
    assert status.last_error is None


async def test_an_error_is_noted_for_people(bridge: Any) -> None:
    bridge.destination.failures = [DestinationUnavailable("no connection to 127.0.0.1:4318")]
    bridge.add("log_a")
    with pytest.raises(DestinationUnavailable):
        await bridge.once()
    (status,) = await bridge.ledger.status(["p"])
    assert status.last_error == "no connection to 127.0.0.1:4318"


async def test_a_surprise_ends_neither_the_loop_nor_a_record(bridge: Any) -> None:
    bridge.add("log_a", message="a payload")
    bridge.destination.failures = [RuntimeError("a payload")]
    running = asyncio.create_task(bridge.worker.run())
    await asyncio.create_task(bridge.clock.sleep(20))
    bridge.stop.set()
    await running
    assert bridge.destination.keys == ["log_a"]


async def test_what_the_list_shows_and_nobody_can_read_is_named(bridge: Any) -> None:
    bridge.add("log_good")
    bridge.add("log_odd", metadata={"deep": "x"})
    record = bridge.store.get("log_odd")
    assert record is not None
    object.__setattr__(record, "entry", b'{"id":["log_odd"],"timestamp":1}')
    assert await bridge.once() == ["log_good"]


async def test_batches_start_small_and_grow_while_the_destination_takes_them(bridge: Any) -> None:
    sizes: list[int] = []
    export = bridge.destination.export

    async def watched(deliveries: Any) -> Any:
        sizes.append(len(deliveries))
        return await export(deliveries)

    bridge.destination.export = watched
    for number in range(800):
        bridge.add(f"log_{number}", age_s=3000 - number)
    await bridge.once()
    assert sizes[:3] == [32, 64, 128]
    assert sum(sizes) == 800
    assert max(sizes) == pipeline.BATCH_RECORDS

    for number in range(800, 1600):
        bridge.add(f"log_{number}", age_s=0)
    await asyncio.create_task(bridge.clock.sleep(5))
    bridge.destination.failures = [DestinationUnavailable("503")]
    with pytest.raises(DestinationUnavailable):
        await bridge.once()
    sizes.clear()
    await bridge.once()
    assert sizes[0] == pipeline.FIRST_BATCH_RECORDS


async def test_stopping_in_the_middle_keeps_what_was_delivered(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH_RECORDS", 4)
    for number in range(10):
        bridge.add(f"log_{number}", age_s=100 - number)
    export = bridge.destination.export

    async def stop_after_one(deliveries: Any) -> Any:
        bridge.stop.set()
        return await export(deliveries)

    bridge.destination.export = stop_after_one
    assert await bridge.once() == [f"log_{number}" for number in range(4)]
    bridge.stop.clear()
    bridge.worker = bridge.new_worker()
    bridge.destination.export = export
    assert await bridge.once() == [f"log_{number}" for number in range(4, 10)]
