"""What every ledger promises about records, delivered or set aside, and about its state for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.ledger.ledger_samples import HOUR, KINDS, T0, aside, opened, record, window

from otel_bridge.ledger import DeliveredRecord, Lane, Ledger, ProjectStatus, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as each:
        yield each


async def test_what_was_delivered_is_known_with_its_identity(ledger: Ledger) -> None:
    root, child = record("log_-jRTWClpBoVo"), record("log_b", 1, depth=1)
    await ledger.commit("p", delivered=[root, child])
    assert await ledger.known("p", ["log_b", "log_c"]) == {"log_b"}
    assert await ledger.known("q", ["log_b"]) == set()
    found = await ledger.identities("p", ["log_c", "log_b", root.log_id])
    assert found == {root.log_id: root, "log_b": child}
    assert await ledger.identities("q", ["log_b"]) == {}


async def test_many_ids_are_asked_for_at_once(ledger: Ledger) -> None:
    records = [record(f"log_{number}", number) for number in range(2_000)]
    await ledger.commit("p", delivered=records)
    ids = [each.log_id for each in records]
    assert await ledger.known("p", [*ids, *ids, "log_other"]) == set(ids)
    assert await ledger.identities("p", ids) == {each.log_id: each for each in records}
    assert await ledger.known("p", []) == set()


async def test_an_id_that_is_there_stays_as_it_was_delivered_first(ledger: Ledger) -> None:
    first = record("a", 1)
    again = replace(record("a", 2), trace_id=b"x" * 16)
    await ledger.commit("p", delivered=[first, again])
    await ledger.commit("p", delivered=[again, record("b")])
    assert await ledger.identities("p", ["a"]) == {"a": first}
    assert (await ledger.status(["p"]))[0].delivered == 2


@pytest.mark.parametrize(
    "log_id", ["log_\ud800", "log_\x00nul", "'; DROP TABLE delivered; --", "é😀", "x" * 512]
)
async def test_any_text_is_an_id(ledger: Ledger, log_id: str) -> None:
    await ledger.commit("p", delivered=[record(log_id)], set_aside=[aside(log_id + "2")])
    assert await ledger.known("p", [log_id, log_id + "2"]) == {log_id, log_id + "2"}
    assert list(await ledger.identities("p", [log_id])) == [log_id]
    assert [each.log_id for each in await ledger.set_aside("p")] == [log_id + "2"]


async def test_an_identity_may_be_empty_where_a_record_makes_no_span(ledger: Ledger) -> None:
    spanless = DeliveredRecord("log_a", T0, b"", b"")
    await ledger.commit("p", delivered=[spanless])
    assert await ledger.identities("p", ["log_a"]) == {"log_a": spanless}


async def test_a_time_beyond_64_bits_does_not_cost_the_record(ledger: Ledger) -> None:
    far = replace(record("a"), time_ms=10**300)
    long_ago = replace(aside("b"), time_ms=-(10**300))
    await ledger.commit("p", delivered=[far], set_aside=[long_ago])
    assert await ledger.known("p", ["a", "b"]) == {"a", "b"}
    assert (await ledger.identities("p", ["a"]))["a"].time_ms == 2**62
    assert (await ledger.set_aside("p"))[0].time_ms == -(2**62)


async def test_what_is_set_aside_is_listed_oldest_first_and_by_when_it_is_due(ledger: Ledger) -> None:
    first, second, third = aside("c", 1, retry_ms=50), aside("a", 2), aside("b", 2, retry_ms=40)
    await ledger.commit("p", set_aside=[third, second, first])
    assert await ledger.set_aside("p") == [first, second, third]
    assert await ledger.set_aside("p", limit=2) == [first, second]
    assert await ledger.set_aside("p", due_ms=40) == [third]
    assert await ledger.set_aside("p", due_ms=50) == [first, third]
    assert await ledger.set_aside("p", due_ms=50, limit=1) == [first]
    assert await ledger.set_aside("q") == []
    assert await ledger.known("p", ["a", "b", "c", "d"]) == {"a", "b", "c"}


async def test_a_record_set_aside_again_keeps_when_it_was_first(ledger: Ledger) -> None:
    await ledger.commit("p", set_aside=[aside("a", 1, since_ms=T0)])
    again = aside(
        "a", 2, reason=Reason.SOURCE_FAILED, message="503", attempts=2, since_ms=T0 + 9, retry_ms=T0 + 99
    )
    await ledger.commit("p", set_aside=[again])
    assert await ledger.set_aside("p") == [replace(again, since_ms=T0)]


async def test_a_delivered_record_leaves_the_set_aside_list_and_never_enters_it(ledger: Ledger) -> None:
    await ledger.commit("p", set_aside=[aside("a"), aside("b")])
    await ledger.commit("p", delivered=[record("a")])
    assert [each.log_id for each in await ledger.set_aside("p")] == ["b"]
    await ledger.commit("p", set_aside=[aside("a")])
    await ledger.commit("p", delivered=[record("c")], set_aside=[aside("c")])
    assert [each.log_id for each in await ledger.set_aside("p")] == ["b"]


async def test_the_same_id_in_two_projects_is_two_records(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record("a")])
    await ledger.commit("q", set_aside=[aside("a")])
    assert [each.log_id for each in await ledger.set_aside("q")] == ["a"]
    assert await ledger.set_aside("p") == []
    assert await ledger.identities("q", ["a"]) == {}


async def test_what_is_put_back_is_due_at_once(ledger: Ledger) -> None:
    await ledger.commit("p", set_aside=[aside("a"), aside("b", retry_ms=T0 + HOUR), aside("c")])
    await ledger.commit("q", set_aside=[aside("a")])
    assert await ledger.put_back("p", ["a", "a", "other"], T0) == 1
    assert [each.log_id for each in await ledger.set_aside("p", due_ms=T0)] == ["a"]
    assert await ledger.put_back("p", None, T0) == 3
    assert [each.log_id for each in await ledger.set_aside("p", due_ms=T0)] == ["a", "b", "c"]
    assert await ledger.set_aside("q", due_ms=T0) == []
    assert await ledger.put_back("p", [], T0) == 0
    assert await ledger.put_back("nobody", None, T0) == 0


async def test_status_of_a_project_that_nothing_is_known_of(ledger: Ledger) -> None:
    assert await ledger.status(["new"]) == [ProjectStatus("new", None, None, 0, {}, 0, None, None, None)]
    assert await ledger.status([]) == []


async def test_status_says_how_far_a_project_is(ledger: Ledger) -> None:
    await ledger.commit("p", delivered=[record("a"), record("b")], window=window(0, 1))
    await ledger.commit("p", set_aside=[aside("c"), aside("d", reason=Reason.REFUSED), aside("e")])
    await ledger.commit("p", window=window(1, 2, due_ms=5))
    await ledger.commit("p", window=window(2, 3))
    await ledger.add_windows([window(0, 1, lane=Lane.BACKFILL, passes=0, due_ms=0)])
    [status] = await ledger.status(["p"])
    assert status == ProjectStatus(
        project="p",
        watermark_ms=T0 + 3 * HOUR,
        sealed_ms=T0 + HOUR,
        delivered=2,
        set_aside={"not_found": 2, "refused": 1},
        open_windows=2,
        last_error=None,
        last_error_ms=None,
        last_success_ms=None,
    )


async def test_nothing_is_sealed_before_the_lanes_first_window_is(ledger: Ledger) -> None:
    await ledger.commit("p", window=window(0, 1, due_ms=5))
    await ledger.commit("p", window=window(1, 2))
    assert (await ledger.status(["p"]))[0].sealed_ms is None


async def test_status_lists_the_projects_asked_for_first_and_then_the_others(ledger: Ledger) -> None:
    for project in ("z", "b", "a"):
        await ledger.note_success(project, T0)
    assert [each.project for each in await ledger.status(["new", "z"])] == ["new", "z", "a", "b"]


async def test_an_error_stands_until_the_next_success(ledger: Ledger) -> None:
    await ledger.note_success("p", T0)
    await ledger.note_error("p", "the source answered 503", T0 + 5)
    [status] = await ledger.status(["p"])
    assert (status.last_error, status.last_error_ms) == ("the source answered 503", T0 + 5)
    assert status.last_success_ms == T0
    await ledger.note_success("p", T0 + 9)
    [status] = await ledger.status(["p"])
    assert (status.last_error, status.last_error_ms, status.last_success_ms) == (None, None, T0 + 9)


async def test_messages_are_kept_on_one_line_of_bounded_length(ledger: Ledger) -> None:
    await ledger.note_error("p", "two\nlines " + "x" * 10_000, T0)
    await ledger.commit("p", set_aside=[aside("a", message="lone \ud800\n and more")])
    [status] = await ledger.status(["p"])
    assert status.last_error is not None
    assert len(status.last_error) == 500
    assert status.last_error.startswith("two lines xxx")
    assert (await ledger.set_aside("p"))[0].message == "lone ? and more"
