"""Calls inside their applications' traces: the same from every process, in every order, and for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from correlated_world import NOW, PARENT, UNSAMPLED, World, opened, record, span
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.ledger import (
    Correlation,
    CorrelationKind,
    RemoteSpan,
)
from otel_bridge.mapping.identity import Identity, Rule, span_id_of
from otel_bridge.mapping.options import TraceOptions, Unsampled
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.signals import Link

if TYPE_CHECKING:
    from otel_bridge.receiver.models import Detail


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────
@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Detail], list[tuple[str, str, RemoteSpan]], list[list[str]]]:
    """Records, correlations, and the batches in which the records come."""
    names = [f"log_{index}" for index in range(draw(st.integers(1, 8)))]
    requests = st.sampled_from([None, "r_0", "r_1", PARENT, UNSAMPLED])
    parents = st.sampled_from([None, None, "log_gone", *names])
    records = [record(name, draw(parents), draw(requests)) for name in names]
    keys = st.sampled_from(
        [("log_id", each) for each in names] + [("request_id", "r_0"), ("request_id", PARENT)]
    )
    spans = st.builds(span, st.integers(0, 3), sampled=st.booleans())
    correlations = [(*key, to) for key, to in draw(st.dictionaries(keys, spans, max_size=5)).items()]
    order = draw(st.permutations(names))
    batches = []
    while order:
        size = draw(st.integers(1, 4))
        batches.append(order[:size])
        order = order[size:]
    return records, correlations, batches


OPTIONS = st.builds(TraceOptions, st.sampled_from(Unsampled))


@given(histories(), OPTIONS, st.lists(st.booleans(), min_size=8, max_size=8))
@settings(max_examples=150)
async def test_identity_depends_on_neither_order_nor_batches_nor_processes_nor_crashes(
    history: tuple[list[Detail], list[tuple[str, str, RemoteSpan]], list[list[str]]],
    options: TraceOptions,
    crashes: list[bool],
) -> None:
    records, correlations, batches = history
    whole, parts = await opened(records, options), await opened(records, options)
    for kind, key, to in correlations:
        assert await whole.correlate(key, to, kind) == "registered"
    for kind, key, to in reversed(correlations):
        await parts.correlate(key, to, kind)
    expected = await whole.send([each.id for each in records])
    found: dict[str, Identity] = {}
    for batch, crash in zip(batches, crashes, strict=False):
        sent = await parts.send(batch)
        if crash:
            assert await parts.send(list(reversed(batch))) == sent
        await parts.commit(sent)
        found |= sent
    assert found == expected


@given(histories(), OPTIONS)
@settings(max_examples=100)
async def test_what_is_registered_after_a_record_went_out_changes_nothing_of_it(
    history: tuple[list[Detail], list[tuple[str, str, RemoteSpan]], list[list[str]]], options: TraceOptions
) -> None:
    records, correlations, batches = history
    world = await opened(records, options)
    for batch in batches:
        # The destination has it, the process dies before it commits, and the application reports meanwhile.
        sent = await world.send(batch)
        for kind, key, to in correlations:
            await world.correlate(key, to, kind)
        assert await world.send(batch) == sent
        await world.commit(sent)


# ── one by one ───────────────────────────────────────────────────────────────────────────────────────────
async def test_the_log_id_counts_before_the_request_id() -> None:
    world = await opened([record("log_a", request_id="r"), record("log_b", request_id="r")])
    await world.correlate("r", span(1), "request_id")
    await world.correlate("log_a", span(2))
    sent = await world.send(["log_a", "log_b"])
    assert (sent["log_a"].trace_id, sent["log_a"].rule) == (span(2).trace_id, Rule.CORRELATION)
    assert (sent["log_b"].trace_id, sent["log_b"].parent_span_id) == (span(1).trace_id, span(1).span_id)


async def test_a_child_stands_in_the_trace_its_fetched_parent_is_registered_for_whoever_comes_first() -> None:
    world = await opened([record("log_a"), record("log_b", "log_a")])
    await world.correlate("log_a", span(1))
    child = (await world.send(["log_b"]))["log_b"]
    assert (child.trace_id, child.parent_span_id) == (span(1).trace_id, span_id_of("p", "log_a"))
    # From here on its parent stands there as well: what comes now is late, and what expires is not missed.
    assert await world.correlate("log_a", span(1)) == "known"
    await world.ledger.expire_correlations(NOW * 3)
    assert await world.correlate("log_a", span(2)) == "late"
    assert (await world.send(["log_a"]))["log_a"].trace_id == span(1).trace_id


async def test_a_child_of_a_span_that_is_left_out_is_left_out_after_its_parent_was_delivered() -> None:
    options = TraceOptions(Unsampled.DROP)
    world = await opened([record("log_a", request_id=UNSAMPLED), record("log_b", "log_a")], options)
    sent = await world.send(["log_a"])
    await world.commit(sent)
    assert [each.sampled for each in (await world.send(["log_b"])).values()] == [False]


async def test_an_expired_correlation_does_not_count() -> None:
    world = await opened([record("log_a")])
    await world.ledger.register([Correlation(CorrelationKind.LOG_ID, "log_a", span(1), NOW)], NOW - 1)
    assert (await world.send(["log_a"]))["log_a"].rule is Rule.LOG_ID


async def test_a_registration_between_looking_and_deciding_is_not_half_taken() -> None:
    world = await opened([record("log_a"), record("log_b", "log_a")])
    resolver = IdentityResolver("p", world.ledger, world.fetch, memory=world.ledger)
    resolution = await resolver.resolve(list(world.records.values()), NOW)
    await world.correlate("log_a", span(1))
    other = await world.send(["log_a"])  # another process decides first
    sent = await resolver.settle(resolution, ["log_a", "log_b"], NOW)
    assert sent["log_a"] == other["log_a"]
    assert sent["log_a"].trace_id == sent["log_b"].trace_id == span(1).trace_id


async def test_without_a_memory_nothing_is_looked_up_or_decided() -> None:
    world = await opened([record("log_a")])
    await world.correlate("log_a", span(1))
    resolver = IdentityResolver("p", world.ledger, world.fetch)
    resolution = await resolver.resolve(list(world.records.values()))
    assert (await resolver.settle(resolution, ["log_a"], NOW)) == resolution.identities
    assert resolution.identities["log_a"].rule is Rule.LOG_ID


# ── tries ────────────────────────────────────────────────────────────────────────────────────────────────
def attempt(log_id: str, start_ms: int, status: str = "failed", request_id: str = "r") -> Detail:
    return record(
        log_id,
        request_id=request_id,
        status=status,
        metadata={"tool_slug": "GMAIL_SEND_EMAIL"},
        timings={"start_time": start_ms, "end_time": start_ms + 5},
    )


def retry_of(identity: Identity, log_id: str) -> Link:
    trace_id = identity.trace_id
    return Link(trace_id, span_id_of("p", log_id), {"composio.link.type": "previous_attempt"})


TRIES = [attempt("log_a", 10), attempt("log_b", 20), attempt("log_c", 30, "success"), attempt("log_d", 40)]


@given(st.lists(st.integers(1, 3), min_size=4, max_size=4), st.booleans())
@settings(max_examples=30)
async def test_a_try_is_linked_to_the_failed_one_before_it_however_they_are_batched(
    sizes: list[int], crash: bool
) -> None:
    world = await opened(TRIES)
    await world.correlate("r", span(1), "request_id")
    left = [each.id for each in TRIES]
    found: dict[str, Identity] = {}
    for size in sizes:
        batch, left = left[:size], left[size:]
        sent = await world.send(batch)
        if crash:
            assert await world.send(batch) == sent
        await world.commit(sent)
        found |= sent
    before = {"log_b": "log_a", "log_c": "log_b", "log_d": "log_b"}
    for log_id, identity in found.items():
        expected = (retry_of(identity, before[log_id]),) if log_id in before else ()
        assert identity.links == expected


async def test_a_try_that_was_logged_later_than_the_one_after_it_changes_nothing() -> None:
    world = await opened(TRIES)
    first = await world.send(["log_b"])
    await world.commit(await world.send(["log_a"]))
    assert await world.send(["log_b"]) == first
    assert first["log_b"].links == ()


async def test_an_ancestor_that_was_only_looked_at_gets_its_link_in_its_own_turn() -> None:
    child = record("log_x", "log_b")
    world = await opened([*TRIES, child])
    await world.send(["log_x"])
    await world.commit(await world.send(["log_a"]))
    sent = await world.send(["log_b"])
    assert sent["log_b"].links == (
        replace(retry_of(sent["log_b"], "log_a"), trace_id=(await trace_of(world))),
    )


async def trace_of(world: World) -> bytes:
    return (await world.ledger.identities("p", ["log_a"]))["log_a"].trace_id


async def test_links_between_tries_can_be_turned_off() -> None:
    world = await opened(TRIES, TraceOptions(link_retries=False))
    sent = await world.send([each.id for each in TRIES])
    assert all(each.links == () for each in sent.values())
