"""A record's trace depends on the records alone: not on which came together, nor on what is known already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import RecordNotFound, SourceFailed, SourceUnreachable
from otel_bridge.ledger import DeliveredRecord
from otel_bridge.mapping.identity import MAX_DEPTH, Identity
from otel_bridge.pipeline.identities import LOOP_DEPTH, IdentityResolver
from otel_bridge.receiver.models import Detail

if TYPE_CHECKING:
    from collections.abc import Collection


class World:
    """All records there are, and those that were delivered."""

    def __init__(self, parents: dict[str, str | None]) -> None:
        self.records = {
            log_id: Detail.of_value({"id": log_id, "parent": parent and {"log_id": parent}})
            for log_id, parent in parents.items()
        }
        self.delivered: dict[str, DeliveredRecord] = {}
        self.fetched: list[str] = []
        self.broken: dict[str, Exception] = {}

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        assert project == "p"
        return {each: self.delivered[each] for each in log_ids if each in self.delivered}

    async def fetch(self, log_id: str) -> Detail:
        self.fetched.append(log_id)
        if log_id in self.broken:
            raise self.broken[log_id]
        if log_id not in self.records:
            raise RecordNotFound(log_id)
        return self.records[log_id]

    async def resolve(self, *log_ids: str) -> dict[str, Identity]:
        resolver = IdentityResolver("p", self, self.fetch)
        identities = (await resolver.resolve([self.records[each] for each in log_ids])).identities
        for log_id, identity in identities.items():
            looping = identity.parent_missing and identity.parent_span_id is None
            self.delivered[log_id] = DeliveredRecord(
                log_id,
                0,
                identity.trace_id,
                identity.span_id,
                identity.parent_span_id,
                LOOP_DEPTH if looping else identity.depth,
            )
        return identities


@st.composite
def families(draw: st.DrawFn) -> tuple[dict[str, str | None], list[list[str]]]:
    names = [f"log_{index}" for index in range(draw(st.integers(1, 9)))]
    parents = {name: draw(st.sampled_from([None, "log_gone", *names])) for name in names}
    order = draw(st.permutations(names))
    cuts = draw(st.lists(st.integers(1, 4), min_size=len(names), max_size=len(names)))
    batches: list[list[str]] = []
    while order:
        size = cuts[len(batches)]
        batches.append(order[:size])
        order = order[size:]
    return parents, batches


@given(families())
async def test_identity_does_not_depend_on_order_or_batches(
    family: tuple[dict[str, str | None], list[list[str]]],
) -> None:
    parents, batches = family
    whole = await World(parents).resolve(*parents)
    world = World(parents)
    found: dict[str, Identity] = {}
    for batch in batches:
        found |= await world.resolve(*batch)
    assert found == whole


async def test_a_child_stands_under_its_parent_and_in_its_trace() -> None:
    world = World({"log_a": None, "log_b": "log_a", "log_c": "log_b"})
    found = await world.resolve("log_c")
    assert world.fetched == ["log_b", "log_a"]
    root = (await world.resolve("log_a"))["log_a"]
    middle = (await world.resolve("log_b"))["log_b"]
    assert found["log_c"].trace_id == root.trace_id
    assert found["log_c"].parent_span_id == middle.span_id


async def test_a_parent_in_the_ledger_costs_no_request() -> None:
    world = World({"log_a": None, "log_b": "log_a"})
    await world.resolve("log_a")
    await world.resolve("log_b")
    assert world.fetched == []


async def test_a_chain_deeper_than_the_limit_ends_the_same_way_from_both_sides() -> None:
    chain: dict[str, str | None] = {"log_0": None}
    chain |= {f"log_{n}": f"log_{n - 1}" for n in range(1, MAX_DEPTH + 10)}
    forward, backward = World(chain), World(chain)
    from_root: dict[str, Identity] = {}
    from_leaf: dict[str, Identity] = {}
    for name in chain:
        from_root |= await forward.resolve(name)
    for name in reversed(chain):
        from_leaf |= await backward.resolve(name)
    assert from_root == from_leaf


async def test_a_parent_the_source_cannot_give_now_is_told_from_one_it_does_not_have() -> None:
    world = World({"log_a": "log_gone", "log_b": "log_busy", "log_c": None})
    world.broken["log_busy"] = SourceFailed("500")
    resolver = IdentityResolver("p", world, world.fetch)
    resolution = await resolver.resolve(list(world.records.values()))
    assert set(resolution.orphans) == {"log_a", "log_b"}
    assert resolution.unsure == {"log_b"}
    assert resolution.identities["log_a"].parent_missing


async def test_an_unreachable_source_is_not_taken_for_a_missing_parent() -> None:
    world = World({"log_a": "log_x"})
    world.broken["log_x"] = SourceUnreachable("refused")
    with pytest.raises(SourceUnreachable):
        await world.resolve("log_a")
