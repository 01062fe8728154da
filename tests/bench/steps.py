"""What is done to a record on its way, one step after the other, for those that time it or count it.

Each step is opened once, and then makes ready as many pieces of work as are asked for. A piece of work does
the step to all records it was made of; it is for one use, since a second one would find caches warm and ids
known.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from otel_bridge.emulator.generation import generate
from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.ledger import DeliveredRecord, MemoryLedger, open_ledger
from otel_bridge.mapping.content import read_content
from otel_bridge.mapping.identity import identify
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.masking import Masker
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.receiver.models import Detail
from otel_bridge.service.identities import IdentityResolver
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    Work = Callable[[], object]
    Prepare = Callable[[Sequence[bytes]], Work]

T = TypeVar("T")
_START_MS = 1_776_420_000_000  # 2026-04-17T10:00:00Z; the same records on every day
_BATCH = 100


def bodies(number: int) -> list[bytes]:
    """So many details as the source answers them, the same ones each time."""
    return [each.detail for each in generate(number, 1, _START_MS, _START_MS + 3_600_000)]


@contextmanager
def decode() -> Iterator[Prepare]:
    """Bytes to a model."""

    def prepare(raw: Sequence[bytes]) -> Work:
        def work() -> None:
            for body in raw:
                Detail.read(body)

        return work

    yield prepare


@contextmanager
def identity() -> Iterator[Prepare]:
    """Which span of which trace, in batches, from the ledger in memory."""
    with asyncio.Runner() as runner:
        ledger = MemoryLedger()
        runner.run(ledger.open())

        def prepare(raw: Sequence[bytes]) -> Work:
            records = _details(raw)
            at_hand = {each.id: each for each in records}

            async def fetch(log_id: str) -> Detail:
                return at_hand.get(log_id, records[0])

            resolver = IdentityResolver("bench", ledger, fetch, memory=ledger)

            async def resolve() -> None:
                for batch in _batches(records):
                    resolution = await resolver.resolve(batch, _START_MS)
                    await resolver.settle(resolution, [each.id for each in batch], _START_MS)

            return lambda: runner.run(resolve())

        yield prepare


@contextmanager
def mapping() -> Iterator[Prepare]:
    """A span, a log record and a measurement of each; content is off."""
    mapper = Mapper(MappingOptions("bench", server_address="backend.composio.dev"))

    def prepare(raw: Sequence[bytes]) -> Work:
        pairs = [(record, identify("bench", record, None)) for record in _details(raw)]

        def work() -> None:
            for record, found in pairs:
                mapper.delivery(record, found)
                mapper.measurement(record)

        return work

    yield prepare


@contextmanager
def masking() -> Iterator[Prepare]:
    """Arguments and results, as where content is on."""
    masker = Masker()

    def prepare(raw: Sequence[bytes]) -> Work:
        contents = [record.data for record in _details(raw)]

        def work() -> None:
            for data in contents:
                read_content(data, masker)

        return work

    yield prepare


@contextmanager
def encoding() -> Iterator[Prepare]:
    """Both signals as requests, before compression."""
    mapper = Mapper(MappingOptions("bench", server_address="backend.composio.dev"))

    def prepare(raw: Sequence[bytes]) -> Work:
        deliveries = [mapper.delivery(each, identify("bench", each, None)) for each in _details(raw)]

        def work() -> None:
            for batch in _batches(deliveries):
                encode_traces(batch)
                encode_logs(batch)

        return work

    yield prepare


@contextmanager
def ledger_commit() -> Iterator[Prepare]:
    """Delivered records into SQLite, a transaction a batch."""
    numbers = count()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        ledger = open_ledger(f"sqlite:///{Path(folder, 'ledger.db')}", SystemClock())
        runner.run(ledger.open())

        def prepare(raw: Sequence[bytes]) -> Work:
            records = [_delivered(next(numbers)) for _ in raw]

            async def commit() -> None:
                for batch in _batches(records):
                    await ledger.commit("bench", delivered=batch)

            return lambda: runner.run(commit())

        try:
            yield prepare
        finally:
            runner.run(ledger.close())


STEPS: Mapping[str, Callable[[], AbstractContextManager[Prepare]]] = {
    "decode": decode,
    "identity": identity,
    "mapping": mapping,
    "masking": masking,
    "encoding": encoding,
    "ledger commit": ledger_commit,
}
"""By name, in the order in which a record meets them."""


def _details(raw: Sequence[bytes]) -> list[Detail]:
    return [Detail.read(body) for body in raw]


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _delivered(number: int) -> DeliveredRecord:
    return DeliveredRecord(
        log_id=f"log_{number:012}",
        time_ms=_START_MS + number,
        trace_id=(number + 1).to_bytes(16, "big"),
        span_id=(number + 1).to_bytes(8, "big"),
        parent_span_id=None,
    )
