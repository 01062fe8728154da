"""Where calls belong, as their applications say, and what was decided by it: the same from every ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.ledger.ledger_samples import DAY, HOUR, KINDS, T0, opened, record, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import (
    Correlation,
    CorrelationKind,
    CorrelationOutcome,
    DeliveredRecord,
    FailedAttempt,
    Ledger,
    Recollection,
    Registration,
    RemoteSpan,
    Settled,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

LOG, REQUEST = CorrelationKind.LOG_ID, CorrelationKind.REQUEST_ID
SPAN = RemoteSpan(b"t" * 16, b"s" * 8)
OTHER = RemoteSpan(b"o" * 16, b"s" * 8, sampled=False)


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as each:
        yield each


def correlation(
    key: str, span: RemoteSpan = SPAN, kind: CorrelationKind = LOG, expires_ms: int = T0 + DAY
) -> Correlation:
    return Correlation(kind, key, span, expires_ms)


async def registered(ledger: Ledger, *given: Correlation, now_ms: int = T0) -> list[str]:
    return [each.outcome.value for each in await ledger.register(given, now_ms)]


async def recalled(
    ledger: Ledger,
    *log_ids: str,
    request_ids: Sequence[str] = (),
    keys: Sequence[bytes] = (),
    now_ms: int = T0,
    project: str = "p",
) -> Recollection:
    return await ledger.recall(
        project, log_ids=log_ids, request_ids=request_ids, attempt_keys=keys, now_ms=now_ms
    )


async def test_a_correlation_is_found_by_its_key_and_kind_alone(ledger: Ledger) -> None:
    given = [correlation("a"), correlation("r", OTHER, REQUEST)]
    assert await registered(ledger, *given) == ["registered", "registered"]
    found = await recalled(ledger, "a", "b", "r", request_ids=["r", "a"])
    assert found == Recollection(by_log_id={"a": SPAN}, by_request_id={"r": OTHER})
    assert (await recalled(ledger, "a", project="q")).by_log_id == {"a": SPAN}
    assert await recalled(ledger) == Recollection()


@pytest.mark.parametrize("key", ["log_\ud800", "\x00", "'; DROP TABLE correlations; --", "é😀", "x" * 512])
async def test_any_text_is_a_key(ledger: Ledger, key: str) -> None:
    assert await registered(ledger, correlation(key, kind=REQUEST)) == ["registered"]
    assert (await recalled(ledger, request_ids=[key])).by_request_id == {key: SPAN}


async def test_the_first_span_stays_and_the_same_again_only_lives_longer(ledger: Ledger) -> None:
    first = correlation("a", expires_ms=T0 + 10)
    given = [
        first,
        correlation("a", OTHER),
        replace(first, expires_ms=T0 + 20),
        replace(first, expires_ms=T0),
    ]
    assert await registered(ledger, *given) == ["registered", "conflict", "known", "known"]
    assert await registered(ledger, correlation("a", OTHER), first) == ["conflict", "known"]
    assert (await recalled(ledger, "a", now_ms=T0 + 19)).by_log_id == {"a": SPAN}
    assert (await recalled(ledger, "a", now_ms=T0 + 20)).by_log_id == {}


async def test_an_expired_correlation_is_as_good_as_none(ledger: Ledger) -> None:
    await registered(ledger, correlation("a", expires_ms=T0 + 10))
    assert await registered(ledger, correlation("a", OTHER), now_ms=T0 + 10) == ["registered"]
    assert (await recalled(ledger, "a", now_ms=T0 + 10)).by_log_id == {"a": OTHER}


async def test_what_expires_without_a_record_is_counted(ledger: Ledger) -> None:
    given = [correlation(key, expires_ms=T0 + n) for n, key in enumerate("abcd", 1)]
    await registered(ledger, *given, correlation("r", kind=REQUEST, expires_ms=T0 + 3))
    await ledger.settle("p", [Settled("b", SPAN)], used=[(LOG, "b"), (LOG, "other")], now_ms=T0)
    assert await ledger.expire_correlations(T0) == 0
    assert await ledger.expire_correlations(T0 + 3) == 3
    assert await ledger.expire_correlations(T0 + 3) == 0
    assert set((await recalled(ledger, *"abcd", request_ids=["r"])).by_log_id) == {"d"}


async def test_more_than_are_kept_push_out_the_used_ones_and_then_the_oldest(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in KINDS:
        monkeypatch.setattr(f"otel_bridge.ledger.{kind}_correlations.MOST_CORRELATIONS", 3)
    await registered(ledger, *(correlation(key, expires_ms=T0 + DAY + n) for n, key in enumerate("abc")))
    await ledger.settle("p", [Settled("c", SPAN)], used=[(LOG, "c")], now_ms=T0)
    await registered(ledger, correlation("d", expires_ms=T0 + 2 * DAY))
    assert set((await recalled(ledger, *"abcd")).by_log_id) == {"a", "b", "d"}
    await registered(ledger, *(correlation(f"e{n}", expires_ms=T0 + 3 * DAY) for n in range(10)))
    assert len((await recalled(ledger, *"abcd", *(f"e{n}" for n in range(10)))).by_log_id) == 3


async def test_one_for_a_record_that_went_out_is_late_unless_it_stands_there_already(ledger: Ledger) -> None:
    placed = DeliveredRecord("placed", T0, SPAN.trace_id, b"x" * 8, SPAN.span_id)
    await ledger.commit("q", delivered=[placed, record("root"), record("child", depth=1)])
    answers = await ledger.register([correlation(key) for key in ("placed", "root", "child")], T0 + 5)
    late = Registration(CorrelationOutcome.LATE, "q")
    assert answers == [Registration(CorrelationOutcome.KNOWN), late, late]
    assert await registered(ledger, correlation("root", kind=REQUEST)) == ["registered"]
    found = await recalled(ledger, "placed", "root", project="q")
    assert (found.by_log_id, found.correlated_ms) == ({}, T0 + 5)
    assert (await recalled(ledger, project="p")).correlated_ms is None


async def test_one_for_a_record_that_is_about_to_go_out_is_late_as_well(ledger: Ledger) -> None:
    await ledger.settle("p", [Settled("a"), Settled("b", SPAN)], now_ms=T0)
    answers = await ledger.register([correlation("a"), correlation("b"), correlation("b", OTHER)], T0)
    outcomes = [each.outcome.value for each in answers]
    assert outcomes == ["late", "known", "late"]
    assert [each.project for each in answers] == ["p", None, "p"]


async def test_what_is_settled_stays(ledger: Ledger) -> None:
    first, second = Settled("a", SPAN), Settled("b", None, retries=True, retry_of=(b"t" * 16, b"r" * 8))
    assert await ledger.settle("p", [first, second], now_ms=T0) == {"a": first, "b": second}
    again = [Settled("a", OTHER), replace(second, remote=SPAN, retry_of=None), Settled("c", OTHER)]
    assert await ledger.settle("p", again, now_ms=T0) == {"a": first, "b": second, "c": Settled("c", OTHER)}
    assert (await recalled(ledger, *"abcd")).settled == {"a": first, "b": second, "c": again[2]}
    assert (await recalled(ledger, *"abcd", project="q")).settled == {}
    assert await ledger.settle("p", [], now_ms=T0) == {}


async def test_an_ancestor_is_settled_before_its_own_turn_which_adds_the_attempt_before(
    ledger: Ledger,
) -> None:
    await ledger.settle("p", [Settled("a", SPAN)], now_ms=T0)
    whole = Settled("a", OTHER, retries=True, retry_of=(b"t" * 16, b"r" * 8))
    expected = {"a": replace(whole, remote=SPAN)}
    assert await ledger.settle("p", [whole], now_ms=T0) == expected
    assert await ledger.settle("p", [Settled("a"), replace(whole, retry_of=None)], now_ms=T0) == expected


async def test_a_project_has_use_for_correlations_once_one_was_used(ledger: Ledger) -> None:
    await registered(ledger, correlation("a"))
    await ledger.settle("p", [Settled("a", SPAN)], now_ms=T0 + 1)
    assert (await recalled(ledger, "a")).correlated_ms is None
    await ledger.settle("p", [Settled("b", SPAN)], used=[(LOG, "b")], now_ms=T0 + 2)
    assert (await recalled(ledger)).correlated_ms == T0 + 2


async def test_what_is_delivered_needs_nothing_settled(ledger: Ledger) -> None:
    await ledger.settle("p", [Settled("a", SPAN), Settled("b", SPAN)], now_ms=T0)
    await ledger.settle("q", [Settled("a", SPAN)], now_ms=T0)
    await ledger.commit("p", delivered=[record("a")])
    assert set((await recalled(ledger, "a", "b")).settled) == {"b"}
    assert set((await recalled(ledger, "a", project="q")).settled) == {"a"}


async def test_failed_attempts_are_found_by_what_tries_have_in_common(ledger: Ledger) -> None:
    one = FailedAttempt(b"k" * 16, "a", 5, 2**63 - 1, b"t" * 16, b"s" * 8)
    two = replace(one, key=b"l" * 16)
    three = replace(one, log_id="b")
    await ledger.settle("p", [Settled("a")], failed=[one, two, three], now_ms=T0)
    await ledger.settle("p", [], failed=[replace(one, start_ns=9)], now_ms=T0)
    found = (await recalled(ledger, keys=[b"k" * 16, b"m" * 16])).failed
    assert sorted(found, key=lambda each: each.log_id) == [one, three]
    assert (await recalled(ledger, keys=[b"k" * 16], project="q")).failed == []


async def test_what_is_old_is_pruned(ledger: Ledger) -> None:
    attempt = FailedAttempt(b"k" * 16, "a", 5, 6, b"t" * 16, b"s" * 8)
    await ledger.settle("p", [Settled("old")], failed=[attempt], now_ms=T0)
    await ledger.settle("p", [Settled("new")], failed=[replace(attempt, log_id="b")], now_ms=T0 + HOUR)
    await ledger.commit("p", window=window(0, 1))
    await ledger.prune("p", T0 + 1, T0 + HOUR + 1)
    found = await recalled(ledger, "old", "new", keys=[b"k" * 16])
    assert set(found.settled) == {"new"}
    assert [each.log_id for each in found.failed] == ["b"]


async def test_many_are_registered_asked_for_and_settled_at_once(ledger: Ledger) -> None:
    keys = [f"log_{n}" for n in range(1_500)]
    assert set(await registered(ledger, *map(correlation, keys))) == {"registered"}
    found = await recalled(ledger, *keys)
    assert found.by_log_id == dict.fromkeys(keys, SPAN)
    proposed = [Settled(key, SPAN) for key in keys]
    settled = await ledger.settle("p", proposed, used=[(LOG, key) for key in keys], now_ms=T0)
    assert settled == {each.log_id: each for each in proposed}


async def test_whether_a_trace_was_sampled_is_kept(ledger: Ledger) -> None:
    dropped = replace(record("a"), sampled=False)
    await ledger.commit("p", delivered=[dropped, record("b")])
    assert await ledger.identities("p", ["a", "b"]) == {"a": dropped, "b": record("b")}


async def test_a_closed_ledger_registers_nothing(ledger: Ledger) -> None:
    await ledger.close()
    for call in (
        ledger.register([], T0),
        recalled(ledger),
        ledger.settle("p", [], now_ms=T0),
        ledger.expire_correlations(T0),
    ):
        with pytest.raises(LedgerError, match="not open"):
            await call


async def test_correlations_survive_a_restart(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path) as ledger:
        await registered(ledger, correlation("a"))
        await ledger.settle("p", [Settled("b", OTHER)], used=[(LOG, "b")], now_ms=T0)
    async with opened("sqlite", tmp_path) as again:
        found = await recalled(again, "a", "b")
        assert found == Recollection({"b": Settled("b", OTHER)}, {"a": SPAN}, correlated_ms=T0)
