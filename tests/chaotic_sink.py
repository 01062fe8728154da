"""An OTLP receiver over HTTP that misbehaves, and knows all the same what it has really kept.

Each request meets a `Treatment`. What is kept is digested at once, so that a run of hours costs no memory:
per signal and log id the first bytes' digest, how often it came, and every copy that differed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from recording_sink import HttpAnswer, Received, RecordingSink, logs_in, read_request, reply, spans_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_HTML: Final = {"content-type": "text/html"}
_ELSEWHERE: Final = {"location": "https://example.invalid/v1/traces"}
_LOG_ID: Final = {"traces": "composio.log.id", "logs": "log.record.uid"}


@dataclass(frozen=True)
class Treatment:
    """What becomes of one request.

    Attributes:
        answer: What is answered.
        keeps: Whether its records are kept. Kept and not acknowledged is what a broken connection makes.
    """

    answer: HttpAnswer = field(default_factory=HttpAnswer)
    keeps: bool = True

    @property
    def acknowledges(self) -> bool:
        """Whether the client learns that the records were kept."""
        return self.keeps and not self.answer.hangs_up


TAKEN: Final = Treatment()
DOWN: Final = Treatment(HttpAnswer(503, headers={}), keeps=False)


@dataclass(frozen=True, slots=True)
class Copy:
    """One span or log record of a request.

    Attributes:
        digest: Of its bytes with resource and scope.
        time_ns: Its own time, in ns since the epoch.
        place: Its trace and parent, for messages.
    """

    log_id: str
    digest: bytes
    time_ns: int
    place: str


@dataclass
class Kept:
    """What the sink has kept of one signal.

    Attributes:
        places: Log id to trace and parent of the first copy, for messages.
        digests: Log id to the digest of the first copy, with its resource and scope.
        times_ns: The records' own times, in the order in which their first copies came.
        copies: How many came in all.
        differing: Log ids of which a later copy was not the first one's bytes, with the places of both.
        owed: Copies that came again because the sink had kept them and not said so.
    """

    digests: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    times_ns: list[int] = field(default_factory=list)
    copies: int = 0
    differing: list[str] = field(default_factory=list)
    owed: int = 0
    unacknowledged: Counter[str] = field(default_factory=Counter)

    @property
    def resent(self) -> int:
        """How many copies were not the first of their record."""
        return self.copies - len(self.digests)

    def keep(self, copy: Copy, *, acknowledged: bool) -> None:
        """Keep one copy."""
        log_id = copy.log_id
        self.copies += 1
        if log_id not in self.digests:
            self.digests[log_id] = copy.digest
            self.places[log_id] = copy.place
            self.times_ns.append(copy.time_ns)
        elif self.digests[log_id] != copy.digest:
            self.differing.append(f"{log_id}: {self.places[log_id]}, then {copy.place}")
        if self.unacknowledged[log_id]:
            self.unacknowledged[log_id] -= 1
            self.owed += 1
        if not acknowledged:
            self.unacknowledged[log_id] += 1


class ChaoticSink(RecordingSink):
    """Treats each request as its policy says, and keeps only what that keeps.

    Attributes:
        policy: Called with each request; a test may set another one at any time.
        hangs_up_unread: Asked before each request: whether to close the connection before its body is read.
        before_answer: Called when a request is kept and not answered yet.
        after_answer: Called when it is answered.
    """

    def __init__(self, policy: Callable[[Received], Treatment] = lambda _: TAKEN) -> None:
        super().__init__()
        self.policy = policy
        self.hangs_up_unread: Callable[[], bool] = lambda: False
        self.before_answer: Callable[[Received], None] = lambda _: None
        self.after_answer: Callable[[Received], None] = lambda _: None
        self.kept = {"traces": Kept(), "logs": Kept()}
        self.requests = 0
        self.mishaps: Counter[str] = Counter()

    @property
    def ids(self) -> set[str]:
        """The log ids whose log record is kept: every entry has one, and a tool call a span as well."""
        return set(self.kept["logs"].digests)

    @property
    def copies(self) -> int:
        """Spans and log records kept, those that came again too."""
        return sum(kept.copies for kept in self.kept.values())

    @property
    def resent(self) -> int:
        """Spans and log records that came again."""
        return sum(kept.resent for kept in self.kept.values())

    @property
    def owed(self) -> int:
        """Those of them that came again because the sink had not acknowledged them."""
        return sum(kept.owed for kept in self.kept.values())

    @property
    def differing(self) -> list[str]:
        """What came in two versions."""
        return [what for kept in self.kept.values() for what in kept.differing]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait for something that a request brings."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the condition is the caller's
                await asyncio.sleep(0.02)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.hangs_up_unread():
            await reader.readexactly(1)
            self.mishaps["hangs up, unread"] += 1
            return False
        received = await read_request(reader)
        self.requests += 1
        treatment = self.policy(received)
        if treatment is not TAKEN:
            self.mishaps[_name(treatment)] += 1
        if treatment.keeps:
            self._keep(received, acknowledged=treatment.acknowledges)
            self.before_answer(received)
        goes_on = await reply(writer, treatment.answer)
        if treatment.keeps:
            self.after_answer(received)
        return goes_on

    def _keep(self, received: Received, *, acknowledged: bool) -> None:
        kept = self.kept[received.signal]
        for copy in copies_in(received):
            kept.keep(copy, acknowledged=acknowledged)


def copies_in(received: Received) -> Iterator[Copy]:
    """What stands in a request."""
    found: Iterator[tuple[Any, Any, Span | LogRecord]]
    found = spans_in(received.body) if received.signal == "traces" else logs_in(received.body)
    key = _LOG_ID[received.signal]
    for resource, scope, record in found:
        log_id = next(pair.value.string_value for pair in record.attributes if pair.key == key)
        parts = (each.SerializeToString(deterministic=True) for each in (resource, scope, record))
        time_ns = getattr(record, "end_time_unix_nano", 0) or getattr(record, "time_unix_nano", 0)
        parent = getattr(record, "parent_span_id", b"").hex() or "no parent"
        missing = (
            ", missing" if any(pair.key == "composio.parent.missing" for pair in record.attributes) else ""
        )
        place = f"trace {record.trace_id.hex()} under {parent}{missing}"
        yield Copy(log_id, hashlib.sha256(b"\x00".join(parts)).digest(), time_ns, place)


def misbehaving(seed: int, share: float) -> Callable[[Received], Treatment]:
    """A policy that treats a share of the requests badly, the same ones for the same seed."""
    draw = random.Random(seed)
    mix: list[tuple[Callable[[Received], Treatment], int]] = [
        (lambda _: Treatment(HttpAnswer(503, headers={"retry-after": "1"}), keeps=False), 4),
        (lambda _: DOWN, 4),
        (lambda _: Treatment(HttpAnswer(429, headers={"retry-after": "1"}), keeps=False), 3),
        (lambda _: Treatment(HttpAnswer(502, b"<html>Bad Gateway</html>", _HTML), keeps=False), 2),
        (lambda _: Treatment(HttpAnswer(hangs_up=True), keeps=False), 4),
        (lambda _: Treatment(HttpAnswer(hangs_up=True)), 1),
        (lambda _: Treatment(HttpAnswer(delay_s=0.5)), 4),
        (_warning, 3),
        (lambda _: Treatment(HttpAnswer(200, b"<html>Sign in</html>", _HTML), keeps=False), 1),
        (lambda _: Treatment(HttpAnswer(307, headers=_ELSEWHERE), keeps=False), 1),
    ]
    kinds, weights = [kind for kind, _ in mix], [weight for _, weight in mix]

    def policy(received: Received) -> Treatment:
        if draw.random() >= share:
            return TAKEN
        return draw.choices(kinds, weights)[0](received)

    return policy


def poisoned_by(log_ids: Collection[str]) -> Callable[[Received], Treatment]:
    """A policy that answers 400 to a whole request as soon as one of these records is in it."""

    def policy(received: Received) -> Treatment:
        poisonous = any(copy.log_id in log_ids for copy in copies_in(received))
        return Treatment(HttpAnswer(400, b"bad record", {}), keeps=False) if poisonous else TAKEN

    return policy


def _warning(received: Received) -> Treatment:
    """OTLP's partial success that rejects nothing: the destination has something to say."""
    body = (
        ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(error_message="slow down"))
        if received.signal == "traces"
        else ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(error_message="slow down"))
    ).SerializeToString()
    return Treatment(HttpAnswer(body=body))


def hanging_up(seed: int, share: float) -> Callable[[], bool]:
    """For ``hangs_up_unread``: a share of the requests, the same ones for the same seed."""
    draw = random.Random(f"unread {seed}")
    return lambda: draw.random() < share


def _name(treatment: Treatment) -> str:
    answer = treatment.answer
    what = "hangs up" if answer.hangs_up else f"{answer.status} {answer.body[:6].decode('latin-1')}".strip()
    slow = " late" if answer.delay_s else ""
    return f"{what}{slow}{', kept' if treatment.keeps else ''}"
