"""The ledger held against the source: what is missing is named and repaired, and nothing else is."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import replace
from typing import Any

import pytest

from otel_bridge.emulator import Fault
from otel_bridge.errors import DestinationUnavailable, SourceRefused
from otel_bridge.ledger import Lane, Verification, Window
from otel_bridge.pipeline import windows
from otel_bridge.pipeline.concurrency import Concurrency
from otel_bridge.pipeline.context import Stopped
from otel_bridge.pipeline.source import ProjectSource
from otel_bridge.receiver.models import Filter
from otel_bridge.service.comparison import Comparison, Repair
from otel_bridge.service.daily_check import DailyCheck
from otel_bridge.service.findings import NAMED_IDS, Findings

HOUR = 3_600_000
DAY = 24 * HOUR
USAGE = "/usage/"


async def later(bridge: Any, seconds: float) -> None:
    await asyncio.create_task(bridge.clock.sleep(seconds))


async def collected(bridge: Any, count: int = 20) -> int:
    """The last hour collected and sealed, with some tool calls; gives the end of what is sealed."""
    for number in range(count):
        bridge.add(f"log_{number}", age_s=3000 - number)
    await bridge.once()
    await later(bridge, 200)
    await bridge.once()
    (status,) = await bridge.ledger.status(["p"])
    assert status.sealed_ms is not None
    return int(status.sealed_ms)


async def compare(
    bridge: Any, from_ms: int, to_ms: int, repair: Repair = Repair.NOTHING
) -> tuple[Findings, str]:
    findings = await Comparison(bridge.context, bridge.worker.once_pipeline(), from_ms, to_ms, repair).run()
    return findings, "\n".join(findings.lines())


def refuse_usage(bridge: Any, fault: Fault) -> None:
    bridge.fault = lambda path, _number: fault if USAGE in path else None


def filtered(bridge: Any, *filters: Filter) -> None:
    bridge.source = ProjectSource(bridge.client, filters, "all", Concurrency(8))
    bridge.worker = bridge.new_worker()


# ── equal, missing, repaired ─────────────────────────────────────────────────────────────────────────────
async def test_an_equal_range_costs_one_request(bridge: Any) -> None:
    end = await collected(bridge)
    before = bridge.requests
    findings, text = await compare(bridge, end - HOUR, end)
    assert findings.equal
    assert (findings.source, findings.ledger.least) == (20, 20)
    assert "the source has 20 tool calls, the ledger 20: equal" in text
    assert bridge.requests == {**before, "usage": before["usage"] + 1}


async def test_what_became_visible_after_the_last_recheck_is_named_and_repaired(bridge: Any) -> None:
    end = await collected(bridge)
    bridge.add("log_behind", age_s=2000)
    findings, text = await compare(bridge, end - HOUR, end)
    assert not findings.equal
    assert findings.missing_ids == ["log_behind"]
    assert "1 missing\n  log_behind" in text
    assert "log_behind" not in bridge.destination.keys

    measured = len(bridge.measured)
    findings, text = await compare(bridge, end - HOUR, end, Repair.MISSING)
    assert findings.equal
    assert "1 missing, 1 repaired" in text
    assert bridge.destination.keys.count("log_behind") == 1
    assert len(bridge.destination.keys) == 21
    assert len(bridge.measured) == measured, "a metric backend refuses old points"
    assert (await compare(bridge, end - HOUR, end))[1].endswith("equal")


@pytest.mark.parametrize("age_s", [400, 3150])
async def test_of_many_only_what_differs_is_listed(bridge: Any, age_s: float) -> None:
    end = await collected(bridge, 2500)
    bridge.add("log_behind", age_s=age_s)
    before = bridge.requests
    findings, _ = await compare(bridge, end - HOUR, end)
    assert (findings.missing_ids, findings.source) == (["log_behind"], 2501)
    assert bridge.requests["list"] - before["list"] <= 8, "2,501 records are 26 pages"
    assert bridge.requests["usage"] <= 8


@pytest.mark.parametrize("to_inclusive", [True, False])
@pytest.mark.parametrize("visible", [True, False])
async def test_a_missing_record_on_an_edge_of_the_range_is_missing_in_one_range_only(
    bridge: Any, visible: bool, to_inclusive: bool
) -> None:
    if not visible:
        refuse_usage(bridge, Fault(status=403))
    end = await collected(bridge)
    if to_inclusive:
        bridge.store._bisect_to = bisect_right
    edge = end - 1800_000
    bridge.add("log_edge", age_s=(bridge.clock.now_ms() - edge) / 1000)
    assert (await compare(bridge, edge - HOUR // 4, edge))[0].missing_ids == []
    assert (await compare(bridge, edge, edge + HOUR // 4))[0].missing_ids == ["log_edge"]
    assert (await compare(bridge, edge, edge + 1))[0].missing_ids == ["log_edge"]


async def test_many_missing_ids_are_counted_and_the_first_are_named(bridge: Any) -> None:
    end = await collected(bridge)
    for number in range(60):
        bridge.add(f"log_behind_{number}", age_s=2000 - number)
    findings, text = await compare(bridge, end - HOUR, end)
    assert (findings.missing, len(findings.missing_ids)) == (60, NAMED_IDS)
    assert "  and 10 more" in text


async def test_a_very_dense_range_is_listed_in_parts(bridge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    end = await collected(bridge, 600)
    monkeypatch.setattr(windows, "WINDOW_PAGES", 2)
    refuse_usage(bridge, Fault(status=404))
    bridge.add("log_behind", age_s=2900)
    findings, _ = await compare(bridge, end - HOUR, end)
    assert (findings.missing_ids, findings.source, findings.missing) == (["log_behind"], 601, 1)


async def test_other_entry_types_are_not_counted_but_missed(bridge: Any) -> None:
    bridge.add("log_trigger", age_s=1000, type="trigger.message")
    end = await collected(bridge)
    findings, text = await compare(bridge, end - HOUR, end)
    assert (findings.source, findings.ledger.least) == (20, 20)
    assert text.endswith("equal")
    # A tool call and another entry behind the bridge's back: the count tells of one, the list names both.
    bridge.add("log_behind", age_s=2000)
    bridge.add("log_account", age_s=2001, type="connected_account.created")
    findings, _ = await compare(bridge, end - HOUR, end)
    assert sorted(findings.missing_ids) == ["log_account", "log_behind"]


async def test_an_entry_that_nobody_can_read_is_missing_until_it_is_set_aside(bridge: Any) -> None:
    end = await collected(bridge)
    for log_id, entry in (
        ("log_nameless", b'"log_nameless"'),
        ("log_named", b'{"id":"' + b"x" * 3000 + b'"}'),
    ):
        bridge.add(log_id, age_s=1000)
        object.__setattr__(bridge.store.get(log_id), "entry", entry)
    findings, _ = await compare(bridge, end - HOUR, end, Repair.MISSING)
    assert (findings.missing, findings.repaired, findings.put_aside) == (1, 0, {"unreadable": 1})
    assert not findings.equal
    assert "not delivered and set aside now: 1 unreadable" in "\n".join(findings.lines())


async def test_a_repair_that_the_destination_refuses_is_not_equal(bridge: Any) -> None:
    end = await collected(bridge)
    bridge.add("log_behind", age_s=2000)
    bridge.destination.refuse["log_behind"] = "too old"
    findings, text = await compare(bridge, end - HOUR, end, Repair.MISSING)
    assert not findings.equal
    assert "1 missing, 0 repaired" in text
    assert await bridge.set_aside() == {"log_behind": "refused"}


async def test_a_record_that_the_source_no_longer_has_is_no_loss(bridge: Any) -> None:
    end = await collected(bridge)
    store = bridge.store
    gone = store._by_id.pop("log_3")
    index = store._records.index(gone)
    del store._records[index], store._times[index]
    store._lists.clear()
    findings, text = await compare(bridge, end - HOUR, end)
    assert findings.equal
    assert "the source has 19 tool calls, the ledger 20: nothing is missing" in text


async def test_a_stopping_service_leaves_a_comparison_at_once(bridge: Any) -> None:
    end = await collected(bridge)
    bridge.stop.set()
    with pytest.raises(Stopped):
        await compare(bridge, end - HOUR, end)


# ── what is known, but not delivered ─────────────────────────────────────────────────────────────────────
async def test_what_is_set_aside_is_known_and_reported(bridge: Any) -> None:
    bridge.destination.refuse["log_3"] = "too large"
    bridge.add("log_trigger", age_s=1000, type="trigger.message")
    bridge.destination.refuse["log_trigger"] = "no"
    end = await collected(bridge)
    findings, text = await compare(bridge, end - HOUR, end)
    assert findings.equal
    assert (findings.source, findings.ledger.least) == (20, 20)
    assert text.splitlines()[1:] == ["  1 set aside: 1 refused"]


async def test_a_second_try_that_fails_again_stays_what_the_list_said_it_is(bridge: Any) -> None:
    bridge.add("log_trigger", age_s=1000, type="trigger.message")
    bridge.fault = lambda path, _number: Fault(status=404) if path.endswith("/log_trigger") else None
    end = await collected(bridge)
    assert (await bridge.ledger.set_aside("p"))[0].attempts > 1
    assert (await compare(bridge, end - HOUR, end))[1].splitlines()[0].endswith("equal")


# ── where the source's own count can't be had ────────────────────────────────────────────────────────────
@pytest.mark.parametrize("fault", [Fault(status=403), Fault(status=404), Fault(status=500)])
async def test_without_the_sources_own_count_it_is_listed(bridge: Any, fault: Fault) -> None:
    end = await collected(bridge)
    refuse_usage(bridge, fault)
    before = bridge.requests["usage"]
    findings, text = await compare(bridge, end - 2 * HOUR, end)
    assert findings.equal
    assert (findings.source, text.endswith("equal")) == (20, True)
    asked = bridge.requests["usage"] - before
    assert asked == (3 if fault.status == 500 else 1), "it is not asked for every part"
    bridge.add("log_behind", age_s=2000)
    assert (await compare(bridge, end - HOUR, end))[0].missing_ids == ["log_behind"]


async def test_a_key_that_is_not_accepted_is_an_error_and_not_a_finding(bridge: Any) -> None:
    end = await collected(bridge)
    refuse_usage(bridge, Fault(status=401))
    with pytest.raises(SourceRefused):
        await compare(bridge, end - HOUR, end)


async def test_with_filters_only_what_they_let_through_is_compared(bridge: Any) -> None:
    filtered(bridge, Filter(field="toolkit_slug", operator="==", value="gmail"))
    bridge.add("log_other", age_s=100, metadata={"tool_slug": "SLACK_SEND", "toolkit_slug": "slack"})
    end = await collected(bridge)
    findings, _ = await compare(bridge, end - HOUR, end)
    assert (findings.equal, findings.source, findings.ledger.least) == (True, 20, 20)
    bridge.add("log_other_2", age_s=900, metadata={"tool_slug": "SLACK_SEND", "toolkit_slug": "slack"})
    bridge.add("log_behind", age_s=2000)
    assert (await compare(bridge, end - HOUR, end))[0].missing_ids == ["log_behind"]
    assert bridge.requests["usage"] == 0


# ── what was never collected, and what is not yet ────────────────────────────────────────────────────────
@pytest.mark.parametrize("visible", [True, False])
async def test_what_was_never_collected_is_not_listed_id_by_id(bridge: Any, visible: bool) -> None:
    if not visible:
        refuse_usage(bridge, Fault(status=403))
    end = await collected(bridge)
    bridge.add("log_before", age_s=5 * 3600)
    findings, text = await compare(bridge, end - DAY, end)
    assert not findings.equal
    assert findings.missing == 0
    assert "never collected: 1 tool call; `otel-bridge backfill --from 2026-" in text
    assert "log_before" not in text

    start = (await bridge.ledger.windows("p", Lane.LIVE))[0].from_ms
    await bridge.ledger.add_windows([Window("p", Lane.BACKFILL, end - DAY, start)])
    assert "never collected" in (await compare(bridge, end - DAY, end))[1], "planned is not collected"

    async def nothing() -> None:
        pass

    await bridge.worker.run_backfill(nothing)
    assert (await compare(bridge, end - DAY, end))[0].equal


async def test_time_without_records_that_was_never_collected_lacks_nothing(bridge: Any) -> None:
    end = await collected(bridge)
    bridge.add("log_behind", age_s=2000)
    findings, text = await compare(bridge, end - DAY, end, Repair.MISSING)
    assert findings.equal
    assert "never collected" not in text


async def test_what_the_service_will_come_to_is_called_so(bridge: Any) -> None:
    await collected(bridge)
    await later(bridge, 60)
    bridge.add("log_new", age_s=1)
    now = bridge.clock.now_ms()
    findings, text = await compare(bridge, now - HOUR, now)
    assert not findings.equal
    assert "not collected yet: " in text
    assert "1 tool call; `otel-bridge run` goes on there" in text


async def test_late_records_that_rechecks_will_find_are_told_apart(bridge: Any) -> None:
    await bridge.once()
    now = bridge.clock.now_ms()
    bridge.add("log_late", age_s=10)
    findings, text = await compare(bridge, now - HOUR, now)
    assert findings.missing_ids == ["log_late"]
    assert "are still looked for by re-checks" in text


# ── ids no longer kept ───────────────────────────────────────────────────────────────────────────────────
async def forget(bridge: Any, before_ms: int) -> None:
    await bridge.ledger.prune("p", before_ms, bridge.clock.now_ms())


async def test_forgotten_ids_are_compared_by_counts_and_never_called_missing(bridge: Any) -> None:
    end = await collected(bridge)
    await forget(bridge, end)
    findings, text = await compare(bridge, end - HOUR, end)
    assert (findings.equal, text.endswith("equal")) == (True, True), "the count is still exact"

    # Within the time of what was forgotten, and outside of it.
    bridge.add("log_behind", age_s=3190)
    bridge.add("log_after", age_s=1000)
    findings, text = await compare(bridge, end - HOUR, end, Repair.MISSING)
    assert not findings.equal
    assert (findings.missing_ids, findings.repaired) == (["log_after"], 1)
    assert "are no longer kept; the source has 21 tool calls, the ledger counted 20: they differ" in text
    assert "log_behind" not in bridge.destination.keys

    findings, text = await compare(bridge, end - HOUR, end, Repair.AGAIN)
    assert findings.equal
    assert "21 records delivered again" in text
    assert "log_behind" in bridge.destination.keys
    findings, text = await compare(bridge, end - HOUR, end)
    assert findings.equal
    assert "the ledger counted between 21 and 41" in text


@pytest.mark.parametrize("visible", [True, False])
async def test_a_range_that_cuts_through_what_was_forgotten_has_bounds(bridge: Any, visible: bool) -> None:
    end = await collected(bridge)
    await forget(bridge, end)
    if not visible:
        refuse_usage(bridge, Fault(status=403))
    middle = bridge.clock.now_ms() - 3190_000
    findings, text = await compare(bridge, middle, end)
    assert findings.equal
    assert findings.missing == 0
    assert "the ledger between 0 and 20: nothing is missing" in text
    assert "are no longer kept; the source has 10 tool calls" in text


async def test_days_that_nobody_has_counted_are_said_to_be_unknown(bridge: Any) -> None:
    end = await collected(bridge)
    await forget(bridge, end)
    forgotten = bridge.ledger._projects["p"].forgotten
    for day_ms, day in forgotten.items():
        forgotten[day_ms] = type(day)(day.from_ms, day.to_ms, None)
    findings, text = await compare(bridge, end - HOUR, end)
    assert not findings.equal
    assert "the ledger at least 0: not equal" in text
    assert "an older version did not count them, so nothing can be said" in text


async def test_what_is_pruned_during_the_comparison_is_not_called_missing(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = await collected(bridge)
    refuse_usage(bridge, Fault(status=403))
    known = bridge.ledger.known

    async def known_after_pruning(project: str, log_ids: Any) -> Any:
        await forget(bridge, end)
        return await known(project, log_ids)

    monkeypatch.setattr(bridge.ledger, "known", known_after_pruning)
    findings, _ = await compare(bridge, end - HOUR, end, Repair.MISSING)
    assert (findings.missing, findings.repaired) == (0, 0)
    assert len(bridge.destination.keys) == 20


# ── the daily check ──────────────────────────────────────────────────────────────────────────────────────
def daily_check(bridge: Any, every_ms: int = DAY) -> DailyCheck:
    return DailyCheck(bridge.context, bridge.worker.once_pipeline(), every_ms)


async def result_of(bridge: Any) -> Verification | None:
    (status,) = await bridge.ledger.status(["p"])
    result: Verification | None = status.verification
    return result


async def test_once_a_day_what_was_sealed_is_compared_and_repaired(
    bridge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    end = await collected(bridge)
    check = daily_check(bridge)
    bridge.add("log_behind", age_s=2000)
    await check.step()
    assert await result_of(bridge) is None, "the project's own time of the day has not come"
    start = (await bridge.ledger.windows("p", Lane.LIVE))[0].from_ms
    await later(bridge, DAY / 1000)
    with caplog.at_level("INFO", logger="otel_bridge"):
        await check.step()
    result = await result_of(bridge)
    assert result is not None
    assert (result.from_ms, result.to_ms) == (start, end)
    assert (result.source, result.ledger, result.missing, result.repaired) == (21, 20, 1, 1)
    assert "log_behind" in bridge.destination.keys
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "1 record missing, 1 repaired" in warning.getMessage()

    before = bridge.requests
    await check.step()
    assert bridge.requests == before
    for _ in range(3):
        await bridge.once()
        await later(bridge, DAY / 3000)
    await check.step()
    again = await result_of(bridge)
    assert again is not None
    assert again.from_ms == end, "it begins where the last one ended"
    assert again.missing == 0


async def test_projects_check_at_different_times_of_the_day(bridge: Any) -> None:
    due = {}
    for name in ("shop", "desk", "ops"):
        context = replace(bridge.context, project=name)
        check = DailyCheck(context, bridge.worker.once_pipeline(), DAY)
        await check.step()
        assert check._due_ms is not None
        due[name] = check._due_ms
    now = bridge.clock.now_ms()
    assert len(set(due.values())) == 3
    assert all(now < each <= now + DAY for each in due.values())


async def test_a_check_that_fails_is_made_again_and_ends_nothing(
    bridge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await collected(bridge)
    check = daily_check(bridge)
    await later(bridge, DAY / 1000)
    bridge.add("log_behind", age_s=2000 + DAY / 1000)
    bridge.destination.failures = [DestinationUnavailable("no connection")]
    await check.step()
    assert await result_of(bridge) is None
    assert "made again: no connection" in caplog.text
    await later(bridge, 601)
    await check.step()
    assert "log_behind" in bridge.destination.keys
    result = await result_of(bridge)
    assert result is not None
    assert result.repaired == 1


async def test_a_part_that_was_forgotten_meanwhile_is_checked_by_counts(
    bridge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    end = await collected(bridge)
    await later(bridge, DAY / 1000)
    await forget(bridge, end)
    bridge.add("log_behind", age_s=3190 + DAY / 1000)
    await daily_check(bridge).step()
    result = await result_of(bridge)
    assert result is not None
    assert (result.source, result.ledger, result.missing) == (21, 20, 0)
    assert "no longer kept differ" in caplog.text


async def test_a_clock_set_back_does_not_stop_the_checks(bridge: Any) -> None:
    bridge.clock.step_wall_clock(100 * DAY)
    check = daily_check(bridge)
    await check.step()
    bridge.clock.step_wall_clock(-100 * DAY)
    await check.step()
    assert check._due_ms is not None
    assert check._due_ms <= bridge.clock.now_ms() + DAY


async def test_a_check_with_nothing_sealed_waits(bridge: Any) -> None:
    await bridge.ledger.commit("p", window=Window("p", Lane.LIVE, 0, HOUR, 1, 1, 0))
    await daily_check(bridge).step()
    assert await result_of(bridge) is None


async def test_a_check_turned_off_asks_nothing(bridge: Any) -> None:
    await collected(bridge)
    await later(bridge, 2 * DAY / 1000)
    before = bridge.requests
    await daily_check(bridge, every_ms=0).step()
    assert bridge.requests == before
