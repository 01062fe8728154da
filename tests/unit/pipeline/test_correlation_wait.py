"""How long a record waits for its application to say where it belongs, and who never waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otel_bridge.errors import LedgerError
from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.ledger import Correlation, CorrelationKind, RemoteSpan
from otel_bridge.mapping.identity import span_id_of
from otel_bridge.mapping.options import TraceOptions, Unsampled
from otel_bridge.pipeline.deliver import CorrelationWait
from otel_bridge.pipeline.observer import Observer

APP = RemoteSpan(b"t" * 16, b"s" * 8)
PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"
WAITING = "waiting_for_correlation"


async def correlate(bridge: Any, key: str, span: RemoteSpan = APP, kind: str = "log_id") -> str:
    given = Correlation(CorrelationKind(kind), key, span, bridge.clock.now_ms() + 86_400_000)
    (answer,) = await bridge.ledger.register([given], bridge.clock.now_ms())
    return str(answer.outcome.value)


async def passed(bridge: Any, seconds: float) -> None:
    await asyncio.create_task(bridge.clock.sleep(seconds))


async def step(bridge: Any) -> list[str]:
    """What one turn of the service delivers: new windows, then what was set aside and is due."""
    before = len(bridge.destination.deliveries)
    await bridge.worker.steps["head"](None)
    await bridge.worker.steps["recheck"](None)
    return list(bridge.destination.keys[before:])


async def in_use(bridge: Any) -> None:
    """The project's application has reported once, and its record was delivered by it."""
    bridge.add("log_first", age_s=10)
    await correlate(bridge, "log_first")
    assert await step(bridge) == ["log_first"]
    await passed(bridge, 60)


async def test_who_registers_nothing_never_waits(bridge: Any) -> None:
    bridge.add("log_a", age_s=0.5)
    assert await step(bridge) == ["log_a"]


async def test_a_correlation_that_came_first_is_used_at_once(bridge: Any) -> None:
    bridge.add("log_a", age_s=0.5)
    await correlate(bridge, "log_a")
    assert await step(bridge) == ["log_a"]
    span = bridge.span("log_a")
    assert (span.trace_id, span.parent_span_id) == (APP.trace_id, APP.span_id)


async def test_one_for_the_request_id_is_used_for_all_of_its_calls(bridge: Any) -> None:
    for name in ("log_a", "log_b"):
        bridge.add(name, context={"request_id": "r"})
    await correlate(bridge, "r", kind="request_id")
    await step(bridge)
    assert {bridge.span(each).trace_id for each in ("log_a", "log_b")} == {APP.trace_id}


async def test_where_correlations_are_in_use_a_new_record_waits_for_its_own(bridge: Any) -> None:
    await in_use(bridge)
    bridge.add("log_a", age_s=0.2)
    assert await step(bridge) == []
    assert await bridge.set_aside() == {"log_a": WAITING}
    await correlate(bridge, "log_a")
    await passed(bridge, 6)
    assert await step(bridge) == ["log_a"]
    assert bridge.span("log_a").trace_id == APP.trace_id


async def test_it_waits_no_longer_than_that_and_what_comes_then_is_late(bridge: Any) -> None:
    await in_use(bridge)
    bridge.add("log_a", age_s=0.2)
    await step(bridge)
    await passed(bridge, 6)
    assert await step(bridge) == ["log_a"]
    sent = bridge.span("log_a")
    assert await correlate(bridge, "log_a") == "late"
    assert sent.trace_id != APP.trace_id
    assert await bridge.set_aside() == {}


async def test_a_project_that_used_none_for_a_day_waits_no_more(bridge: Any) -> None:
    await in_use(bridge)
    await passed(bridge, 25 * 3600)
    bridge.add("log_a", age_s=0.2)
    assert "log_a" in await step(bridge)


async def test_a_run_up_to_now_waits_as_well_and_ends(bridge: Any) -> None:
    await in_use(bridge)
    bridge.add("log_a", age_s=0.2)
    assert await bridge.once() == ["log_a"]
    assert await bridge.set_aside() == {}


@pytest.mark.parametrize(
    ("fields", "age_s"),
    [
        ({}, 30),
        ({"context": {"request_id": PARENT}}, 0.2),
        ({"context": {"request_id": PARENT[:-1] + "0"}}, 0.2),
        ({"type": "trigger.message"}, 0.2),
        ({"parent": {"log_id": "log_first"}}, 0.2),
    ],
    ids=["old", "placed", "not sampled", "no call", "its parent is delivered"],
)
async def test_what_no_correlation_could_place_does_not_wait(
    bridge: Any, fields: dict[str, Any], age_s: float
) -> None:
    await in_use(bridge)
    bridge.add("log_a", age_s=age_s, **fields)
    assert await step(bridge) == ["log_a"]


async def test_a_family_waits_together(bridge: Any) -> None:
    await in_use(bridge)
    bridge.add("log_child", age_s=0.2, parent={"log_id": "log_a"})
    bridge.add("log_a", age_s=0.1)
    assert await step(bridge) == []
    assert await bridge.set_aside() == {"log_child": WAITING, "log_a": WAITING}
    await correlate(bridge, "log_a")
    await passed(bridge, 6)
    assert sorted(await step(bridge)) == ["log_a", "log_child"]
    assert bridge.span("log_child").trace_id == APP.trace_id
    assert bridge.span("log_child").parent_span_id == span_id_of("p", "log_a")


async def test_a_time_in_the_future_is_not_waited_for(bridge: Any) -> None:
    await in_use(bridge)
    bridge.add("log_a", age_s=-600)
    await passed(bridge, 601)
    await step(bridge)
    await passed(bridge, 6)
    await step(bridge)
    assert bridge.destination.keys[-1] == "log_a"


async def test_the_wait_can_be_set_and_then_holds_for_every_record(open_bridge: Any) -> None:
    async with open_bridge(correlation_wait=CorrelationWait(60_000)) as bridge:
        bridge.add("log_a", age_s=50)
        bridge.add("log_b", age_s=61)
        assert await step(bridge) == ["log_b"]
        await passed(bridge, 11)
        assert await step(bridge) == ["log_a"]


async def test_no_wait_at_all_can_be_set(open_bridge: Any) -> None:
    async with open_bridge(correlation_wait=CorrelationWait(0)) as bridge:
        await in_use(bridge)
        bridge.add("log_a", age_s=0.2)
        assert await step(bridge) == ["log_a"]


async def test_what_was_of_use_is_counted(open_bridge: Any) -> None:
    class Counts(Observer):
        def __init__(self) -> None:
            self.seen: list[tuple[str | None, str, int]] = []

        def correlations(self, project: str | None, outcome: str, count: int) -> None:
            self.seen.append((project, outcome, count))

    counts = Counts()
    async with open_bridge(observer=counts) as bridge:
        for name in ("log_a", "log_b", "log_c"):
            bridge.add(name)
        await correlate(bridge, "log_a")
        await correlate(bridge, "log_c")
        await step(bridge)
    assert counts.seen == [("p", "used", 2)]


async def test_a_call_out_of_a_trace_that_is_not_sampled_can_be_left_out(open_bridge: Any) -> None:
    async with open_bridge(traces=TraceOptions(Unsampled.DROP)) as bridge:
        bridge.add("log_a", context={"request_id": PARENT[:-1] + "0"})
        bridge.add("log_b", context={"request_id": PARENT[:-1] + "0"}, status="failed")
        await step(bridge)
        await asyncio.create_task(bridge.clock.sleep(1))
        bridge.add("log_c", age_s=0.5, parent={"log_id": "log_a"})
        await step(bridge)
        spans = {each.key: each.span is not None for each in bridge.destination.deliveries}
        assert spans == {"log_a": False, "log_b": True, "log_c": False}
        assert all(each.log is not None for each in bridge.destination.deliveries)


async def test_what_a_crash_brings_again_is_the_same_whatever_was_registered_meanwhile(bridge: Any) -> None:
    failed = {"status": "failed", "context": {"request_id": "r"}}
    bridge.add("log_a", age_s=50, **failed)
    bridge.add("log_b", age_s=40, **failed)
    commit = bridge.ledger.commit

    async def lost(project: str, **given: Any) -> None:
        if given.get("delivered"):
            raise LedgerError("the disk is full")
        await commit(project, **given)

    bridge.ledger.commit = lost
    with pytest.raises(LedgerError):
        await bridge.once()
    first = {each.key: each for each in bridge.destination.deliveries}
    bridge.destination.deliveries.clear()
    bridge.ledger.commit = commit
    assert await correlate(bridge, "log_a") == "late"
    assert await correlate(bridge, "r", kind="request_id") == "registered"
    bridge.worker = bridge.new_worker()
    assert await bridge.once() == ["log_a", "log_b"]
    again = {each.key: each for each in bridge.destination.deliveries}
    assert encode_traces(list(again.values())) == encode_traces(list(first.values()))
    assert encode_logs(list(again.values())) == encode_logs(list(first.values()))
    (link,) = again["log_b"].span.links
    assert link.span_id == again["log_a"].span.span_id
