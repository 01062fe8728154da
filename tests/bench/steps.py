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

from pydantic import SecretStr

from otel_bridge.emulator.generation import generate
from otel_bridge.exporter.encoding import encode_logs, encode_traces
from otel_bridge.http1.connection import Connection
from otel_bridge.http1.transport import FreeListTransport
from otel_bridge.ledger import DeliveredRecord, MemoryLedger, open_ledger
from otel_bridge.mapping.content import read_content
from otel_bridge.mapping.identity import identify
from otel_bridge.mapping.mapper import Mapper
from otel_bridge.mapping.masking import Masker
from otel_bridge.mapping.options import MappingOptions
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.receiver.models import Detail
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    Work = Callable[[], object]
    Prepare = Callable[[Sequence[bytes]], Work]

T = TypeVar("T")
_START_MS = 1_776_420_000_000  # 2026-04-17T10:00:00Z; the same records on every day
_BATCH = 100
_IN_FLIGHT = 16
_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Fri, 17 Apr 2026 10:00:00 GMT\r\nserver: bench\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\nx-ratelimit: 100000000\r\n"
    b"x-ratelimit-remaining: 99999999\r\nx-ratelimit-window-size: 60s\r\n\r\n"
)
"""As the vendor's, in what is read of it."""


def bodies(number: int) -> list[bytes]:
    """So many details as the source answers them, the same ones each time."""
    return [each.detail for each in generate(number, 1, _START_MS, _START_MS + 3_600_000)]


@contextmanager
def fetch() -> Iterator[Prepare]:
    """A detail asked for and read, 16 at a time; of HTTP all but the socket, which answers at once."""
    with asyncio.Runner() as runner:
        answers: dict[bytes, bytes] = {}
        client = LogsClient(
            base_url="http://bench.example",
            api_key=SecretStr("ak_bench"),
            budget=Budget(1.0, SystemClock()),
            clock=SystemClock(),
            transport=_Unplugged(answers),
        )

        def prepare(raw: Sequence[bytes]) -> Work:
            log_ids = [record.id for record in _details(raw)]
            answers.update(
                (log_id.encode(), _HEAD % len(body) + body) for log_id, body in zip(log_ids, raw, strict=True)
            )

            async def fetch() -> None:
                left = iter(log_ids)

                async def one_after_the_other() -> None:
                    for log_id in left:
                        await client.detail(log_id)

                await asyncio.gather(*(one_after_the_other() for _ in range(_IN_FLIGHT)))

            return lambda: runner.run(fetch())

        yield prepare


class _Unplugged(FreeListTransport):
    """Over connections that lead nowhere."""

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        super().__init__(_IN_FLIGHT)
        self._answers = answers

    async def _new(self, origin: tuple[str, str, int], timeout_s: float | None) -> Connection:
        del origin, timeout_s
        connection = Connection()
        connection.connection_made(_Socket(connection, self._answers))
        return connection


class _Socket(asyncio.Transport):
    def __init__(self, connection: Connection, answers: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._connection = connection
        self._answers = answers
        self._soon = asyncio.get_running_loop().call_soon

    def write(self, data: bytes | bytearray | memoryview) -> None:
        target = bytes(data).partition(b" HTTP/1.1")[0]
        self._soon(self._connection.data_received, self._answers[target[target.rindex(b"/") + 1 :]])

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        pass


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
    "fetch": fetch,
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
