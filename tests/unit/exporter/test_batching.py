"""Batches keep everything, in order, within their bounds."""

from __future__ import annotations

from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st
from signal_samples import some_deliveries

from otel_bridge.exporter.batching import DEFAULT_MOST_BYTES, Limits, batches, halves
from otel_bridge.exporter.encoding import Encoded, Encoder, Group, request

_GROUPS = [Group(b"r" * size, b"scope", b"") for size in (1, 30, 200)]
records = st.lists(
    st.tuples(st.sampled_from(_GROUPS), st.integers(0, 400)), max_size=40
).map(
    lambda drawn: [Encoded(i, group, bytes([i % 251]) * size) for i, (group, size) in enumerate(drawn)]
)  # fmt: skip
limits = st.builds(Limits, records=st.integers(1, 10), size=st.integers(1, 2000))


@given(records, limits)
def test_every_record_is_in_one_batch_and_the_order_stays(drawn: list[Encoded], bounds: Limits) -> None:
    assert [record for batch in batches(drawn, bounds) for record in batch] == drawn


@given(records, limits)
def test_a_batch_is_within_its_bounds_unless_it_is_one_record_alone(
    drawn: list[Encoded], bounds: Limits
) -> None:
    for batch in batches(drawn, bounds):
        assert 1 <= len(batch) <= bounds.records
        assert len(request(batch)) <= bounds.size or len(batch) == 1


@given(records.filter(lambda drawn: len(drawn) > 1))
def test_halves_are_the_whole_and_neither_is_empty(drawn: list[Encoded]) -> None:
    first, second = halves(tuple(drawn))

    assert [*first, *second] == drawn
    assert first
    assert second


def test_batches_are_made_as_they_are_asked_for() -> None:
    endless = (Encoded(number, _GROUPS[0], b"x") for number in count())

    first = next(batches(endless, Limits(records=3)))

    assert [record.position for record in first] == [0, 1, 2]
    assert next(endless).position == 4, "it has read one record ahead, no more"


def test_the_default_batch_fits_the_receivers_that_take_least() -> None:
    encoder = Encoder()
    encoded = [record for d in some_deliveries(600) if (record := encoder.span(d)) is not None]

    first, second = islice(batches(encoded, Limits()), 2)

    assert (len(first), len(second)) == (512, 88)
    assert DEFAULT_MOST_BYTES < 3_200_000
