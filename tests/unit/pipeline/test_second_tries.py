"""A record whose detail can't be had is tried again, and in the end delivered from what the list shows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from otel_bridge.emulator import Fault
from otel_bridge.errors import AnswerTooLarge, RecordUnreadable, SourceError, SourceRefused
from otel_bridge.ledger import Reason, SetAside
from otel_bridge.pipeline.setting_aside import FEW_TRIES, MOST_TRIES, put_aside

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = "composio.detail.missing"
MINUTE_S = 60
DAY_S = 24 * 3600


def detail_of(log_id: str, **fault: Any) -> Callable[[str, int], Fault | None]:
    return lambda path, _number: Fault(**fault) if path.endswith(f"/{log_id}") else None


def any_detail(**fault: Any) -> Callable[[str, int], Fault | None]:
    return lambda path, _number: Fault(**fault) if "log_" in path.rpartition("/")[2] else None


async def later(bridge: Any, seconds: float) -> None:
    await asyncio.create_task(bridge.clock.sleep(seconds))


async def until_nothing_is_due(bridge: Any, *, within_s: float) -> int:
    """Run up to now again and again until no second try will come any more; gives how often it ran."""
    end_s = bridge.clock.monotonic_s() + within_s
    for number in range(100):
        await bridge.once()
        aside = await bridge.ledger.set_aside("p")
        due = [each.retry_ms for each in aside if each.retry_ms is not None]
        if not due:
            return number + 1
        await later(bridge, max(0.0, (min(due) - bridge.clock.now_ms()) / 1000) + 1)
        assert bridge.clock.monotonic_s() <= end_s, "the tries take too long"
    raise AssertionError("the tries never end")


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────
async def test_one_run_tries_all_that_was_put_back(bridge: Any) -> None:
    """However many there are, and although some fail again."""
    names = [f"log_{number:04}" for number in range(1_000)]
    now_ms = bridge.clock.now_ms()
    for number, name in enumerate(names):
        bridge.add(name, age_s=3_000 - number)
    await bridge.ledger.commit(
        "p",
        set_aside=[
            SetAside(name, now_ms - 3_000_000 + 1_000 * number, Reason.REFUSED, "too old", 1, now_ms, None)
            for number, name in enumerate(names)
        ],
    )
    assert await bridge.once() == [], "what was refused waits for a person"
    assert await bridge.ledger.put_back("p", None, bridge.clock.now_ms()) == 1_000
    bridge.destination.refuse = dict.fromkeys(names[100:110], "still too old")
    delivered = await bridge.once()
    assert sorted(delivered) == [name for name in names if name not in bridge.destination.refuse]
    assert await bridge.set_aside() == dict.fromkeys(names[100:110], "refused")
    assert bridge.requests["detail"] == 1_000


async def test_one_that_fails_again_does_not_keep_the_others_from_being_tried(bridge: Any) -> None:
    names = [f"log_{number:03}" for number in range(450)]
    now_ms = bridge.clock.now_ms()
    for name in names:
        bridge.add(name)
    await bridge.ledger.commit(
        "p",
        set_aside=[
            SetAside(name, now_ms - 60_000, Reason.SOURCE_FAILED, "500", 1, now_ms, now_ms) for name in names
        ],
    )
    bridge.fault = detail_of("log_000", status=500)
    assert sorted(await bridge.once()) == names[1:]
    assert await bridge.set_aside() == {"log_000": "source_failed"}


def test_the_tries_end() -> None:
    for tries in (1, FEW_TRIES, MOST_TRIES):
        aside = None
        for number in range(tries):
            aside = put_aside("log_a", 0, Reason.SOURCE_FAILED, "500", now_ms=0, before=aside, tries=tries)
            assert (aside.retry_ms is None) == (number + 1 == tries)


# ── delivered from what the list shows ───────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("status", "why", "tries", "within_s"),
    [
        (404, "not_found", FEW_TRIES, 5 * MINUTE_S),
        (400, "refused", FEW_TRIES, 5 * MINUTE_S),
        (403, "refused", FEW_TRIES, 5 * MINUTE_S),
        (410, "refused", FEW_TRIES, 5 * MINUTE_S),
        (500, "failed", MOST_TRIES, 4 * DAY_S),
    ],
)
async def test_once_the_tries_are_over_it_is_what_the_list_shows_and_says_so(
    bridge: Any, status: int, why: str, tries: int, within_s: float
) -> None:
    bridge.add("log_bad", status="failed", metadata={"tool_slug": "GMAIL_SEND_EMAIL"})
    bridge.add("log_good")
    bridge.fault = detail_of("log_bad", status=status)
    assert await until_nothing_is_due(bridge, within_s=within_s) == tries
    assert sorted(bridge.destination.keys) == ["log_bad", "log_good"]
    assert await bridge.set_aside() == {}
    span = bridge.span("log_bad")
    assert span.attributes[MISSING] == why
    assert span.attributes["gen_ai.tool.name"] == "GMAIL_SEND_EMAIL"
    assert MISSING not in bridge.span("log_good").attributes


@pytest.mark.parametrize(("fault", "why"), [({"cut_json": True}, "failed"), ({"html": True}, "failed")])
async def test_one_whose_body_is_broken_for_good_is_delivered_too(
    bridge: Any, fault: dict[str, Any], why: str
) -> None:
    bridge.add("log_bad")
    bridge.fault = detail_of("log_bad", **fault)
    await until_nothing_is_due(bridge, within_s=4 * DAY_S)
    assert bridge.destination.keys == ["log_bad"]
    assert bridge.span("log_bad").attributes[MISSING] == why


async def test_one_that_can_not_be_read_is_delivered_too(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.add("log_bad")

    async def unreadable(log_id: str, **_others: Any) -> Any:
        raise RecordUnreadable(f"the record {log_id} can't be read")

    monkeypatch.setattr(bridge.client, "detail", unreadable)
    await until_nothing_is_due(bridge, within_s=5 * MINUTE_S)
    assert bridge.destination.keys == ["log_bad"]
    assert bridge.span("log_bad").attributes[MISSING] == "unreadable"


async def test_one_that_is_too_large_is_delivered_at_once(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.add("log_bad")
    bridge.add("log_good")
    detail = bridge.client.detail

    async def too_large(log_id: str, **others: Any) -> Any:
        if log_id == "log_bad":
            raise AnswerTooLarge("a body of more than 20,000,000 bytes")
        return await detail(log_id, **others)

    monkeypatch.setattr(bridge.client, "detail", too_large)
    assert sorted(await bridge.once()) == ["log_bad", "log_good"]
    assert bridge.span("log_bad").attributes[MISSING] == "too_large"
    assert await bridge.set_aside() == {}


async def test_a_later_detail_changes_nothing(bridge: Any) -> None:
    bridge.add("log_bad")
    bridge.fault = detail_of("log_bad", status=404)
    await until_nothing_is_due(bridge, within_s=5 * MINUTE_S)
    assert bridge.destination.keys == ["log_bad"]
    bridge.fault = lambda _path, _number: None
    for _ in range(4):
        await later(bridge, 600)
        assert await bridge.once() == []
    bridge.worker = bridge.new_worker()
    assert await bridge.once() == []


async def test_one_that_is_in_no_list_either_is_named_and_waits_for_a_person(bridge: Any) -> None:
    bridge.add("log_good")
    now_ms = bridge.clock.now_ms()
    gone = SetAside("log_gone", now_ms - 60_000, Reason.NOT_FOUND, "404", 1, now_ms, now_ms)
    await bridge.ledger.commit("p", set_aside=[gone])
    await until_nothing_is_due(bridge, within_s=5 * MINUTE_S)
    assert bridge.destination.keys == ["log_good"]
    assert await bridge.set_aside() == {"log_gone": "not_found"}


async def test_a_detail_that_comes_in_time_is_delivered_whole(bridge: Any) -> None:
    bridge.add("log_bad", context={"request_id": "r"})
    bridge.fault = detail_of("log_bad", status=404)
    assert await bridge.once() == []
    bridge.fault = lambda _path, _number: None
    await later(bridge, 30)
    assert await bridge.once() == ["log_bad"]
    assert MISSING not in bridge.span("log_bad").attributes
    assert bridge.span("log_bad").attributes["composio.request.id"] == "r"


# ── a source that is to blame ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("status", [400, 403])
async def test_a_key_that_may_list_and_not_read_stops_the_project_however_few_come_at_a_time(
    bridge: Any, status: int
) -> None:
    bridge.fault = any_detail(status=status)
    running = asyncio.create_task(bridge.worker.run())
    for number in range(12):
        bridge.add(f"log_{number:02}", age_s=1)
        await later(bridge, 10)
    assert len(await bridge.set_aside()) <= 2, "it takes three to tell a source from its records"
    (told,) = await bridge.ledger.status(["p"])
    assert str(status) in told.last_error
    asked = bridge.requests["detail"]
    await later(bridge, 3600)
    assert bridge.requests["detail"] <= asked + 12 * 62, "it is asked again once a minute"
    assert len(await bridge.set_aside()) <= 2
    assert bridge.destination.keys == []
    bridge.fault = lambda _path, _number: None
    await later(bridge, 3 * 3600)
    bridge.stop.set()
    await running
    assert sorted(bridge.destination.keys) == [f"log_{number:02}" for number in range(12)]
    assert all(MISSING not in bridge.span(each).attributes for each in bridge.destination.keys)


async def test_records_that_need_no_detail_do_not_speak_for_the_key(open_bridge: Any) -> None:
    async with open_bridge(detail="failed") as bridge:
        for number in range(12):
            bridge.add(f"log_{number:02}", status="failed" if number % 3 == 0 else "success")
        bridge.fault = any_detail(status=403)
        with pytest.raises(SourceRefused):
            await bridge.once()
        assert await bridge.set_aside() == {}
        bridge.fault = lambda _path, _number: None
        assert len(await bridge.once()) == 12


async def test_what_was_put_back_while_a_key_may_not_read_is_kept(bridge: Any) -> None:
    names = [f"log_{number}" for number in range(20)]
    for name in names:
        bridge.add(name)
    now_ms = bridge.clock.now_ms()
    aside = [
        SetAside(name, now_ms - 60_000, Reason.SOURCE_FAILED, "403", FEW_TRIES - 1, now_ms, now_ms)
        for name in names
    ]
    await bridge.ledger.commit("p", set_aside=aside)
    bridge.fault = any_detail(status=403)
    with pytest.raises(SourceRefused):
        await bridge.once()
    assert bridge.destination.keys == []
    bridge.fault = lambda _path, _number: None
    await bridge.once()
    assert sorted(bridge.destination.keys) == sorted(names)
    assert all(MISSING not in bridge.span(each).attributes for each in names)


async def test_refusals_with_a_detail_between_them_are_of_the_records(bridge: Any) -> None:
    bad = {f"log_{number:02}" for number in range(0, 40, 2)}
    for number in range(40):
        bridge.add(f"log_{number:02}", age_s=100 - number)
    bridge.fault = lambda path, _n: Fault(status=403) if path.rpartition("/")[2] in bad else None
    assert len(await bridge.once()) == 20
    assert set(await bridge.set_aside()) == bad


async def test_a_source_that_fails_for_every_second_try_is_no_end(bridge: Any) -> None:
    """They have shown before that they fail by themselves, so nothing else waits for them."""
    for number in range(12):
        bridge.add(f"log_{number:02}")
    now_ms = bridge.clock.now_ms()
    aside = [
        SetAside(f"log_{number:02}", now_ms - 60_000, Reason.SOURCE_FAILED, "500", 1, now_ms, now_ms)
        for number in range(12)
    ]
    await bridge.ledger.commit("p", set_aside=aside)
    bridge.fault = any_detail(status=500)
    try:
        await bridge.once()
    except SourceError as error:
        pytest.fail(f"{error}")
    tried = await bridge.ledger.set_aside("p")
    assert {each.attempts for each in tried} == {2}
